"""What there is to do, for gauges and commands; terminal rows, of which there is no end, are not counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from worker.domain.lifecycle import State
from worker.domain.tracking import POLLED, TrackingStatus
from worker.store.columns import moment_if_any
from worker.store.dialect import NOW, later
from worker.store.leases import LATEST_END, is_free
from worker.store.transactions import reading


@dataclass(frozen=True, slots=True)
class Backlog:
    """The live rows of one account in one state: all, those due and free and since when, those without a label.

    `label_sought_since`: since when the label that is missing longest has been sought. Rows in `tracking` are by their
    tracking status too; elsewhere it is None. `stranded`: leased, or put off by a worker, further ahead than can be.
    """

    account: str
    state: str
    tracking_status: str | None
    count: int
    due: int
    oldest_due_at: datetime | None
    labels_missing: int
    label_sought_since: datetime | None = None
    stranded: int = 0


def _backlog(dialect: str) -> Any:
    beyond = later(dialect, ":longest")
    # What is due is counted by itself, for mostly it is little; and nothing is worked out for each of the other rows.
    # It saves SQLite a quarter of the time.
    return text(f"""
SELECT account, state, CASE WHEN state = 'tracking' THEN tracking_status END AS tracking_status,
       CAST(sum(found) AS bigint) AS count, CAST(sum(due) AS bigint) AS due, min(oldest_due_at) AS oldest_due_at,
       CAST(sum(CASE WHEN state = 'tracking' THEN labels ELSE 0 END) AS bigint) AS labels_missing,
       min(CASE WHEN state = 'tracking' THEN sought_since END) AS label_sought_since,
       CAST(sum(stranded) AS bigint) AS stranded
  FROM (
SELECT account, state, tracking_status, count(*) AS found, 0 AS due, NULL AS oldest_due_at,
       count(label_due_at) AS labels, min(label_sought_since) AS sought_since,
       count(CASE WHEN lease_until > {LATEST_END[dialect]}
                    OR (due_at > {beyond} AND (state = 'tracking' OR error_code IS NOT NULL)) THEN 1 END) AS stranded
  FROM return_order WHERE due_at IS NOT NULL GROUP BY 1, 2, 3
 UNION ALL
SELECT account, state, tracking_status, 0, count(*), min(due_at), 0, NULL, 0
  FROM return_order WHERE due_at <= {NOW[dialect]} AND {is_free(dialect)} GROUP BY 1, 2, 3
 UNION ALL
SELECT account, state, NULL, count(*), 0, NULL, 0, NULL, 0
  FROM return_order WHERE state = 'needs_attention' AND due_at IS NULL GROUP BY account, state) AS live
 GROUP BY 1, 2, 3""")


_EVER = timedelta(days=36_500)
_BACKLOG = {dialect: _backlog(dialect) for dialect in NOW}


@reading
def read_backlog(connection: Connection, longest: timedelta = _EVER) -> list[Backlog]:
    """What there is to do, by account, state and tracking status; through the partial indexes only.

    `longest`: so far ahead at most a worker puts a return off. One that never failed may be a shop's, for any moment.
    """
    rows = connection.execute(_BACKLOG[connection.dialect.name], {"longest": longest.total_seconds()}).mappings()
    return [
        Backlog(**{**row, **{name: moment_if_any(row[name]) for name in ("oldest_due_at", "label_sought_since")}})
        for row in rows
    ]


def tracked_by_status(backlog: Sequence[Backlog], account: str) -> dict[TrackingStatus, int]:
    """How many returns of an account are polled, by where they are."""
    counts = dict.fromkeys(POLLED, 0)
    for row in backlog:
        status = row.tracking_status
        if row.account == account and row.state == State.TRACKING and status in counts:
            counts[TrackingStatus(status)] += row.count
    return counts
