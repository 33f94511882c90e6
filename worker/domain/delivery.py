"""What follows from how a webhook's endpoint answers: for the event that was sent, and for the endpoint.

`chance` draws from [0, 1), so that every rule here can be tested as a table.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.circuits import Breaker, Circuit
from worker.domain.clocks import LONGEST_WAIT

SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
"""The waits after an event's failed tries, the last one for each further one (Standard Webhooks 1.0.0, "Retries")."""

JITTER = 0.2

_SHORTEST_REST = timedelta(seconds=1)  # "Retry-After: 0" must not become a tight loop
_REST = timedelta(minutes=1)  # where a 429 names no time


class Ending(StrEnum):
    """How a try to tell an endpoint of an event ended."""

    DELIVERED = "delivered"
    GONE = "gone"  # 410: it wants no more
    ASKED_TO_WAIT = "asked_to_wait"  # 429, or 503 with a Retry-After
    REDIRECTED = "redirected"  # 3xx, which is followed nowhere
    REFUSED = "refused"  # another 4xx
    SERVER_ERROR = "server_error"  # another status
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"  # no connection, no name, no TLS, or one that was cut
    FORBIDDEN_ADDRESS = "forbidden_address"  # no public one, where that is asked for
    UNINTELLIGIBLE = "unintelligible"  # no HTTP, or a head without end
    NOT_SENT = "not_sent"  # our own trouble, such as a secret that cannot be read


@dataclass(frozen=True, slots=True)
class Delivered:
    """It answered 2xx in time: the event is told."""

    ending: Ending = Ending.DELIVERED


@dataclass(frozen=True, slots=True)
class Gone:
    """It answered 410: nothing more is sent until a person says so."""

    message: str = "the endpoint answered 410: it wants no more"
    ending: Ending = Ending.GONE


@dataclass(frozen=True, slots=True)
class AskedToWait:
    """It is well, and wants to be left alone; None: it does not say how long."""

    wait: timedelta | None
    message: str
    ending: Ending = Ending.ASKED_TO_WAIT


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The event may not have arrived; the message says why, in words of ours."""

    ending: Ending
    message: str


Answered = Delivered | Gone | AskedToWait | Undelivered
"""What an endpoint's answer, or its silence, comes to."""


class HoldCode(StrEnum):
    """Why nothing is sent to an endpoint, beside a person who holds it."""

    GONE = "gone"
    ASKED_TO_WAIT = "asked_to_wait"


@dataclass(frozen=True, slots=True)
class EndpointHold:
    """Nothing is sent until then; None: until a person releases it."""

    until: datetime | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a webhook's endpoint does, as its subscriber's row has it. A hold that is over is none."""

    hold: EndpointHold | None = None
    circuit: Circuit = field(default_factory=Circuit)
    in_flight_most: int | None = None  # after an outage or a 429; None: as many as are configured

    def allowed(self, now: datetime, most: int) -> int:
        """How many returns it may be told of at the same time, of at most so many."""
        if self.is_held(now) or self.circuit.is_open(now):
            return 0
        if not self.circuit.is_closed:
            return 1
        return most if self.in_flight_most is None else min(self.in_flight_most, most)

    @property
    def rests_until(self) -> datetime | None:
        """When its hold ends by itself."""
        return self.hold.until if self.hold is not None else None

    def is_held(self, now: datetime) -> bool:
        """Whether it is to be left alone, however well it is."""
        return self.hold is not None and (self.hold.until is None or self.hold.until > now)


@dataclass(frozen=True, slots=True)
class Try:
    """One event that was sent: what it came to, and how often it had failed before; `probe`: to find out how it is."""

    id: int
    attempts: int
    first_attempt_at: datetime | None
    answered: Answered
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """An event that is to be sent again after `wait`."""

    id: int
    attempts: int
    wait: timedelta
    message: str
    was_sent: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from some tries: for the endpoint, and for each event."""

    endpoint: Endpoint
    delivered: Sequence[int] = ()
    again: Sequence[Again] = ()
    given_up: Sequence[Again] = ()


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """What is configured of one endpoint, as far as decisions go by it."""

    most_in_flight: int = 4
    give_up_after: timedelta = timedelta(hours=72)  # since an event was first sent
    breaker: Breaker = field(default_factory=Breaker)


