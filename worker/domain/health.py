"""How well a carrier serves an account: a circuit opens when it fails again and again, and a probe closes it.

::

             so many returns in a row fail               its time is over: one probe
    closed ------------------------------> open ----------------------------------> half-open
       ^                                    ^                                          |   |
       |                                    '------------- the probe fails ------------'   |
       '--------------------------------------- the probe succeeds ------------------------'

There are two of them for each account. One counts everything; open, it keeps the account out of claims. The other
counts creations only, whose failures cost most: at a carrier that cannot be searched each one asks a person.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.cadence import grown
from worker.domain.lifecycle import Step
from worker.domain.outcomes import (
    Absent,
    Ambiguous,
    Created,
    Failed,
    FailureKind,
    LabelReady,
    NotCancelled,
    Outcome,
    RefTaken,
    Tracked,
)
from worker.domain.returns import ReturnOrder

_SICK = frozenset(
    {
        *(FailureKind.NETWORK, FailureKind.TIMEOUT, FailureKind.SERVER_ERROR),
        *(FailureKind.UNINTELLIGIBLE, FailureKind.OUTCOME_UNKNOWN),
    }
)
_SILENT = frozenset({FailureKind.THROTTLED, FailureKind.UNAUTHORIZED})  # they hold the account by themselves


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
        return self.open_until is not None and self.open_until > now


@dataclass(frozen=True, slots=True)
class Health:
    """An account's two circuits."""

    account: Circuit = Circuit()
    creations: Circuit = Circuit()

    @property
    def is_sound(self) -> bool:
        """Whether a success would change nothing."""
        return self == _SOUND


_SOUND = Health()


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a circuit opens (0 `failures`: never), and how long: `first`, doubling with each failed probe to `cap`."""

    failures: int = 5
    first: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=15)

    def failed(self, circuit: Circuit, now: datetime, *, probe: bool) -> Circuit:
        """After a failure; one that began before the circuit opened says nothing new."""
        if not self.failures or (not probe and not circuit.is_closed):
            return circuit
        failures = circuit.failures + 1
        if failures < self.failures:
            return Circuit(failures)
        return Circuit(failures, now + grown(self.first, 2.0, failures - self.failures, self.cap))


def probing(circuit: Circuit, until: datetime) -> Circuit:
    """Someone has the probe until then; should he never come back, the next one may try."""
    return circuit if circuit.is_closed else replace(circuit, open_until=until)


def after(
    health: Health, step: Step, outcome: Outcome, before: ReturnOrder, breaker: Breaker, now: datetime, *, probe: bool
) -> Health:
    """An account's health after a step; a `probe` that says nothing leaves the circuit to the next one."""
    verdict = _is_well(outcome)
    circuits = {"account": health.account} | ({"creations": health.creations} if step is Step.CREATE else {})
    if verdict is None:
        return replace(health, **{name: probing(each, now) for name, each in circuits.items()}) if probe else health
    if verdict:
        return replace(health, **dict.fromkeys(circuits, Circuit()))
    if not probe and not _is_first_failure(before, step):
        return health
    return replace(health, **{name: breaker.failed(each, now, probe=probe) for name, each in circuits.items()})


def _is_well(outcome: Outcome) -> bool | None:
    """Whether the carrier did its part; None where nothing was heard of it."""
    match outcome:
        case Created() | Absent() | Ambiguous() | RefTaken() | Tracked() | LabelReady():
            return True
        case Failed(kind) | NotCancelled(Failed(kind)):
            return None if kind in _SILENT else kind not in _SICK
        case _:
            return None


def _is_first_failure(order: ReturnOrder, step: Step) -> bool:
    """One bad return that fails again and again must not keep the others of its account from the carrier."""
    if step is Step.LABEL:
        return order.label_attempts == 0
    return order.attempts == 0 and order.failing_since is None
