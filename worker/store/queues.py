"""Which rows wait in which queue of an account, and from which of them on it is looked at.

A withdrawal has a queue of its own, all others are by their next step: it becomes due when it is asked for, behind
every poll that is due already, and must not wait for those. One of what was not sent yet needs no telling, and stays
among the creations. `ReturnOrder.queue` says the same of a row.

A mark says up to which row the queue of an account and step was just emptied, so that the next look goes on from there.
PostgreSQL keeps the index entries of rows that have moved on for as long as anybody's snapshot may see them, and every
look from the beginning of the queue would walk over all of them
(https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY). SQLite has no such entries:
it looks from the beginning.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.domain.lifecycle import Step
from worker.store.dialect import NOW, POSTGRESQL, SQLITE
from worker.store.leases import is_free

Mark = tuple[datetime, int]
"""A row's place in its queue: `due_at` and `id`."""

Marks = Mapping[tuple[str, Step], Mark]
"""By account and step; one that is missing is looked at from the beginning."""

NO_MARKS: Marks = {}


def after(marks: Marks, account: str, step: Step) -> dict[str, Any]:
    """What a statement is told of the mark."""
    due_at, order_id = marks.get((account, step), (None, 0))
    return {"after_due": "-infinity" if due_at is None else due_at.isoformat(), "after_id": order_id}


_AFTER_MARK = {POSTGRESQL: "AND (r.due_at, r.id) > (lane.after_due, lane.after_id)", SQLITE: ""}

# Each has an index: `return_order_due`, and `return_order_withdrawn`, whose condition has to be said word for word.
QUEUED = "r.next_step = lane.step AND (lane.step = 'create' OR r.cancel_requested_at IS NULL)"
WITHDRAWN = "r.cancel_requested_at IS NOT NULL AND r.next_step <> 'create'"


def waiting(dialect: str, queue: str, most: str, columns: str = "r.id") -> str:
    """A query for the rows of a `lane` that are due and held by nobody, due longest first; `most` is SQL too.

    On PostgreSQL it begins after the lane's mark.
    """
    return f"""SELECT {columns} FROM return_order r
     WHERE r.account = lane.account AND {queue} AND r.due_at <= {NOW[dialect]} {_AFTER_MARK[dialect]}
       AND {is_free(dialect, "r")}
     ORDER BY r.due_at, r.id LIMIT {most}"""
