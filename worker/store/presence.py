"""Which workers live, and what each of them serves: so that the database alone can say why a return waits.

A worker says that it lives, with a time that runs out, and says it again long before: one that is killed is missed
soon. That is one row, however much it serves. The clock is the database's. What is served has a kind and a name.
"""

import json
from collections.abc import Collection, Mapping
from datetime import timedelta

from sqlalchemy import Connection, text

from worker.domain.waits import WaitsFor
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
_WAITS_FOR = text("SELECT waits_for FROM return_overview WHERE account = :account AND reference = :reference")


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