def wait_after(attempts: int, chance: float) -> timedelta:
    """How long an event waits after so many failed tries, give or take a fifth."""
    return SCHEDULE[min(attempts, len(SCHEDULE)) - 1] * (1 + JITTER * (2 * chance - 1))


def next_wait(
    attempts: int, first_at: datetime, now: datetime, give_up_after: timedelta | None, chance: float
) -> timedelta | None:
    """How long until an event's next try, the last of which is at its end; None: it is given up.

    `give_up_after` None: no age is judged.
    """
    wait = wait_after(attempts, chance)
    if give_up_after is None:
        return wait
    left = first_at + give_up_after - now
    return min(wait, left) if left > timedelta(0) else None


def after(endpoint: Endpoint, answered: Answered, policy: DeliveryPolicy, now: datetime, *, probe: bool) -> Endpoint:
    """How the endpoint does after one try."""
    match answered:
        case Delivered():
            most = None if endpoint.in_flight_most is None else endpoint.in_flight_most + 1
            return replace(
                endpoint,
                circuit=Circuit(),
                in_flight_most=None if most is None or most >= policy.most_in_flight else most,
            )
        case Gone():
            return _held(endpoint, EndpointHold(None, HoldCode.GONE, answered.message), now)
        case AskedToWait():
            hold = EndpointHold(now + _rest(answered.wait), HoldCode.ASKED_TO_WAIT, answered.message)
            return replace(_held(endpoint, hold, now), in_flight_most=1)
        case Undelivered():
            circuit = policy.breaker.failed(endpoint.circuit, now, probe=probe)
            most = endpoint.in_flight_most if circuit.is_closed else 1
            return replace(endpoint, circuit=circuit, in_flight_most=most)


def judged(
    endpoint: Endpoint,
    tries: Sequence[Try],
    policy: DeliveryPolicy,
    now: datetime,
    chance: Callable[[], float],
    *,
    judges_ages: bool = True,
) -> Verdict:
    """What follows from these tries, in the order in which they ended; no event is too old where no age is judged."""
    delivered, again, given_up = list[int](), list[Again](), list[Again]()
    give_up_after = policy.give_up_after if judges_ages else None
    for each in tries:
        endpoint = after(endpoint, each.answered, policy, now, probe=each.probe)
        match each.answered:
            case Delivered():
                delivered.append(each.id)
            case Gone(message):
                again.append(Again(each.id, each.attempts, timedelta(0), message))
            case AskedToWait(wait, message):
                again.append(Again(each.id, each.attempts, _rest(wait), message))
            case Undelivered(ending, message):
                was_sent = ending is not Ending.NOT_SENT
                attempts = each.attempts + was_sent
                wait = next_wait(max(attempts, 1), each.first_attempt_at or now, now, give_up_after, chance())
                kept = Again(each.id, attempts, wait or timedelta(0), message, was_sent)
                (again if wait is not None else given_up).append(kept)
    return Verdict(endpoint, delivered, again, given_up)


def _rest(asked: timedelta | None) -> timedelta:
    return min(max(_REST if asked is None else asked, _SHORTEST_REST), LONGEST_WAIT)


def _held(endpoint: Endpoint, hold: EndpointHold, now: datetime) -> Endpoint:
    """One that lasts longer already, such as a person's, is kept."""
    before = endpoint.hold
    if before is None or not endpoint.is_held(now):
        return replace(endpoint, hold=hold)
    lasts = before.until is None or (hold.until is not None and hold.until <= before.until)
    return endpoint if lasts else replace(endpoint, hold=hold)
