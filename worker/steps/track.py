"""Asks a carrier where a return is."""

from worker.carriers.port import Carrier, CarrierError
from worker.domain.outcomes import Failed, Outcome
from worker.domain.returns import ReturnOrder


async def track(order: ReturnOrder, carrier: Carrier) -> Outcome:
    """The carrier's answer, or why there is none."""
    try:
        return await carrier.track(order)
    except CarrierError as error:
        return Failed(error.kind, error.message, error.retry_after, error.raw)
