"""Gives an account's returns another account's name, batch by batch, and forgets an account that is no longer used."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc, text

from worker.domain.lifecycle import LIVE_STATES
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.holds import REGISTER

_BATCH = 2000
_LIVE = ", ".join(f"'{state}'" for state in LIVE_STATES)
_STOPPED = ("sending_stopped_address", "sending_stopped_message")
_HELD = ("held_until", "hold_code", "hold_message", "refused_key", "create_hold_message")

_LAST = """
SELECT max(id) FROM (SELECT id FROM {} WHERE account = :old AND id > :after ORDER BY id LIMIT :batch) AS next"""
_TELL = text(f"""
INSERT INTO status_transition (return_order_id, field, old_value, new_value, carrier_status, reason)
SELECT id, 'state', state, state, carrier_status, :reason FROM return_order
 WHERE account = :old AND id > :after AND id <= :last AND state IN ({_LIVE})""")
_RENAME = "UPDATE {} SET account = :new WHERE account = :old AND id > :after AND id <= :last"
# The triggers look into the archive when a return gets another account, and not the other way round.
_IN_BOTH = text("""
SELECT 1 FROM archived_return a JOIN return_order n ON n.account = :new
   AND (n.reference = a.reference OR n.carrier_ref = a.carrier_ref)
 WHERE a.account = :new AND a.id > :after AND a.id <= :last LIMIT 1""")

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


async def read_belongings(database: Database, account: str) -> Belongings:
    """Count an account's returns, those that are over too."""
    statement = text(f"""
SELECT count(*) AS kept, count(*) FILTER (WHERE state IN ({_LIVE})) AS live,
       (SELECT count(*) FROM archived_return WHERE account = :account) AS archived
  FROM return_order WHERE account = :account""")
    async with database.reading() as connection:
        row = (await connection.execute(statement, {"account": account})).one()
    return Belongings(row.kept + row.archived, row.live)


async def shared_by(database: Database, old: str, new: str, most: int = 5) -> list[str]:
    """References, or carrier's numbers, that both accounts have: no two returns of one account may share them."""
    async with database.reading() as connection:
        return [
            str(row[0])
            for statement in _SHARED
            for row in await connection.execute(statement, {"old": old, "new": new, "most": most})
        ]


async def rename_returns(database: Database, old: str, new: str, reason: str) -> int:
    """Let every return of `old` belong to `new`, those that are over too; each live one gets a line of history.

    Done in batches, so that nobody waits long; an interrupted rename is completed by another. A worker that has one of
    them in its hands records what it did all the same: nothing but the name changes. Returns how many there were;
    raises `NamesCollide`.
    """
    archived = await _rename_in(database, "archived_return", {"old": old, "new": new})
    return archived + await _rename_in(database, "return_order", {"old": old, "new": new, "reason": reason})


async def _rename_in(database: Database, table: str, values: dict[str, str]) -> int:
    find_last, rename = text(_LAST.format(table)), text(_RENAME.format(table))
    count, after = 0, 0
    while True:
        async with database.transaction() as connection:
            last = (await connection.execute(find_last, values | {"after": after, "batch": _BATCH})).scalar_one()
            if last is not None:
                batch = values | {"after": after, "last": last}
                if "reason" in values:
                    await connection.execute(_TELL, batch)
                try:
                    count += (await connection.execute(rename, batch)).rowcount
                except exc.IntegrityError as error:
                    raise NamesCollide from error
                if "reason" not in values and (await connection.execute(_IN_BOTH, batch)).first() is not None:
                    await connection.rollback()
                    raise NamesCollide
        if last is None and after == 0:
            return count
        after = last or 0  # once more from the start: an insert may have been committed late


async def pass_on_hold(database: Database, old: str, new: str) -> None:
    """What holds the old account holds the new one too, whichever lasts longer; so do held creations and a stop."""
    lock = " FOR UPDATE" if database.dialect == POSTGRESQL else ""
    select = text(f"SELECT {', '.join((*_HELD, *_STOPPED))} FROM carrier_account WHERE name = :name{lock}")
    async with database.transaction() as connection:
        await connection.execute(REGISTER, {"name": new})
        held, own = [(await connection.execute(select, {"name": name})).mappings().one_or_none() for name in (old, new)]
        if held is None or own is None:
            return
        longer = held if _lasts_longer(held["held_until"], own["held_until"]) else own
        creations = {"create_hold_message": own["create_hold_message"] or held["create_hold_message"]}
        stopped = own if own["sending_stopped_address"] is not None else held
        await connection.execute(
            text(f"""UPDATE carrier_account SET {", ".join(f"{column} = :{column}" for column in (*_HELD, *_STOPPED))}
             WHERE name = :new"""),
            dict(longer) | creations | {column: stopped[column] for column in _STOPPED} | {"new": new},
        )


async def forget_account(database: Database, account: str) -> None:
    """Remove what the workers shared about it; a worker that still has it configured makes its row anew."""
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM carrier_account WHERE name = :name"), {"name": account})


def _lasts_longer(one: Any, other: Any) -> bool:
    """Of two moments as the driver reads them: on SQLite text, which sorts as time does."""
    return one is not None and (other is None or one > other)
