"""Events: what each line of a return's history, and each label, is called to those who are told of it.

An event is `FIELD.NEW_VALUE` of a row of `status_transition`, or `label.stored` of a row of `label`. A pattern is such
a name, or the beginning of one with `*` at its end.
"""

from collections.abc import Sequence
from enum import StrEnum

from worker.domain.lifecycle import State
from worker.domain.tracking import TrackingStatus


class SubscriberKind(StrEnum):
    """How a subscriber is told."""

    TABLE = "table"
    """By rows of `return_event`, which it deletes as it reads them."""
    WEBHOOK = "webhook"
    """By requests to its address."""


class Source(StrEnum):
    """The table that the row an event tells of is in."""

    TRANSITION = "transition"
    LABEL = "label"


LABEL_STORED = "label.stored"

EVENTS: Sequence[str] = (
    *(f"state.{state}" for state in State),
    *(f"tracking_status.{status}" for status in TrackingStatus),
    LABEL_STORED,
)
"""Every event there is."""


def covers(pattern: str, event: str) -> bool:
    """Whether `event` is one of those that `pattern` names."""
    return event.startswith(pattern[:-1]) if pattern.endswith("*") else event == pattern


def is_pattern(text: str) -> bool:
    """Whether it names at least one event there is."""
    return any(covers(text, event) for event in EVENTS)
