"""What `decide` answers: the row as it shall be, the history it makes, and what follows for the account."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import Step
from worker.domain.outcomes import StoredLabel
from worker.domain.returns import PackageInfo, ReturnOrder


class StepOutcome(StrEnum):
    """The `outcome` label of `returns_worker_steps_total`."""

    CREATED = "created"
    ADOPTED = "adopted"
    ABSENT = "absent"
    STORED = "stored"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    COMPLETED = "completed"
    WAITING = "waiting"
    RETRYING = "retrying"
    REJECTED = "rejected"
    NEEDS_ATTENTION = "needs_attention"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    PUT_BACK = "put_back"


@dataclass(frozen=True, slots=True)
class Transition:
    """A row of `status_transition`."""

    field: str
    old_value: str | None
    new_value: str | None
    carrier_status: str | None = None
    carrier_time: datetime | None = None
    reason: str | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The whole account waits: `until` then, or until a person acts when None."""

    until: datetime | None
    code: ErrorCode
    message: str


class Decision(NamedTuple):
    """The row as it shall be, what history it makes, and what else follows; `step` is what was done to come to it.

    `stop_sending`: why the account sends no creation to its address any more; None: nothing of that kind.
    """

    order: ReturnOrder
    outcome: StepOutcome
    transitions: tuple[Transition, ...] = ()
    packages: tuple[PackageInfo, ...] = ()
    labels: tuple[StoredLabel, ...] = ()
    hold: Hold | None = None
    stop_sending: str | None = None
    step: Step | None = None
