"""Asks a carrier where a return is, and whether the answer is about it."""

from collections.abc import Collection

import structlog

from worker.carriers.hindsight import hindsight, no_sense
from worker.carriers.port import Carrier, CarrierError
from worker.domain.belonging import strange_codes
from worker.domain.outcomes import Failed, FailureKind, Outcome
from worker.domain.returns import ReturnOrder
from worker.store.codes import owner_of
from worker.store.database import Database

log = structlog.get_logger()


async def track(order: ReturnOrder, carrier: Carrier, database: Database, near: Collection[str]) -> Outcome:
    """The carrier's answer, or why there is none; `near` are the accounts at the same address, its own among them.

    An answer that names a label code of another return is none. The database is asked only about codes that this
    return has not on record, which a poll mostly does not bring. Raises `DatabaseUnavailable`.
    """
    with hindsight():
        try:
            seen = await carrier.track(order)
        except CarrierError as error:
            return Failed(error.kind, error.message, error.retry_after, error.raw)
        strange = strange_codes(order, seen)
        owner = await owner_of(database, order, strange.values(), near) if strange else None
        if owner is None:
            return seen
        no_sense()
    log.warning("answer_of_another_return", account=order.account, order_id=order.id, reference=order.reference)
    message = f"the answer is about another return: it names label code {owner.code}, which is {owner.reference}'s"
    return Failed(FailureKind.UNINTELLIGIBLE, message, raw=seen.update.raw if seen.update else None)
