"""DO: the next step of a claimed row. Calls the carrier, or gives the outcome that needs no call."""

from collections.abc import Collection
from datetime import timedelta
from functools import cache

import structlog

from worker.carriers.hindsight import hindsight, no_sense
from worker.carriers.port import Cancelling, Carrier, CarrierError, NotFound
from worker.domain.following import strange_codes
from worker.domain.lifecycle import Step
from worker.domain.next_action import GONE_ALREADY, TOLD, action_for
from worker.domain.outcomes import (
    Adopted,
    Failed,
    FailureKind,
    NotCancelled,
    Outcome,
    Poisoned,
    RefTaken,
    Tracked,
    Unreadable,
    Withdrawn,
)
from worker.domain.policy import MAX_CLAIMS
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.engine.creation import create
from worker.engine.label import fetch_label
from worker.labels import LabelStore
from worker.store.database import Database
from worker.store.label_codes import owner_of
from worker.store.ownership import read_owners

log = structlog.get_logger()


async def perform(
    order: ReturnOrder, account: Account, database: Database, labels: LabelStore, call: timedelta
) -> Outcome | None:
    """One step of `order`; `call` is what a creation must find left of the lease. None: not done, hand it back."""
    if order.unreadable is not None:
        return Unreadable(order.unreadable)
    if order.claims > MAX_CLAIMS:
        return Poisoned()
    action = action_for(order, can_cancel=_cancels(type(account.carrier)))
    match action:
        case Step.CREATE if order.to_adopt is not None:
            if not account.is_number(order.to_adopt):  # a shop wrote it, and it becomes a part of a request's path
                return Failed(FailureKind.NOT_FOUND, "it is no number of this carrier's")
            return await adopt(order, account.carrier, database, account.kin.near)
        case Step.CREATE | Step.LABEL if order.payload is None:
            return Unreadable(order.payload_unreadable) if order.payload_unreadable is not None else None
        case Step.CREATE:
            return await create(order, account.carrier, database, call, kin=account.kin, may_send=not account.stopped)
        case Step.LABEL:
            return await fetch_label(order, account.carrier, labels)
        case Step.TRACK:
            return await track(order, account.carrier, database, account.kin.near)
        case Step.CANCEL:
            return await cancel(order, account.carrier)
        case _:
            return action


async def track(order: ReturnOrder, carrier: Carrier, database: Database, near: Collection[str]) -> Outcome:
    """The carrier's answer, or why there is none; `near` are the accounts at the same address, its own among them.

    An answer that names a label code of another return is none. The database is asked only about codes that this
    return has not on record, which a poll mostly does not bring. Raises `DatabaseUnavailable`.
    """
    with hindsight():
        try:
            seen = await carrier.track(order)
        except CarrierError as error:
            return error.failed
        strange = strange_codes(order, seen)
        owner = await owner_of(database, order, strange.values(), near) if strange else None
        if owner is None:
            return seen
        no_sense()
    log.warning("answer_of_another_return", account=order.account, order_id=order.id, reference=order.reference)
    message = f"the answer is about another return: it names label code {owner.code}, which is {owner.reference}'s"
    return Failed(FailureKind.UNINTELLIGIBLE, message, raw=seen.update.raw if seen.update else None)


async def adopt(order: ReturnOrder, carrier: Carrier, database: Database, near: Collection[str]) -> Outcome:
    """Whether the carrier has a return that is `to_adopt`: `Adopted`, or why not. Only questions are asked.

    A number that another return has in an account of `near` is refused, archived ones included. Raises
    `DatabaseUnavailable`.
    """
    number = order.to_adopt or ""
    if await read_owners(database, order.id, near=sorted(near), same_key=(), numbers={number}, references=()):
        return RefTaken(number)
    seen = await track(order._replace(carrier_ref=number), carrier, database, near)
    return Adopted(number, seen) if isinstance(seen, Tracked) else seen


async def cancel(order: ReturnOrder, carrier: Carrier) -> Outcome:
    """`Withdrawn`, or why not; it does no harm to ask twice."""
    assert isinstance(carrier, Cancelling)
    try:
        await carrier.cancel(order)
    except NotFound:
        return Withdrawn(GONE_ALREADY)
    except CarrierError as error:
        return NotCancelled(error.failed)
    return Withdrawn(TOLD)


@cache
def _cancels(adapter: type[Carrier]) -> bool:
    """Whether there is anything to tell the carrier; kept, since a protocol looks through all members of a class."""
    return issubclass(adapter, Cancelling)
