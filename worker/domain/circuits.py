"""How well a carrier serves an account: a circuit opens when it fails again and again, and a probe closes it.

::

             so many returns in a row fail               its time is over: one probe
    closed ------------------------------> open ----------------------------------> half-open
       ^                                    ^                                          |   |
       |                                    '------------- the probe fails ------------'   |
       '--------------------------------------- the probe succeeds ------------------------'

There are two of them for each account. One keeps it out of claims. The other counts creations only, those above all
that got lost, which cost most: at a carrier that cannot be searched each one asks a person. So one that is lost while
creations are sent one at a time (`worker.domain.ramp`) opens it at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.domain import outcomes
from worker.domain.cadence import grown
from worker.domain.clocks import lasts
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import Step
from worker.domain.outcomes import OUTAGES, TURNED_AWAY, Failed, FailureKind, NotCancelled, Outcome, RefTaken
from worker.domain.ramp import Ramp, begun
from worker.domain.returns import ReturnOrder

_SICK = OUTAGES | {FailureKind.UNINTELLIGIBLE, FailureKind.OUTCOME_UNKNOWN}
_PROBES = (Step.TRACK, Step.LABEL, Step.CANCEL, Step.CREATE)  # which step is tried first
_ANOTHER = 4  # each so-many-th probe goes the other way round: one broken part must not stop the others


@dataclass(frozen=True, slots=True)
class Circuit:
    """Failures in a row, and until when it is open; None: it is closed."""

    failures: int = 0
    open_until: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing keeps calls back."""
        return self.open_until is None

    def is_open(self, now: datetime) -> bool:
        """Whether no call may be made; neither open nor closed is half-open: one may."""
        return lasts(self.open_until, now)


