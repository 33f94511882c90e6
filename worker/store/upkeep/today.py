"""What happened since a moment, and what needs a person: for an overview, without a look at each row that is over."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from worker.store.columns import bound, moment_if_any, read_moment
from worker.store.transactions import reading

MOST = 50_000
"""Lines of the history, and labels, that are read to count them."""

MARGIN = timedelta(minutes=10)
"""So much longer ago than it was written a line may say that it was observed: its transaction began then."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How many returns came to a state or a tracking status, and how many labels were stored, since a moment.

    `since`: later than what was asked for where there was more than `MOST`; then the newest are counted. What was
    archived meanwhile is not counted, and a label whose file was removed is not either.
    """

    since: datetime
    states: Mapping[tuple[str | None, str | None], int]  # by the state before and the one after
    tracking: Mapping[str | None, int]  # by the tracking status after
    labels: int
    is_all: bool = True  # whether all since then are counted


@dataclass(frozen=True, slots=True)
class Troubled:
    """Returns that need attention for one reason; the one with the lowest id is an example of them."""

    error_code: str | None
    count: int
    since: datetime | None  # when the first of them was recorded last
    example: int


_ENDS = text("SELECT min(id) AS lowest, max(id) AS highest FROM status_transition")
_FROM = text("SELECT id, observed_at FROM status_transition WHERE id >= :id ORDER BY id LIMIT 1")
_COUNT = text("""
SELECT field, old_value, new_value, observed_at >= :since AS is_of_it, count(*) AS found, min(observed_at) AS first_at
  FROM (SELECT field, old_value, new_value, observed_at FROM status_transition WHERE id >= :id
         ORDER BY id DESC LIMIT :most) AS newest
 GROUP BY 1, 2, 3, 4""")
_LABELS = text("""
SELECT count(*) AS found, min(fetched_at) AS first_at
  FROM (SELECT fetched_at FROM label WHERE removed_at IS NULL AND fetched_at >= :since
         ORDER BY fetched_at DESC LIMIT :most) AS newest""")
_TROUBLED = text("""
SELECT error_code, count(*) AS found, min(updated_at) AS since, min(id) AS example
  FROM return_order WHERE state = 'needs_attention' GROUP BY error_code ORDER BY 2 DESC, 1""")


@reading
def read_changes(connection: Connection, since: datetime, most: int = MOST) -> Changes:
    """What changed since a moment.

    `observed_at` has no index: which id the lines of that time begin at is found by bisecting the ids, in some twenty
    looks however long the history is. Their times are in the order of the ids but for transactions that were open at
    the same time.
    """
    moment = bound(connection.dialect.name, since)
    lowest, highest = connection.execute(_ENDS).one()
    began = bisected(lowest, highest, since - MARGIN, partial(_first_line, connection))
    rows = connection.execute(_COUNT, {"since": moment, "id": began, "most": most}).all()
    labels = connection.execute(_LABELS, {"since": moment, "most": most}).one()
    of_it = [row for row in rows if row.is_of_it]
    begun_at = [
        read_moment(min(row.first_at for row in counted))
        for all_read, counted in ((rows, of_it), ([labels], [labels]))
        if sum(row.found for row in all_read) >= most and counted
    ]
    states, tracking = Counter[tuple[str | None, str | None]](), Counter[str | None]()
    for row in of_it:
        if row.old_value == row.new_value:  # a reason, or another word of the carrier's
            continue
        if row.field == "state":
            states[row.old_value, row.new_value] += row.found
        else:
            tracking[row.new_value] += row.found
    return Changes(max((since, *begun_at)), states, tracking, labels.found, not begun_at)


def bisected(
    lowest: int | None, highest: int | None, since: Any, first: Callable[[int], tuple[int, Any] | None]
) -> int:
    """The id from which on lines are not before a moment, where their times are in the order of their ids.

    `first` gives the first line with at least an id, and its time. Beyond the highest one where there is none.
    """
    if lowest is None or highest is None:
        return 0
    low, high = lowest, highest + 1
    while low < high:
        middle = (low + high) // 2
        line = first(middle)
        if line is None or line[1] >= since:
            high = middle
        else:
            low = line[0] + 1
    return low


def _first_line(connection: Connection, lowest: int) -> tuple[int, datetime] | None:
    row = connection.execute(_FROM, {"id": lowest}).one_or_none()
    return (row.id, read_moment(row.observed_at)) if row is not None else None


@reading
def read_troubled(connection: Connection) -> list[Troubled]:
    """The returns that need attention, by error code, the most first; through their partial index."""
    return [
        Troubled(row.error_code, row.found, moment_if_any(row.since), row.example)
        for row in connection.execute(_TROUBLED)
    ]
