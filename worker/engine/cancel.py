"""Withdraws a return at a carrier that takes withdrawals."""

from functools import cache

from worker.carriers.port import Cancelling, Carrier, CarrierError, NotFound
from worker.domain.outcomes import Failed, NotCancelled, Outcome, Withdrawn
from worker.domain.requests import GONE_ALREADY, TOLD
from worker.domain.returns import ReturnOrder


def takes_withdrawals(carrier: Carrier) -> bool:
    """Whether there is anything to tell the carrier."""
    return _cancels(type(carrier))


@cache
def _cancels(adapter: type[Carrier]) -> bool:
    """Kept, since a protocol looks through all members of a class each time."""
    return issubclass(adapter, Cancelling)


async def cancel(order: ReturnOrder, carrier: Carrier) -> Outcome:
    """`Withdrawn`, or why not; asking twice is as good as once."""
    assert isinstance(carrier, Cancelling)
    try:
        await carrier.cancel(order)
    except NotFound:
        return Withdrawn(GONE_ALREADY)
    except CarrierError as error:
        return NotCancelled(Failed(error.kind, error.message, error.retry_after, error.raw))
    return Withdrawn(TOLD)