@dataclass(frozen=True, slots=True)
class Health:
    """An account's two circuits, and how many creations it may have in flight."""

    account: Circuit = Circuit()
    creations: Circuit = Circuit()
    ramp: Ramp = field(default_factory=Ramp)

    @property
    def circuits(self) -> Mapping[str, Circuit]:
        """Both by their names, as logs and metrics say them."""
        return {"account": self.account, "creations": self.creations}


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a circuit opens (0 `failures`: never), and how long: `first`, doubling with each failed probe to `cap`."""

    failures: int = 5
    first: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=15)

    def failed(self, circuit: Circuit, now: datetime, *, probe: bool, at_once: bool = False) -> Circuit:
        """After a failure; one that began before the circuit opened says nothing new. `at_once`: it opens it alone."""
        if not self.failures:
            return Circuit()
        if not probe and not circuit.is_closed:  # it began before
            return circuit
        failures = circuit.failures + 1
        if circuit.is_closed and at_once:
            failures = max(failures, self.failures)
        if circuit.is_closed and failures < self.failures:  # an open one may be of a worker with less patience
            return Circuit(failures)
        return Circuit(failures, now + grown(self.first, 2.0, failures - self.failures, self.cap))


def probing(circuit: Circuit, until: datetime) -> Circuit:
    """A worker has the probe until then; if it never comes back, the next one may try."""
    return circuit if circuit.is_closed else replace(circuit, open_until=until)


def admitted(
    health: Health, due: Mapping[Step, int], now: datetime, untried: Step | None = None
) -> tuple[Mapping[Step, int], Step | None]:
    """What of `due` may be taken, and which step of that is a probe: one row of it, which has first to be asked for.

    A probe is rather a poll than a creation, which might harm a return; but in one try of four it is rather a creation,
    so that a carrier whose polls alone fail still gets creations. `untried` is the step that came to nothing the last
    time: its rows were locked, or its answer was no sign of the carrier. Another one comes before it.
    """
    if health.account.is_open(now):
        return {}, None
    allowed = health.ramp.allowed(now)
    if health.creations.is_open(now):
        due = {**due, Step.CREATE: 0}
    elif allowed is not None and due.get(Step.CREATE):
        due = {**due, Step.CREATE: min(due[Step.CREATE], allowed)}
    if not health.account.is_closed:
        steps = _PROBES[::-1] if health.account.failures % _ANOTHER == _ANOTHER - 1 else _PROBES
        step = next((step for step in sorted(steps, key=lambda each: each is untried) if due.get(step)), None)
        return ({step: 1} if step else {}), step
    if not health.creations.is_closed and due.get(Step.CREATE):
        return {**due, Step.CREATE: 1}, Step.CREATE
    return due, None


def probed(health: Health, step: Step, until: datetime) -> Health:
    """With a probe by `step` under way until then at the latest."""
    creations = probing(health.creations, until) if step is Step.CREATE else health.creations
    return replace(health, account=probing(health.account, until), creations=creations)


def is_tried(health: Health, step: Step, now: datetime) -> bool:
    """Whether another worker has the probe by `step`, or it has failed meanwhile."""
    return health.account.is_open(now) or (step is Step.CREATE and health.creations.is_open(now))


_SOUND = Circuit()


def after(
    health: Health,
    order: ReturnOrder,
    outcome: Outcome | None,
    breaker: Breaker,
    now: datetime,
    *,
    probe: bool,
    sent_at: datetime | None = None,
) -> Health:
    """An account's health after a step of `order` (None: not done); a `probe` that says nothing is given back.

    `sent_at`: when the row was taken; None: now.
    """
    step, verdict = order.next_step, is_well(order, outcome)
    creates, given_back = step is Step.CREATE, probed(health, step, now) if probe else health
    looked_up = creates and (order.in_doubt or order.to_adopt is not None)
    if verdict is None:
        return given_back
    if looked_up and (verdict or isinstance(outcome, RefTaken)):  # it was answered, which tells nothing of creations
        return replace(given_back, account=_SOUND)
    ramp = health.ramp
    if creates and not looked_up:
        ramp = ramp.succeeded(now, sent_at or now) if verdict else begun(now)
    if isinstance(outcome, Failed) and outcome.wrong_address:  # nothing more is sent there; look-ups go on
        return replace(given_back, ramp=ramp)
    if verdict:
        return replace(health, ramp=ramp, account=_SOUND, creations=_SOUND if creates else health.creations)
    if not probe and not _is_first_failure(order, outcome):
        return replace(health, ramp=ramp)
    lost = isinstance(outcome, RefTaken) or (
        isinstance(outcome, Failed) and outcome.kind is FailureKind.OUTCOME_UNKNOWN
    )
    account, creations = health.account, health.creations
    if not (account.is_closed and lost):  # creations that get lost are no reason not to ask where the others are
        account = breaker.failed(account, now, probe=probe)
    if creates and order.to_adopt is None:  # else a question failed, and says nothing of creations
        creations = breaker.failed(creations, now, probe=probe, at_once=lost and health.ramp.allowed(now) == 1)
    return replace(health, ramp=ramp, account=account, creations=creations)


def is_well(order: ReturnOrder, outcome: Outcome | None) -> bool | None:
    """Whether the carrier did its part in a step of `order`; None where that tells nothing of it."""
    match outcome:
        case outcomes.Created() | outcomes.Absent() | outcomes.Ambiguous() | outcomes.Tracked() | outcomes.LabelReady():
            return True
        case outcomes.Adopted():
            return True
        case RefTaken() if order.to_adopt is not None:  # a shop gave the number, and not the carrier
            return None
        case RefTaken():  # a carrier that answers each creation with the same number makes none that we can follow
            return False
        case outcomes.LabelTrouble(ErrorCode.LABEL_NOT_READY):  # it did answer
            return True
        # It did answer, and about this return alone: neither the others nor creations are kept from it. A look-up reads
        # the account's list.
        case Failed(FailureKind.UNINTELLIGIBLE) | NotCancelled(Failed(FailureKind.UNINTELLIGIBLE)) if (
            order.next_step is not Step.CREATE or order.to_adopt is not None
        ):
            return None
        case Failed(kind) | NotCancelled(Failed(kind)):
            return None if kind in TURNED_AWAY else kind not in _SICK  # turned away, the account is held anyway
        case _:
            return None


def _is_first_failure(order: ReturnOrder, outcome: Outcome | None) -> bool:
    """One bad return that fails again and again must not keep the others of its account from the carrier."""
    if order.next_step is Step.LABEL and not isinstance(outcome, NotCancelled):
        return order.label_attempts == 0
    return order.attempts == 0 and order.failing_since is None
