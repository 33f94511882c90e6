"""Marks: up to which row the queue of an account and step was just emptied, so that the next look goes on from there.

PostgreSQL keeps the index entries of rows that have moved on for as long as anybody's snapshot may see them, and every
look from the beginning of the queue would walk over all of them
(https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY). SQLite has no such entries:
it looks from the beginning.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.domain.lifecycle import Step

Mark = tuple[datetime, int]
"""A row's place in its queue: `due_at` and `id`."""

Marks = Mapping[tuple[str, Step], Mark]
"""By account and step; one that is missing is looked at from the beginning."""

NO_MARKS: Marks = {}


def after(marks: Marks, account: str, step: Step) -> dict[str, Any]:
    """What a statement is told of the mark."""
    due_at, order_id = marks.get((account, step), (None, 0))
    return {"after_due": "-infinity" if due_at is None else due_at.isoformat(), "after_id": order_id}
