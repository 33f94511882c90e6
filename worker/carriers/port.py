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
    `-- OutcomeUnknown  a creation that may have happened        look it up, or stop and ask a person
        `-- WrongAddress    ... where the address seems wrong    and send no further one there
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from worker.domain.lookup import Known
from worker.domain.outcomes import Absent, Ambiguous, Created, Failed, FailureKind, Tracked
from worker.domain.returns import ReturnOrder


def utc_now() -> datetime:
    """What time it is by this machine's clock, where there is nothing to doubt it by."""
    return datetime.now(UTC)


class RequestOutcome(StrEnum):
    """What happened on the wire to one request: the `outcome` label of `returns_worker_carrier_requests_total`.

    It is the same whatever was asked; what it means for the step is a `FailureKind`.
    """

    OK = "ok"
    REFUSED = "refused"
    UNAUTHORIZED = "unauthorized"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    UNINTELLIGIBLE = "unintelligible"


class CarrierError(Exception):
    """A call that did not bring what it was made for.

    `message` may quote the carrier, and so a customer, but never a key; `raw` is the carrier's answer as JSON text.
    `outcome` is what the metric says of its request, where that is not what it mostly is for such an error.
    """

    kind: ClassVar[FailureKind]
    outcome = RequestOutcome.REFUSED

    def __init__(
        self,
        message: str,
        *,
        raw: str | None = None,
        retry_after: timedelta | None = None,
        outcome: RequestOutcome | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.raw = raw
        self.retry_after = retry_after
        self.outcome = outcome or self.outcome

    @property
    def failed(self) -> Failed:
        """The same as an outcome."""
        return Failed(self.kind, self.message, self.retry_after, self.raw, isinstance(self, WrongAddress))


class NotSent(CarrierError):
    """Nothing reached the carrier: refused connection, DNS, TLS, proxy."""

    kind = FailureKind.NETWORK
    outcome = RequestOutcome.NETWORK


class Throttled(CarrierError):
    """The carrier turned us away for now; `retry_after` is how long, where it said that."""

    kind = FailureKind.THROTTLED
    outcome = RequestOutcome.THROTTLED


class Unauthorized(CarrierError):
    """The carrier refused the key."""

    kind = FailureKind.UNAUTHORIZED
    outcome = RequestOutcome.UNAUTHORIZED


class Refused(CarrierError):
    """The carrier will never accept this request."""

    kind = FailureKind.REFUSED


class NotFound(CarrierError):
    """The carrier does not know what was asked about."""

    kind = FailureKind.NOT_FOUND


class Unavailable(CarrierError):
    """A question got no useful answer: a server error, or the connection was cut."""

    kind = FailureKind.SERVER_ERROR
    outcome = RequestOutcome.SERVER_ERROR


class TimedOut(Unavailable):
    """A question got no answer within its time limit."""

    kind = FailureKind.TIMEOUT
    outcome = RequestOutcome.TIMEOUT


class Unintelligible(CarrierError):
    """An answer that has not the documented shape."""

    kind = FailureKind.UNINTELLIGIBLE
    outcome = RequestOutcome.UNINTELLIGIBLE


class OutcomeUnknown(CarrierError):
    """A creation was sent and no answer proves whether it happened."""

    kind = FailureKind.OUTCOME_UNKNOWN


class WrongAddress(OutcomeUnknown):
    """A creation was sent to an address that, by its answer, takes none (404, 405, 410), and may have happened.

    A front that passed the request on answers so too. The next one would end in the same doubt.
    """


class LabelNotReady(Exception):
    """The carrier has no usable label yet; the message says what it sent instead."""


class LabelUnreachable(Exception):
    """The address that a carrier named for a label brings none: the label's trouble, never the account's or return's.

    The message holds no more of the address than its host: the rest may be as good as a key.
    """

    def __init__(self, message: str, outcome: RequestOutcome = RequestOutcome.REFUSED) -> None:
        super().__init__(message)
        self.outcome = outcome


class NoTimeLeft(Exception):
    """Nothing was sent: the account's pace, or the lease, leaves no time for another request. Hand the row back."""


class Stopping(NoTimeLeft):
    """Nothing was sent, since the process is to end."""


class Pacer(Protocol):
    """Lets the requests of one account out; each of them passes here first."""

    async def permit(self, *, counted: bool = True) -> None:
        """Return when a request may be sent now; raises `NoTimeLeft`.

        Not `counted` is one that does not go to the carrier, and so is none of those it allows in a minute.
        """

    def check(self) -> None:
        """Raise `NoTimeLeft` when it is too late by now to send what was permitted."""

    def slow_down(self, remaining: int) -> None:
        """The carrier says that so many requests are left to the account; takes no time and cannot fail.

        It is called with an answer in hand that has still to be recorded.
        """


class Unpaced:
    """A pacer for single requests that a person makes."""

    async def permit(self, *, counted: bool = True) -> None:
        """At once."""

    def check(self) -> None:
        """It is never too late."""

    def slow_down(self, remaining: int) -> None:
        """There is nothing to slow down."""


@dataclass(frozen=True, slots=True)
class LabelDocument:
    """A label as the carrier sent it, not yet verified."""

    position: int  # which of the return's labels it is, from 1
    content: bytes
    pages: int | None  # how many it should have; None: any number
    media_types: Collection[str] = ("application/pdf",)  # the kinds that it may be of
    more: bool = False  # whether another label of the same return can be asked for now


@dataclass(frozen=True, slots=True)
class Creation:
    """A request that has passed every check and may be sent."""

    body: Mapping[str, Any]


class Carrier(Protocol):
    """One account at one carrier. Calls raise `CarrierError`; none retries: the loop is the one retry layer."""

    def prepare(self, order: ReturnOrder) -> Creation:
        """Check the payload and build the request; raises `InvalidPayload` with every problem, sends nothing."""

    async def create(self, creation: Creation) -> Created:
        """Send a creation, once."""

    async def label(self, order: ReturnOrder) -> LabelDocument:
        """Fetch a label that is not in `order.labels`; raises `LabelNotReady` and `LabelUnreachable`."""

    async def track(self, order: ReturnOrder) -> Tracked:
        """Ask where the return is."""

    async def ping(self) -> None:
        """One call that reads and changes nothing, to see that the host answers and the key is accepted."""

    @property
    def warnings(self) -> Sequence[str]:
        """What an operator should know about this account's configuration."""

    async def close(self) -> None:
        """Close its connections."""


class Search(Protocol):
    """What a look-up read of a carrier's orders. Whose each of them is, only we know: ask that, then for the result."""

    @property
    def numbers(self) -> Collection[str]:
        """The carrier's numbers of which it matters whether a return of ours has them."""

    @property
    def references(self) -> Collection[str]:
        """The references of which it matters whether a return of ours bears them."""

    def result(self, known: Known) -> Created | Absent | Ambiguous:
        """What it comes to; raises `Unintelligible` when what was read proves nothing. Asks nothing."""


@runtime_checkable
class Searchable(Protocol):
    """A carrier at which a creation whose answer was lost can be looked up."""

    async def look_up(self, order: ReturnOrder) -> Search:
        """Read all that was made since the order's first attempt."""


@runtime_checkable
class Cancelling(Protocol):
    """A carrier that takes a withdrawal."""

    async def cancel(self, order: ReturnOrder) -> None:
        """Withdraw it; raises `NotFound` when it is not there any more, `Refused` when it is too late."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a carrier's list."""

    sightings: Mapping[str, Any]  # what it says of each return, by `carrier_ref`; for `Listing.read`
    is_last: bool


@runtime_checkable
class Listing(Protocol):
    """A carrier that lists whole returns, many in one request, the newest first.

    Pages shift while they are read: what a page does not show is neither gone nor unchanged.
    """

    def place(self, carrier_ref: str) -> int | None:
        """Where it stands in the list: a number above 0 that falls from beginning to end; None: it cannot be told."""

    async def page(self, number: int) -> Page:
        """Ask for a page, from 1."""

    def read(self, order: ReturnOrder, sighting: Any) -> Tracked:
        """What a sighting says of `order`; raises `CarrierError` when it is misshapen. Asks nothing."""
