"""What a step can report: a closed union, the only thing `decide` looks at besides the row."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from worker.domain.returns import PackageInfo
from worker.domain.tracking import TrackingUpdate


@dataclass(frozen=True, slots=True)
class StoredLabel:
    """A row of `label`: a label that is verified and lies in the label store."""

    position: int
    location: str
    media_type: str
    byte_count: int
    page_count: int | None
    sha256: str


class FailureKind(StrEnum):
    """What a failed call means for the step, so that what to do follows: a lost answer is in doubt to a creation alone.

    Neither what the metric counts, `RequestOutcome`, nor what a person reads of the return, `ErrorCode`.
    """

    NETWORK = "network"  # never reached: nothing was sent
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    THROTTLED = "throttled"  # turned away for now, with or without a time
    UNAUTHORIZED = "unauthorized"  # the key, not the return
    REFUSED = "refused"  # this request will never be accepted
    NOT_FOUND = "not_found"
    UNINTELLIGIBLE = "unintelligible"
    OUTCOME_UNKNOWN = "outcome_unknown"  # a creation that may have happened


OUTAGES = frozenset({FailureKind.NETWORK, FailureKind.TIMEOUT, FailureKind.SERVER_ERROR})
"""The carrier's or the network's own trouble, for which no return is to blame."""

TURNED_AWAY = frozenset({FailureKind.THROTTLED, FailureKind.UNAUTHORIZED})
"""The carrier answers nothing of this account's for now: the account waits."""


@dataclass(frozen=True, slots=True)
class Created:
    """The carrier made the return and said its number."""

    carrier_ref: str
    update: TrackingUpdate | None
    packages: tuple[PackageInfo, ...] = ()
    return_url: str | None = None
    has_label: bool = True  # whether a label can be asked for now
    raw: str | None = None
    adopted: bool = False  # a look-up found it


@dataclass(frozen=True, slots=True)
class Invalid:
    """The payload breaks rules; nothing was sent."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendingStopped:
    """The payload is good, and nothing was sent: no creation goes to the account's address for now."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An earlier holder committed the intent to create and never recorded an answer."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A creation without an answer was looked up at the carrier: nothing there bears the reference."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A creation without an answer was looked up, and what was found is not surely, or not only, it."""

    message: str
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class RefTaken:
    """The carrier's number for this creation already belongs to another return."""

    carrier_ref: str
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class LabelReady:
    """The label is verified and stored; `more`: another one of the same return can be asked for now."""

    label: StoredLabel
    more: bool = False


@dataclass(frozen=True, slots=True)
class LabelTrouble:
    """No usable label yet; `code` is one of the label codes of `ErrorCode`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Tracked:
    """The carrier said where the return is, its packages as far as it names them, and which labels there are."""

    update: TrackingUpdate | None  # None: it has the return, and says nothing of where it is
    packages: tuple[PackageInfo, ...] = ()
    labels: frozenset[int] = frozenset()  # positions of those that a status shows to be there
    return_url: str | None = None
    codes: tuple[tuple[int, str], ...] = ()  # label codes that it merely names, with their package's place, from 1


@dataclass(frozen=True, slots=True)
class Adopted:
    """A return that was to be adopted is at the carrier, under the number that was given; `seen` is its answer."""

    carrier_ref: str
    seen: Tracked


@dataclass(frozen=True, slots=True)
class Failed:
    """A carrier call without success."""

    kind: FailureKind
    message: str  # may quote the carrier and so a customer, never a key
    retry_after: timedelta | None = None
    raw: str | None = None  # JSON
    wrong_address: bool = False  # a creation in doubt, sent to an address that seems to take none


@dataclass(frozen=True, slots=True)
class NotCancelled:
    """The carrier was asked to cancel and did not say that it has."""

    failed: Failed


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The shop withdrew it; `reason` says whether the carrier was told."""

    reason: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A withdrawal or a retry that makes no sense in this state: said once in the history, then forgotten."""

    reason: str
    cancel: bool  # it was a withdrawal


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """The row was due and asks for nothing now; such as a withdrawal that waits until a person settles a creation."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The row is as a backup or a copy has it: since then the return may have been created."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """A rejected return that the shop asks to try again."""


@dataclass(frozen=True, slots=True)
class Poisoned:
    """Too many workers took this row and did not come back."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The row, or its payload, cannot be read: `why`."""

    why: str


Outcome = (
    Created
    | Invalid
    | SendingStopped
    | Interrupted
    | Absent
    | Ambiguous
    | RefTaken
    | LabelReady
    | LabelTrouble
    | Tracked
    | Adopted
    | Failed
    | NotCancelled
    | Withdrawn
    | RequestRefused
    | NothingToDo
    | Restored
    | PutBack
    | Poisoned
    | Unreadable
)
