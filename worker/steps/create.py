"""Creates a return at its carrier: check, commit the intent, send once; and looks up what became of a lost answer."""

from datetime import timedelta

from worker.carriers.port import Carrier, CarrierError, NoTimeLeft, Searchable, Stopping, WrongAddress
from worker.domain.outcomes import Failed, FailureKind, Interrupted, Invalid, Outcome, SendingStopped
from worker.domain.payload import InvalidPayload
from worker.domain.returns import ReturnOrder
from worker.store.claims import start_creation
from worker.store.database import Database


async def create(
    order: ReturnOrder, carrier: Carrier, database: Database, call: timedelta, *, may_send: bool = True
) -> Outcome | None:
    """The outcome of a creation; None when the row changed under us, or the lease is too short for the `call`.

    Where the account `may_send` none, the payload is checked and what is in doubt is looked up all the same.

    The intent is committed before the request leaves: whoever finds it without an answer knows that the return may
    exist, and does not send it again, but looks for it where the carrier can be searched.
    """
    if order.create_started_at is not None:
        return await _look_up(order, carrier) if isinstance(carrier, Searchable) else Interrupted()
    try:
        creation = carrier.prepare(order)
    except InvalidPayload as error:
        return Invalid(error.problems)
    if not may_send:
        return SendingStopped()
    if await start_creation(database, order, call) is None:
        return None
    try:
        return await carrier.create(creation)
    except CarrierError as error:
        return Failed(error.kind, error.message, error.retry_after, error.raw, isinstance(error, WrongAddress))


async def _look_up(order: ReturnOrder, carrier: Searchable) -> Outcome:
    try:
        return await carrier.look_up(order)
    except Stopping:
        raise
    except NoTimeLeft:
        # Handed back it would begin anew, and never end where the list is too long for the pace.
        return Failed(FailureKind.UNINTELLIGIBLE, "the list is too long to be searched within one lease")
    except CarrierError as error:
        return Failed(error.kind, error.message, error.retry_after, error.raw)
