"""Events: what each line of a return's history, and each label, is called to those who are told of it.

An event is `FIELD.NEW_VALUE` of a row of `status_transition`, or `label.stored` of a row of `label`. A pattern is such
a name, or the beginning of one with `*` at its end.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from worker.domain.error_codes import ErrorCode
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


_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Message:
    """All that a webhook says of one event, as it was written down with what it tells of: each try says the same."""

    type: str
    account: str
    reference: str
    return_order_id: int
    position: int  # among the events of this return, from 1
    source: Source
    source_id: int
    observed_at: datetime
    carrier_ref: str | None = None
    carrier_status: str | None = None
    carrier_time: datetime | None = None
    old_value: str | None = None
    new_value: str | None = None
    reason: str | None = None  # in our own words only

    @property
    def id(self) -> str:
        """By which a receiver knows a repeat: a database that was restored may give `source_id` once more."""
        return f"{self.source}-{self.source_id}-{(self.observed_at - _EPOCH) // _MICROSECOND}"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told of changes: of the events that `events` names, of returns of these accounts; of neither any: of all.

    What it has not taken by `keep` after it happened is dropped. With `notify` each commit with events for it is said
    on PostgreSQL's channel `returns_news`.
    """

    name: str
    kind: SubscriberKind
    events: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    keep: timedelta = timedelta(days=14)
    notify: bool = False


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


_CODE = re.compile(rf"({'|'.join(ErrorCode)}): ")
# What is not in our words stands behind one of these: what is quoted, a number, a carrier's word, who decided and why,
# what a database said.
_OTHERS_WORDS = re.compile(r": |; by |,? as |(?<= says) (?!that it is still under way)|; the rest of the answer ")


def told_reason(reason: str | None) -> str | None:
    """What of a transition's reason may be told to others: our own words, without a name, a number or a quotation.

    Where it begins with an error code, that code alone: the message behind it may quote a carrier or a customer.
    """
    if reason is None:
        return None
    if code := _CODE.match(reason):
        return code[1]
    return _OTHERS_WORDS.split(reason, maxsplit=1)[0]
