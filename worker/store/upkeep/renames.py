"""Gives an account's returns another account's name, batch by batch, and forgets an account that is no longer used."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult, exc, text

from worker.domain.lifecycle import LIVE_STATES
from worker.store.database import Database
from worker.store.dialect import AMONG_IDS, LOCKED, POSTGRESQL
from worker.store.failures import first_line, is_taken
from worker.store.holds import REGISTER
from worker.store.news import add_remarks, follow_renamed
from worker.store.refusals import RowsKept, RowsLeft, in_pieces
from worker.store.transactions import in_transaction, reading

_BATCH = 2000
_LIVE = ", ".join(f"'{state}'" for state in LIVE_STATES)
_STOPPED = ("sending_stopped_address", "sending_stopped_message")
# Our own unique keys, as either database names them, and our trigger; a shop may have others.
_OURS = re.compile(r"(return_order|archived_return)(_reference_key\b|_carrier_ref\b|\.account, )|has archived a return")
_HELD = ("held_until", "hold_code", "hold_message", "refused_key", "create_hold_message")

_FIND = "SELECT id, reference FROM {} WHERE account = :old AND id > :after ORDER BY id LIMIT :batch"
_RENAME = "UPDATE {table} SET account = :new WHERE account = :old AND id {among}"
_KEPT = "SELECT 1 FROM {table} WHERE account = :old AND id {among} LIMIT 1"
# The triggers look into the archive when a return gets another account, and not the other way round.
_IN_BOTH = """
SELECT 1 FROM archived_return a JOIN return_order n ON n.account = :new
   AND (n.reference = a.reference OR n.carrier_ref = a.carrier_ref)
 WHERE a.account = :new AND a.id {among} LIMIT 1"""

# A return whose creation may have begun gets another account by this command alone (migration 0014). On SQLite, where
# no setting lasts as long as a transaction, the guard stands aside for one.
_RENAMING = text("SELECT set_config('returns_worker.renaming', 'on', true)")
_GUARD = "return_order_named"

_PLACES = ("return_order", "archived_return")
_SHARED = [
    text(f"""
SELECT o.{column} FROM {old} o JOIN {new} n ON n.account = :new AND n.{column} = o.{column}
 WHERE o.account = :old ORDER BY o.id LIMIT :most""")
    for column in ("reference", "carrier_ref")
    for old in _PLACES
    for new in _PLACES
]


class NamesCollide(Exception):
    """Both accounts have a return of the same reference or number; the batches before that one are renamed."""


@dataclass(frozen=True, slots=True)
class Belongings:
    """What there is of an account: all its returns, archived ones too, and those that still ask for work."""

    returns: int
    live: int


@reading
def read_belongings(connection: Connection, account: str) -> Belongings:
    """Count an account's returns, those that are over too."""
    statement = text(f"""
SELECT count(*) AS kept, count(*) FILTER (WHERE state IN ({_LIVE})) AS live,
       (SELECT count(*) FROM archived_return WHERE account = :account) AS archived
  FROM return_order WHERE account = :account""")
    row = connection.execute(statement, {"account": account}).one()
    return Belongings(row.kept + row.archived, row.live)


@reading
def shared_by(connection: Connection, old: str, new: str, most: int = 5) -> list[str]:
    """References, or carrier's numbers, that both accounts have: no two returns of one account may share them."""
    return [
        str(row[0])
        for statement in _SHARED
        for row in connection.execute(statement, {"old": old, "new": new, "most": most})
    ]


async def rename_returns(database: Database, old: str, new: str, reason: str) -> int:
    """Let every return of `old` belong to `new`, those that are over too; each live one gets a line of history.

    Done in batches, so that nobody waits long; an interrupted rename is completed by another. A worker that has one of
    them in its hands records what it did all the same: nothing but the name changes. Returns how many there were;
    raises `NamesCollide`, and `RowsLeft` where the database refuses some of them and all others are renamed.
    """
    values = {"old": old, "new": new, "reason": reason}
    await _follow(database, old, new)
    archived, left = await _rename_in(database, "archived_return", values)
    live, also_left = await _rename_in(database, "return_order", values)
    if left or also_left:
        raise RowsLeft(archived + live, left + also_left)
    return archived + live


