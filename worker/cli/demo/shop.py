"""The demo's shop: plain SQL from Python's own sqlite3, as a shop in any language would do it."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from worker.cli.demo.fates import Ending, Observed, SampleReturn
from worker.cli.demo.samples import made_up

P = ParamSpec("P")
T = TypeVar("T")

_INSERT = "INSERT INTO return_order (reference, payload) VALUES (?, ?)"
_PILOT_INSERT = "INSERT INTO return_order (account, reference, payload) VALUES ('pilot', ?, ?)"
_PECULIAR_INSERTS = {
    "later": "INSERT INTO return_order (reference, payload, due_at) VALUES (?, ?, datetime('now', '+1 day'))",
    "unroutable": "INSERT INTO return_order (account, reference, payload) VALUES ('closed_last_year', ?, ?)",
    # No shop would write these columns: this is what a worker leaves behind that is killed before it sends anything.
    "dead_worker": "INSERT INTO return_order (reference, payload, lease_owner, lease_until, lease_token, claims)"
    " VALUES (?, ?, 'a worker that died', strftime('%Y-%m-%d %H:%M:%f', 'now', '+3 seconds'), 1, 1)",
}
_WITHDRAW = """UPDATE return_order SET cancel_requested_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
 WHERE reference = ? AND state = 'tracking' AND EXISTS (SELECT 1 FROM label WHERE return_order_id = return_order.id)"""
_WITHDRAW_PILOT = """UPDATE return_order SET cancel_requested_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
 WHERE reference = ? AND state = 'tracking'"""
_MEND = """UPDATE return_order SET payload = ?, retry_requested_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
 WHERE reference = ? AND state = 'rejected'"""

_COUNTS = "SELECT state, tracking_status, due_at IS NULL, count(*) FROM return_order GROUP BY 1, 2, 3"
_OVERDUE = """SELECT max(julianday('now') - julianday(due_at)) * 86400 FROM return_order
 WHERE account IN ('default', 'pilot') AND lease_owner IS NOT 'a worker that died'"""
_LABELS = "SELECT count(*) FROM label"
_NEWS = """SELECT t.id, o.reference, t.old_value, t.new_value, t.carrier_status, t.reason
  FROM status_transition t JOIN return_order o ON o.id = t.return_order_id WHERE t.id > ? ORDER BY t.id"""
_ENDINGS = """SELECT o.reference, o.state, o.tracking_status, coalesce(o.error_code, o.label_error_code),
       (SELECT sum(coalesce(page_count, 1)) FROM label l WHERE l.return_order_id = o.id),
       (SELECT json_group_array(new_value) FROM status_transition t WHERE t.return_order_id = o.id)
  FROM return_order o"""


@dataclass(frozen=True, slots=True)
class News:
    """A line of the history, just recorded."""

    reference: str
    old_value: str | None
    new_value: str | None
    carrier_status: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """What the database says now.

    `ended` counts the returns that came to an end, of the `expected` ones; `overdue` is how many seconds ago the
    oldest step became due that is still not done.
    """

    by_state: dict[str, int]
    by_tracking_status: dict[str, int]
    labels: int
    inserted: int
    ended: int
    expected: int
    news: Sequence[News]
    overdue: float
    finished: bool


class Shop:
    """Inserts a few returns each turn, withdraws one, mends one, and looks at what becomes of all."""

    def __init__(self, database: Path, returns: Sequence[SampleReturn]) -> None:
        """`database` has its schema already."""
        # Its statements run in threads, one after the other: they wait for the worker's writes, and the loop must not.
        self._connection = sqlite3.connect(database, timeout=10, isolation_level=None, check_same_thread=False)
        self.returns = returns
        self._to_insert = list(returns)
        self._expected = sum(not each.fate.rests for each in returns)
        self._requests = [request for each in returns if (request := _request(each)) is not None]
        self._inserted = self._labels = 0
        self._last_seen = 0

    async def turn(self, count: int = 2) -> Progress:
        """Insert the next `count` returns, ask for what can be asked for now, and say how things stand."""
        return await _in_thread(self._turn, count)

    @property
    def labels_recorded(self) -> int:
        """How many labels there were at the last look."""
        return self._labels

    async def endings(self, creations_sent: Callable[[str], int]) -> dict[str, Observed]:
        """What became of each return; `creations_sent` says how often the carrier was asked to create it."""
        rows = await _in_thread(lambda: self._connection.execute(_ENDINGS).fetchall())
        return {
            reference: Observed(
                Ending(state, tracking_status, error_code, label_pages, creations_sent(reference)),
                frozenset(json.loads(history)),
            )
            for reference, state, tracking_status, error_code, label_pages, history in rows
        }

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _turn(self, count: int) -> Progress:
        execute = self._connection.execute
        for new in self._to_insert[:count]:
            usual = _PILOT_INSERT if new.fate.account == "pilot" else _INSERT
            statement = _PECULIAR_INSERTS.get(new.fate.name, usual)
            execute(statement, (new.reference, json.dumps(new.payload, ensure_ascii=False)))
            self._inserted += 1
        del self._to_insert[:count]
        self._requests = [request for request in self._requests if execute(*request).rowcount == 0]
        return self._look()

    def _look(self) -> Progress:
        counts = self._connection.execute(_COUNTS).fetchall()
        news = self._connection.execute(_NEWS, (self._last_seen,)).fetchall()
        self._last_seen = news[-1][0] if news else self._last_seen
        by_state: dict[str, int] = {}
        by_tracking_status: dict[str, int] = {}
        for state, tracking_status, _, rows in counts:
            by_state[state] = by_state.get(state, 0) + rows
            if tracking_status is not None:
                by_tracking_status[tracking_status] = by_tracking_status.get(tracking_status, 0) + rows
        self._labels = self._connection.execute(_LABELS).fetchone()[0]
        ended = sum(rows for _, _, nothing_due, rows in counts if nothing_due)
        return Progress(
            by_state,
            by_tracking_status,
            labels=self._labels,
            inserted=self._inserted,
            ended=ended,
            expected=self._expected,
            news=[News(*row[1:]) for row in news],
            overdue=self._connection.execute(_OVERDUE).fetchone()[0] or 0.0,
            finished=ended == self._expected and not self._requests,
        )


def _request(each: SampleReturn) -> tuple[str, tuple[str, ...]] | None:
    """What the shop asks of a return later on, in SQL."""
    match each.fate.name:
        case "withdrawn":
            return _WITHDRAW, (each.reference,)
        case "pilot_withdrawn":
            return _WITHDRAW_PILOT, (each.reference,)
        case "mended":
            return _MEND, (json.dumps(made_up(7)), each.reference)
        case _:
            return None


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)
