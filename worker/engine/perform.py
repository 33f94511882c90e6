"""DO: the next step of a claimed row. Calls the carrier, or gives the outcome that needs no call.

A creation is checked, its intent committed, and sent once; what became of a lost answer is looked up.
"""

from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from functools import cache

import structlog

from worker.carriers.hindsight import hindsight, no_sense
from worker.carriers.port import (
    Cancelling,
    Carrier,
    CarrierError,
    NotFound,
    NoTimeLeft,
    Searchable,
    Stopping,
)
from worker.domain.following import strange_codes
from worker.domain.kin import Kin
from worker.domain.lifecycle import Step
from worker.domain.lookup import Known, begins_at
from worker.domain.next_action import GONE_ALREADY, TOLD, action_for
from worker.domain.outcomes import (
    Created,
    Failed,
    FailureKind,
    Interrupted,
    Invalid,
    NotCancelled,
    Outcome,
    Poisoned,
    RefTaken,
    SendingStopped,
    Unreadable,
    Withdrawn,
)
from worker.domain.payload import InvalidPayload
from worker.domain.policy import MAX_CLAIMS
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.engine.label import fetch_label
from worker.labels import LabelStore
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.label_codes import owner_of
from worker.store.ownership import read_owners, read_recorded

log = structlog.get_logger()


async def perform(
    order: ReturnOrder, account: Account, database: Database, labels: LabelStore, call: timedelta
) -> Outcome | None:
    """One step of `order`; `call` is what a creation must find left of the lease. None: not done, hand it back."""
    if order.unreadable is not None:
        return Unreadable(order.unreadable)
    if order.claims > MAX_CLAIMS:
        return Poisoned()
    action = action_for(order, can_cancel=takes_withdrawals(account.carrier))
    match action:
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


async def create(
    order: ReturnOrder,
    carrier: Carrier,
    database: Database,
    call: timedelta,
    *,
    kin: Kin,
    may_send: bool = True,
) -> Outcome | None:
    """The outcome of a creation; None when the row changed under us, or the lease is too short for the `call`.

    Where the account `may_send` none, the payload is checked and what is in doubt is looked up all the same.

    The intent is committed before the request leaves: whoever finds it without an answer knows that the return may
    exist, and does not send it again, but looks for it where the carrier can be searched. `kin`: the accounts whose
    orders are shown there too.
    """
    if order.create_started_at is not None:
        if not isinstance(carrier, Searchable):
            return Interrupted()
        return await look_up(order, carrier, database, kin)
    try:
        creation = carrier.prepare(order)
    except InvalidPayload as error:
        return Invalid(error.problems)
    if not may_send:
        return SendingStopped()
    if await start_creation(database, order, call) is None:
        return None
    try:
        created = await carrier.create(creation)
    except CarrierError as error:
        return error.failed
    return await _unless_anothers(order, created, database, kin)


async def _unless_anothers(order: ReturnOrder, created: Created, database: Database, kin: Kin) -> Created | RefTaken:
    """A carrier may answer with an order that it has already; in one account the database itself tells, across them we.

    Whether the database can be asked does not matter to what happened: that must be recorded either way.
    """
    others = [name for name in kin.near if name != order.account]
    if others:
        with suppress(DatabaseUnavailable):
            numbers = {created.carrier_ref}
            if await read_owners(database, order.id, near=others, same_key=(), numbers=numbers, references=()):
                return RefTaken(created.carrier_ref, created.raw)
    return created


async def look_up(order: ReturnOrder, carrier: Searchable, database: Database, kin: Kin) -> Outcome:
    """What became of it; what we recorded in the accounts of `kin` must be shown, and what they own is not this one.

    The numbers we recorded are read before the carrier is asked, since each of them must be shown then. Whose the shown
    orders are is read afterwards, since workers go on recording meanwhile.
    """
    recorded = await read_recorded(database, kin.same_key, begins_at(order))
    with hindsight():
        try:
            search = await carrier.look_up(order)
            owners = await read_owners(
                database,
                order.id,
                near=kin.near,
                same_key=kin.same_key,
                numbers=search.numbers,
                references=search.references,
            )
            return search.result(Known(recorded, owners))
        except Stopping:
            raise
        except NoTimeLeft:
            # Handed back it would start over, and never end where the list is too long for the pace.
            return Failed(FailureKind.UNINTELLIGIBLE, "the list is too long to be searched within one lease")
        except CarrierError as error:
            if error.kind is FailureKind.UNINTELLIGIBLE:
                no_sense()
            return error.failed


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


async def cancel(order: ReturnOrder, carrier: Carrier) -> Outcome:
    """`Withdrawn`, or why not; asking twice is as good as once."""
    assert isinstance(carrier, Cancelling)
    try:
        await carrier.cancel(order)
    except NotFound:
        return Withdrawn(GONE_ALREADY)
    except CarrierError as error:
        return NotCancelled(error.failed)
    return Withdrawn(TOLD)


def takes_withdrawals(carrier: Carrier) -> bool:
    """Whether there is anything to tell the carrier."""
    return _cancels(type(carrier))


@cache
def _cancels(adapter: type[Carrier]) -> bool:
    """Kept, since a protocol looks through all members of a class each time."""
    return issubclass(adapter, Cancelling)