_follow = in_transaction(follow_renamed)


async def _rename_in(database: Database, table: str, values: dict[str, str]) -> tuple[int, list[tuple[str, str]]]:
    """How many returns are renamed, and those that the database refuses."""

    async def rename(rows: Sequence[Any]) -> None:
        await _rename(database, table, values | {"ids": json.dumps([row.id for row in rows])})

    count = 0
    while True:  # once more from the start: an insert may have been committed late
        before, after, left = count, 0, []
        while rows := await _find(database, table, values["old"], after):
            refused = await in_pieces(rows, rename)
            left += [(row.reference, why) for row, why in refused]
            count, after = count + len(rows) - len(refused), rows[-1].id
        if count == before:
            return count, left


@reading
def _find(connection: Connection, table: str, old: str, after: int) -> Sequence[Any]:
    return connection.execute(text(_FIND.format(table)), {"old": old, "after": after, "batch": _BATCH}).all()


@in_transaction
def _rename(connection: Connection, table: str, batch: dict[str, str]) -> None:
    def change(statement: str, returning: str = "") -> CursorResult[Any]:
        among = AMONG_IDS[connection.dialect.name]
        return connection.execute(text(statement.format(table=table, among=among) + returning), batch)

    with _renaming(connection, table):
        try:
            renamed = change(_RENAME, " RETURNING id, state, carrier_status" if table == "return_order" else "")
            live = [row for row in renamed if row.state in LIVE_STATES] if table == "return_order" else ()
        except exc.IntegrityError as error:
            if is_taken(error) and _OURS.search(first_line(error)):
                raise NamesCollide from error
            raise
        if table == "archived_return" and change(_IN_BOTH).first() is not None:
            raise NamesCollide
        if change(_KEPT).first() is not None:
            raise RowsKept
        if live:  # under the new name, which those who are told of the account know it by from now on
            add_remarks(connection, live, batch["reason"])


@contextmanager
def _renaming(connection: Connection, table: str) -> Iterator[None]:
    """While a return may get another account, whatever its state."""
    if connection.dialect.name == POSTGRESQL:
        connection.execute(_RENAMING)
        yield
    elif table == "archived_return":
        yield
    else:
        made_by = text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = :guard")
        guard = connection.execute(made_by, {"guard": _GUARD}).scalar_one()
        connection.exec_driver_sql(f"DROP TRIGGER {_GUARD}")
        yield
        connection.exec_driver_sql(guard)


@in_transaction
def pass_on_hold(connection: Connection, old: str, new: str) -> None:
    """What holds the old account holds the new one too, whichever lasts longer; so do held creations and a stop."""
    lock = LOCKED[connection.dialect.name]
    select = text(f"SELECT {', '.join((*_HELD, *_STOPPED))} FROM carrier_account WHERE name = :name{lock}")
    connection.execute(REGISTER, {"name": new})
    held, own = [connection.execute(select, {"name": name}).mappings().one_or_none() for name in (old, new)]
    if held is None or own is None:
        return
    longer = held if _lasts_longer(held["held_until"], own["held_until"]) else own
    creations = {"create_hold_message": own["create_hold_message"] or held["create_hold_message"]}
    stopped = own if own["sending_stopped_address"] is not None else held
    connection.execute(
        text(f"""UPDATE carrier_account SET {", ".join(f"{column} = :{column}" for column in (*_HELD, *_STOPPED))}
         WHERE name = :new"""),
        dict(longer) | creations | {column: stopped[column] for column in _STOPPED} | {"new": new},
    )


@in_transaction
def forget_account(connection: Connection, account: str) -> None:
    """Remove what the workers shared about it; a worker that still has it configured makes its row again."""
    connection.execute(text("DELETE FROM carrier_account WHERE name = :name"), {"name": account})


def _lasts_longer(one: Any, other: Any) -> bool:
    """Of two moments as the driver reads them: on SQLite text, which sorts as time does."""
    return one is not None and (other is None or one > other)
