"""What `decide` answers: the row as it shall be, the history it makes, and what follows for the account."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from worker.domain.error_codes import ErrorCode
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
    """The row as it shall be, what history it makes, and what else follows."""

    order: ReturnOrder
    outcome: StepOutcome
    transitions: tuple[Transition, ...] = ()
    packages: tuple[PackageInfo, ...] = ()
    labels: tuple[StoredLabel, ...] = ()
    hold: Hold | None = None
    stop_sending: str | None = None  # why the account sends no creation to its address any more
    step: Step | None = None  # what was done to come to it
    unknown_codes: tuple[str, ...] = ()  # label codes that a status named for the first time and no creation brought


_MOST_OF_A_TEXT = 1000  # characters that any column and any database takes


def in_part(before: ReturnOrder, decision: Decision, why: str) -> Decision:
    """`decision` without what its record can do without, for a database that does not take the whole; `why` is said.

    Its number, states, moments and labels stay. The carrier's answer, its packages and its link are left out: the next
    question about the return brings the last two again. Every other text becomes plain ASCII, which is stored in any
    encoding. The history has the same lines, of which the first says what happened.
    """
    order = decision.order._replace(
        return_url=before.return_url,
        carrier_status=_plain(decision.order.carrier_status),
        error_message=_plain(decision.order.error_message),
        label_error_message=_plain(decision.order.label_error_message),
    )
    lines = [
        replace(line, carrier_status=_plain(line.carrier_status), reason=_plain(line.reason), raw=None)
        for line in decision.transitions
    ]
    if lines:
        said = _plain(f"the rest of the answer could not be kept ({why})")
        lines[0] = replace(lines[0], reason="; ".join(filter(None, (lines[0].reason, said))))
    return decision._replace(order=order, transitions=tuple(lines), packages=())


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode("ascii")[:_MOST_OF_A_TEXT]
