"""The demo's shop: plain SQL from Python's own sqlite3, as a shop in any language would do it."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from worker.demo.fates import Ending, SampleReturn

_INSERT = "INSERT INTO return_order (account, reference, payload) VALUES (?, ?, ?)"
_AT_ONCE = 2  # returns inserted in each turn
_COUNTS = """SELECT account, state || coalesce('/' || tracking_status, ''), count(*) FROM return_order
 GROUP BY 1, 2 ORDER BY state <> 'pending', state <> 'tracking', 2"""
_WHOLE = """SELECT (SELECT count(*) FROM label), count(due_at),
       coalesce(max(julianday('now') - julianday(due_at)) * 86400, 0.0) FROM return_order"""
_ENDINGS = """SELECT o.reference, o.state, o.tracking_status, coalesce(o.error_code, o.label_error_code),
       (SELECT coalesce(sum(coalesce(page_count, 1)), 0) FROM label l WHERE l.return_order_id = o.id),
       (SELECT json_group_array(new_value) FROM status_transition t WHERE t.return_order_id = o.id)
  FROM return_order o"""


@dataclass(frozen=True, slots=True)
class Progress:
    """What the database says now, `seconds` after the shop opened.

    `counts`: (account, state and tracking status) -> returns; `overdue`: for how many seconds the oldest step has been
    due; `finished`: every return has been inserted and has no next step, and nothing is left to ask for.
    """

    seconds: float
    counts: Mapping[tuple[str, str], int]
    labels: int
    overdue: float
    finished: bool


class Shop:
    """Inserts a few returns each turn, withdraws one, mends one, and looks at what becomes of all."""

    def __init__(self, database: Path, returns: Sequence[SampleReturn]) -> None:
        """`database` has its schema already."""
        self._connection = sqlite3.connect(database, timeout=10, isolation_level=None, check_same_thread=False)
        self.close = self._connection.close
        self._opened = monotonic()
        self._to_insert = list(returns)
        self._requests = [(each.fate.later, (each.reference,)) for each in returns if each.fate.later]

    async def turn(self) -> Progress:
        """Insert the next returns, ask for what can be asked for now, and say how things stand."""
        return await asyncio.to_thread(self._turn)  # it waits for the worker's writes, and the event loop must not

    def endings(self, asked: Sequence[str]) -> dict[str, tuple[Ending, list[str]]]:
        """Reference -> what became of it, and every value of its history; `asked`: what each creation sent names."""
        return {
            reference: (Ending._make((*row, sum(reference in name for name in asked))), json.loads(history))
            for reference, *row, history in self._connection.execute(_ENDINGS)
        }

    def _turn(self) -> Progress:
        execute = self._connection.execute
        for new in self._to_insert[:_AT_ONCE]:
            execute(_INSERT, (new.fate.account, new.reference, json.dumps(new.payload)))
        del self._to_insert[:_AT_ONCE]
        self._requests = [request for request in self._requests if execute(*request).rowcount == 0]
        counts = {(account, place): count for account, place, count in execute(_COUNTS)}
        labels, still_open, overdue = execute(_WHOLE).fetchone()
        finished = not (self._to_insert or self._requests or still_open)
        return Progress(monotonic() - self._opened, counts, labels, overdue, finished)
