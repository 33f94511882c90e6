"""A creation: checked, its intent committed, and sent once; what became of a lost answer is looked up."""

from contextlib import suppress
from datetime import timedelta

from worker.carriers.hindsight import hindsight, no_sense
from worker.carriers.port import Carrier, CarrierError, NoTimeLeft, Searchable, Stopping
from worker.domain.kin import Kin
from worker.domain.lookup import Known, begins_at
from worker.domain.outcomes import Failed, FailureKind, Interrupted, Invalid, Outcome, RefTaken, SendingStopped
from worker.domain.payload import InvalidPayload
from worker.domain.returns import ReturnOrder
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.ownership import read_owners, read_recorded


async def create(
    order: ReturnOrder, carrier: Carrier, database: Database, call: timedelta, *, kin: Kin, may_send: bool = True
) -> Outcome | None:
    """The outcome of a creation; None when the row changed under us, or the lease is too short for the `call`.

    Where the account `may_send` none, the payload is checked and what is in doubt is looked up all the same.

    The intent is committed before the request leaves. A worker that finds it without an answer knows that the return
    may exist: it does not send again, but looks for it where the carrier can be searched. `kin`: the accounts whose
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
    # A carrier may answer with an order that it has already. In one account the database itself tells, across them we.
    others = [name for name in kin.near if name != order.account]
    if others:
        with suppress(DatabaseUnavailable):  # the carrier's answer must be recorded in any case
            numbers = {created.carrier_ref}
            if await read_owners(database, order.id, near=others, same_key=(), numbers=numbers, references=()):
                return RefTaken(created.carrier_ref, created.raw)
    return created


async def look_up(order: ReturnOrder, carrier: Searchable, database: Database, kin: Kin) -> Outcome:
    """What became of it; what we recorded in the accounts of `kin` must be shown, and what they own is not this one.

    The numbers we recorded are read before the carrier is asked, since each of them must be shown then. The owners
    of the shown orders are read afterwards, since workers go on recording meanwhile.
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
