"""Which workers live, and what each of them serves: so that the database alone can say why a return waits.

A worker says that it lives, with a time that runs out, and says it again long before: one that is killed is missed
soon. That is one row, however much it serves. The clock is the database's. What is served has a kind and a name.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from worker.domain.waits import WaitsFor
from worker.store.columns import read_moment
from worker.store.dialect import NOW, json_rows, later
from worker.store.leases import LATEST_END
from worker.store.transactions import in_statement, in_transaction, reading

ACCOUNT = "account"
"""The kind of what is served by which an account is meant."""
NEWS = "news"
"""The same for a subscriber."""

Served = Mapping[str, Collection[str]]
"""The names of what a worker serves, by kind."""

RENEWED_EVERY = timedelta(seconds=30)
"""So often a worker says it again: on SQLite each time is a commit."""

LASTS = 3 * RENEWED_EVERY
"""So long after a worker was killed it is taken for one that lives; two renewals may fail meanwhile."""

# WHERE true: without it SQLite takes ON CONFLICT for the end of a join (https://sqlite.org/lang_upsert.html).
_BEGIN = {
    dialect: text(f"""
INSERT INTO worker_presence (worker, until) VALUES (:worker, {later(dialect, ":lasts")})
    ON CONFLICT (worker) DO UPDATE SET until = excluded.until""")
    for dialect in NOW
}
_SERVE = {
    dialect: text(f"""
INSERT INTO worker_serves (kind, name, worker) SELECT s.kind, s.name, :worker
  FROM {json_rows(dialect, "served", {"kind": "text", "name": "text"}, "s")} WHERE true ON CONFLICT DO NOTHING""")
    for dialect in NOW
}
_RENEW = {
    dialect: text(f"UPDATE worker_presence SET until = {later(dialect, ':lasts')} WHERE worker = :worker")
    for dialect in NOW
}
# What it served goes with it.
_FORGET = {
    dialect: text(f"DELETE FROM worker_presence WHERE until <= {now} OR until > {LATEST_END[dialect]}")
    for dialect, now in NOW.items()
}
_END = text("DELETE FROM worker_presence WHERE worker = :worker")
# Of a thousand accounts that each of many workers serves only the first are named.
_LIVING = {
    dialect: text(f"""
SELECT worker, until, kind, name, found
  FROM (SELECT p.worker, p.until, s.kind, s.name, count(*) OVER same AS found,
               row_number() OVER (PARTITION BY p.worker, s.kind ORDER BY s.name) AS place
          FROM worker_presence p LEFT JOIN worker_serves s ON s.worker = p.worker
         WHERE p.until > {now} AND p.until <= {LATEST_END[dialect]}
        WINDOW same AS (PARTITION BY p.worker, s.kind)) AS served
 WHERE place <= :most ORDER BY worker, kind, name""")
    for dialect, now in NOW.items()
}
_WAITS_FOR = text("SELECT waits_for FROM return_overview WHERE account = :account AND reference = :reference")


@dataclass(frozen=True, slots=True)
class Living:
    """A worker that lives, until when that is so if it does not say it again, and what it serves.

    `served` has the first names of each kind, `counts` how many there are.
    """

    worker: str
    until: datetime
    served: Mapping[str, Collection[str]]
    counts: Mapping[str, int]


@in_transaction
def begin_presence(connection: Connection, worker: str, served: Served, lasts: timedelta = LASTS) -> None:
    """A worker starts, and serves this from now on; what workers that were killed left behind is removed."""
    dialect = connection.dialect.name
    connection.execute(_FORGET[dialect])
    rows = [{"kind": kind, "name": name} for kind, names in served.items() for name in names]
    connection.execute(_BEGIN[dialect], {"worker": worker, "lasts": lasts.total_seconds()})
    connection.execute(_SERVE[dialect], {"worker": worker, "served": json.dumps(rows)})


@in_statement
def renew_presence(connection: Connection, worker: str) -> bool:
    """The worker lives on; False: it was taken for one that was killed meanwhile, and has to begin again."""
    values = {"worker": worker, "lasts": LASTS.total_seconds()}
    return connection.execute(_RENEW[connection.dialect.name], values).rowcount == 1


@in_statement
def end_presence(connection: Connection, worker: str) -> None:
    """The worker ends, and serves nothing any more."""
    connection.execute(_END, {"worker": worker})


@reading
def waits_for(connection: Connection, account: str, reference: str) -> WaitsFor | None:
    """What this return waits for; None: nothing, it needs a person, it is over or archived, or there is none."""
    found = connection.execute(_WAITS_FOR, {"account": account, "reference": reference}).scalar_one_or_none()
    return WaitsFor(found) if found is not None else None


@reading
def read_living(connection: Connection, most: int = 20) -> list[Living]:
    """The workers that live, by name; of what each serves up to `most` names of each kind."""
    untils: dict[str, datetime] = {}
    served: dict[str, dict[str, list[str]]] = {}
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(_LIVING[connection.dialect.name], {"most": most}):
        untils[row.worker] = read_moment(row.until)
        if row.kind is not None:
            served.setdefault(row.worker, {}).setdefault(row.kind, []).append(row.name)
            counts.setdefault(row.worker, {})[row.kind] = row.found
    return [Living(worker, until, served.get(worker, {}), counts.get(worker, {})) for worker, until in untils.items()]
