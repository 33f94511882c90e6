"""What an account asks for now, and its pace, which all workers share through its one row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from worker.domain.circuits import Health
from worker.domain.lifecycle import QUEUES, Step
from worker.domain.pacing import Grant, Pace
from worker.store.columns import bound, moment_if_any, read_moment
from worker.store.dialect import NOW, json_rows
from worker.store.holds import HEALTH, REGISTER, hold_lasts, lock_account, read_health
from worker.store.queues import NO_MARKS, QUEUED, WITHDRAWN, Marks, after, waiting
from worker.store.transactions import in_transaction, reading


@dataclass(frozen=True, slots=True)
class Agenda:
    """What one account asks for: rows due now by queue (at most the number asked about), and when the next ones are."""

    due: Mapping[Step, int]
    next_due_at: datetime | None
    held_until: datetime | None
    refused_key: str | None
    now: datetime
    creations_held: bool
    health: Health
    stopped_address: str | None = None


_LANE = {"account": "text", "step": "text", "after_due": "timestamptz", "after_id": "bigint"}

# The counted rows need no order; without one PostgreSQL would read the whole table to find that few are due.
_AGENDA = {
    dialect: text(f"""
SELECT lane.account, lane.step, a.held_until, a.hold_code, a.refused_key, a.create_hold_message, {HEALTH},
       a.sending_stopped_address, {now} AS now,
       CASE lane.step
         WHEN 'cancel' THEN (SELECT count(*) FROM ({waiting(dialect, WITHDRAWN, ":most", "1")}) AS due)
         ELSE (SELECT count(*) FROM ({waiting(dialect, QUEUED, ":most", "1")}) AS due) END AS due,
       (SELECT min(r.due_at) FROM return_order r
         WHERE r.account = lane.account AND r.next_step = lane.step AND r.due_at > {now}) AS next_due_at
  FROM {json_rows(dialect, "lanes", _LANE, "lane")} LEFT JOIN carrier_account a ON a.name = lane.account""")
    for dialect, now in NOW.items()
}


@reading
def read_agendas(
    connection: Connection, accounts: Iterable[str], most: int, marks: Marks = NO_MARKS
) -> dict[str, Agenda]:
    """What each account asks for now; counts stop at `most`, and on PostgreSQL begin after the marks."""
    lanes = [{"account": name, "step": step} | after(marks, name, step) for name in accounts for step in QUEUES]
    parameters = {"lanes": json.dumps(lanes), "most": most}
    rows = connection.execute(_AGENDA[connection.dialect.name], parameters).mappings().all()
    agendas: dict[str, Agenda] = {}
    by_name: dict[str, list[Any]] = {}
    for row in rows:
        by_name.setdefault(row["account"], []).append(row)
    for name, mine in by_name.items():
        following = [moment for row in mine if (moment := moment_if_any(row["next_due_at"])) is not None]
        now: datetime = read_moment(mine[0]["now"])
        until = read_moment(mine[0]["held_until"])
        agendas[name] = Agenda(
            due={Step(row["step"]): row["due"] for row in mine},
            next_due_at=min(following, default=None),
            held_until=until if hold_lasts(until, mine[0]["hold_code"], now) else None,
            refused_key=mine[0]["refused_key"],
            now=now,
            creations_held=mine[0]["create_hold_message"] is not None,
            health=read_health(mine[0]),
            stopped_address=mine[0]["sending_stopped_address"],
        )
    return agendas


@in_transaction
def register_accounts(connection: Connection, names: Sequence[str]) -> None:
    """Make sure that each configured account has its row."""
    for name in sorted(names):
        connection.execute(REGISTER, {"name": name})


@reading
def database_now(connection: Connection) -> datetime:
    """The database's time."""
    now: datetime = read_moment(connection.execute(text(f"SELECT {NOW[connection.dialect.name]}")).scalar_one())
    return now


@in_transaction
def take_tokens(connection: Connection, account: str, pace: Pace, want: int, leave: int = 0) -> Grant:
    """Take up to `want` requests from the account's allowance, which all workers share; `leave` stay for others.

    Raises `RowLocked`.
    """
    spent_until, now = _allowance(connection, account)
    grant = pace.take(spent_until, now, want, leave)
    # Less than it was: that was written under a clock that was ahead, and what grows from now on has to begin.
    if grant.tokens or (spent_until is not None and grant.spent_until < spent_until):
        _spend_until(connection, account, grant.spent_until)
    return grant


@in_transaction
def slow_down(connection: Connection, account: str, pace: Pace, remaining: int) -> bool:
    """Let every worker of the account go slower, since the carrier says how few requests remain; whether it does.

    Raises `RowLocked`.
    """
    slowed = pace.slowed(*_allowance(connection, account), remaining)
    if slowed is not None:
        _spend_until(connection, account, slowed)
    return slowed is not None


def _allowance(connection: Connection, account: str) -> tuple[datetime | None, datetime]:
    """Until when the account's allowance is spent, and the database's time; its row is locked."""
    row, now = lock_account(connection, account, "spent_until")
    return read_moment(row["spent_until"]), now


def _spend_until(connection: Connection, account: str, moment: datetime) -> None:
    connection.execute(
        text("UPDATE carrier_account SET spent_until = :spent WHERE name = :name"),
        {"spent": bound(connection.dialect.name, moment), "name": account},
    )
