"""A label that a return should have and has not, and what leads on."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from worker.domain.error_codes import SET_ASIDE, ErrorCode
from worker.domain.lifecycle import State
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import History


class LabelWay(Enum):
    """What leads on where a label is missing."""

    ACCEPT = auto()  # what came was refused: a person takes it as it is, or looks at it
    RETRY = auto()  # it is sought no longer: a person has it sought again
    REFETCH = auto()  # it is sought on: a person asks for it now


@dataclass(frozen=True, slots=True)
class MissingLabel:
    """A label that a return at the carrier should have and has not."""

    position: int
    code: str
    message: str | None
    since: datetime | None  # None: it is no longer sought
    way: LabelWay


def missing_label(history: History) -> MissingLabel | None:
    """The first label that is missing of a return, and why; None also while nothing has gone wrong."""
    order, code = history.order, history.order.label_error_code
    if order.state not in (State.TRACKING, State.COMPLETED) or code is None or order.erased_at is not None:
        return None
    stored = {row.position for row in history.labels}
    position = next((each.position for each in history.packages if each.position not in stored), 1)
    return MissingLabel(position, code, order.label_error_message, order.label_sought_since, label_way(order, code))


def label_way(order: ReturnOrderRow, code: str) -> LabelWay:
    """What leads on where a label is missing for this reason."""
    if code == ErrorCode.LABEL_UNUSABLE:
        return LabelWay.ACCEPT
    return LabelWay.RETRY if code in SET_ASIDE and order.state == State.TRACKING else LabelWay.REFETCH
