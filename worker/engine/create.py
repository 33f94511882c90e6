"""Creates a return at its carrier: check, commit the intent, send once; and sees to what became of a lost answer."""

from contextlib import suppress
from datetime import timedelta

from worker.carriers.port import Carrier, CarrierError, Searchable, WrongAddress
from worker.domain.kin import Kin
from worker.domain.outcomes import Created, Failed, Interrupted, Invalid, Outcome, RefTaken, SendingStopped
from worker.domain.payload import InvalidPayload
from worker.domain.returns import ReturnOrder
from worker.engine.look_up import look_up
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.ownership import read_owners


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
        return Failed(error.kind, error.message, error.retry_after, error.raw, isinstance(error, WrongAddress))
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
