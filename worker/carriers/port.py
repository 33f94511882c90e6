"""The port to a carrier: what an adapter must do, and the errors it may raise, named by what to do about them.

::

    CarrierError
    |-- NotSent         nothing reached the carrier              try again later; of a creation too
    |-- Throttled       turned away for now (429, 503)           the account waits
    |-- Unauthorized    the key is refused (401, 403)            the account waits for a person
    |-- Refused         this request will never be accepted      a creation is rejected
    |-- NotFound        the carrier does not know it (404)       ask again, slowly
    |-- Unavailable     no or no useful answer to a question     try again later; never raised for a creation
    |-- Unintelligible  an answer without sense                  try again, a limited number of times
    `-- OutcomeUnknown  a creation that may have happened        stop and ask a person
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Protocol

from worker.domain.outcomes import Created, FailureKind
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingUpdate


class CarrierError(Exception):
    """A call that did not bring what it was made for.

    `message` may quote the carrier, and so a customer, but never a key; `raw` is the carrier's answer as JSON text.
    """

    kind: ClassVar[FailureKind]

    def __init__(self, message: str, *, raw: str | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.raw = raw
        self.retry_after = retry_after


class NotSent(CarrierError):
    """Nothing reached the carrier: refused connection, DNS, TLS, proxy."""

    kind = FailureKind.NETWORK


class Throttled(CarrierError):
    """The carrier turned us away for now; `retry_after` says for how long, if it did."""

    kind = FailureKind.THROTTLED


class Unauthorized(CarrierError):
    """The carrier refused the key."""

    kind = FailureKind.UNAUTHORIZED


class Refused(CarrierError):
    """The carrier will never accept this request."""

    kind = FailureKind.REFUSED


class NotFound(CarrierError):
    """The carrier does not know what was asked about."""

    kind = FailureKind.NOT_FOUND


class Unavailable(CarrierError):
    """A question stayed without a useful answer: server error, or the connection was cut."""

    kind = FailureKind.SERVER_ERROR


class TimedOut(Unavailable):
    """A question stayed without an answer for the whole time limit."""

    kind = FailureKind.TIMEOUT


class Unintelligible(CarrierError):
    """An answer that has not the documented shape."""

    kind = FailureKind.UNINTELLIGIBLE


class OutcomeUnknown(CarrierError):
    """A creation was sent and no answer proves whether it happened."""

    kind = FailureKind.OUTCOME_UNKNOWN


class LabelNotReady(Exception):
    """The carrier has no usable label yet; the message says what it sent instead."""


@dataclass(frozen=True, slots=True)
class LabelDocument:
    """The bytes the carrier sent as label number `position`, not yet verified; `pages` as it should have."""

    position: int
    content: bytes
    pages: int | None


@dataclass(frozen=True, slots=True)
class Creation:
    """A request that has passed every check and may be sent."""

    body: Mapping[str, Any]


class Carrier(Protocol):
    """One account at one carrier. Calls raise `CarrierError`; none retries: the loop is the one retry layer."""

    def prepare(self, order: ReturnOrder) -> Creation:
        """Check the payload and build the request; raises `InvalidPayload` with every problem, sends nothing."""
        ...

    async def create(self, creation: Creation) -> Created:
        """Send a creation, once."""
        ...

    async def label(self, order: ReturnOrder) -> LabelDocument:
        """Fetch the label; raises `LabelNotReady` when there is none yet."""
        ...

    async def track(self, order: ReturnOrder) -> TrackingUpdate:
        """Ask where the return is."""
        ...

    async def ping(self) -> None:
        """One call that reads and changes nothing, to see that the host answers and the key is accepted."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know about this account's configuration."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...
