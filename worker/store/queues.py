"""Which rows wait in which queue of an account: withdrawals in one of their own, all others by their next step.

A withdrawal becomes due when it is asked for, behind every poll that is due already, and must not wait for those. One
of what was not sent yet needs no telling, and stays among the creations. `ReturnOrder.queue` says the same of a row.
"""

from worker.store.dialect import NOW, POSTGRESQL, SQLITE
from worker.store.leases import is_free

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
