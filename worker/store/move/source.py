"""The SQLite side of a move: reads returns with what belongs to them, and notes what others change meanwhile.

The shop goes on inserting while the bulk is copied, and commands may write. Triggers note the return of every row that
anybody inserts, changes or deletes, whichever program it is, so that only those have to be copied again while the file
is locked. They go with the commit that retires the file; what a crash leaves of them is cleared by the next `copy-to`,
or by the next worker.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from worker.store.database import SQLITE, Database
from worker.store.move.rows import ACCOUNTS, ARCHIVE, BELONGINGS, ORDERS, TABLES, Bundle, Problem, Table

_BUSY_TIMEOUT = 10.0  # seconds that another process' write is waited for
_LOG = "move_change"
_MOST_ORPHANS = 20

# Not OR IGNORE: the conflict clause of the statement that fires a trigger would take its place
# (https://sqlite.org/lang_createtrigger.html).
_NOTE = "INSERT INTO {log} (id) SELECT {row}.{owner} WHERE NOT EXISTS (SELECT 1 FROM {log} WHERE id = {row}.{owner});"
_EVENTS = {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}


class Source:
    """A connection of its own, which reads bytes that are no UTF-8 as they are."""

    def __init__(self, path: Path) -> None:
        self._connection = connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None
        )
        connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        connection.execute("PRAGMA synchronous=FULL")  # retired is retired, also after a power cut

    def close(self) -> None:
        """Close it; what was begun and not committed has not happened."""
        self._connection.close()

    def value(self, statement: str) -> Any:
        """The first value of the first row; None where there is none."""
        row = self._connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def track(self) -> None:
        """From now on note which returns anybody changes."""
        with self._transaction("IMMEDIATE"):
            _forget(self._connection)
            self._connection.execute(f"CREATE TABLE {_LOG} (id INTEGER)")
            self._connection.execute(f"CREATE INDEX {_LOG}_id ON {_LOG} (id)")
            for table in TABLES:
                for event, rows in _EVENTS.items():
                    notes = " ".join(_NOTE.format(log=_LOG, row=row, owner=table.owner) for row in rows)
                    self._connection.execute(
                        f"CREATE TRIGGER {_LOG}_{table.name}_{event} AFTER {event} ON {table.name} BEGIN {notes} END"
                    )

    def untrack(self) -> None:
        """Note nothing any more."""
        with self._transaction("IMMEDIATE"):
            _forget(self._connection)

    def take_changes(self) -> list[int]:
        """The returns that were changed since they were asked for last."""
        return sorted({row[0] for row in self._connection.execute(f"DELETE FROM {_LOG} RETURNING id").fetchall()})

    def batches(self, size: int) -> Iterator[list[int]]:
        """The ids of all returns, in order; those that are inserted meanwhile may be among them."""
        after = -(1 << 63)
        statement = """SELECT id FROM return_order WHERE id > :after
          UNION ALL SELECT id FROM archived_return WHERE id > :after ORDER BY id LIMIT :size"""
        while ids := [row[0] for row in self._connection.execute(statement, {"after": after, "size": size})]:
            yield ids
            after = ids[-1]

    def read(self, ids: Iterable[int]) -> dict[int, Bundle]:
        """The returns with these ids that there are, with all that belongs to them, as they are at one moment."""
        bundles: dict[int, Bundle] = {}
        chosen = json.dumps(list(ids))
        with self._moment():
            for table in TABLES:
                owner = table.names.index(table.owner)
                # In the order of the owners, so that the index leads to them; ORDER BY id would be a scan.
                statement = f"""SELECT {", ".join(table.names)} FROM {table.name}
                  WHERE {table.owner} IN (SELECT value FROM json_each(?)) ORDER BY {table.owner}, id"""
                for row in self._connection.execute(statement, (chosen,)):
                    if table in (ORDERS, ARCHIVE):
                        bundles[row[owner]] = Bundle()
                    if row[owner] in bundles:
                        bundles[row[owner]].add(table, row)
        return bundles

    def accounts(self) -> Bundle:
        """What the workers share about each account."""
        bundle = Bundle()
        for row in self._connection.execute(f"SELECT {', '.join(ACCOUNTS.names)} FROM {ACCOUNTS.name}"):
            bundle.add(ACCOUNTS, row)
        return bundle

    def count(self, table: Table) -> int:
        """How many rows it has."""
        return int(self.value(f"SELECT count(*) FROM {table.name}"))

    def highest_id(self, table: Table) -> int:
        """The highest id there ever was, as far as SQLite remembers it."""
        highest = self.value(f"SELECT max(id) FROM {table.name}") or 0
        remembered = self.value(f"SELECT seq FROM sqlite_sequence WHERE name = '{table.name}'") or 0
        return max(highest, remembered)

    def newest(self) -> tuple[int, str, str, str] | None:
        """By what the newest return can be told: id, account, reference and when it was inserted, or archived."""
        row: tuple[int, str, str, str] | None = self._connection.execute(
            "SELECT id, account, reference, created_at FROM return_order UNION ALL"
            " SELECT id, account, reference, archived_at FROM archived_return ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return row

    def orphans(self) -> list[Problem]:
        """Rows that belong to no return: a program that did not switch foreign keys on may have left them."""
        return [
            Problem(table.name, row[0], "belongs to no return: delete it")
            for table in BELONGINGS
            for row in self._connection.execute(
                f"SELECT id FROM {table.name} WHERE return_order_id NOT IN (SELECT id FROM return_order)"
                f" LIMIT {_MOST_ORPHANS}"
            )
        ]

    def begin(self, mode: str) -> None:
        """Begin to read as of now (DEFERRED), or to keep every other writer out (IMMEDIATE)."""
        self._connection.execute(f"BEGIN {mode}")
        self._connection.execute("SELECT 1 FROM database_place").fetchone()

    def rollback(self) -> None:
        """Let go of what was begun."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def retire(self, place: str) -> None:
        """Commit, while every other writer is kept out, that the returns are at `place` from now on."""
        self._connection.execute("UPDATE database_place SET moved_to = ?", (place,))
        _forget(self._connection)
        self._connection.execute("COMMIT")

    @property
    def is_completed(self) -> bool:
        """Whether the other database has surely taken over."""
        return self.value("SELECT move_completed_at FROM database_place") is not None

    def complete(self) -> None:
        """Remember that the other database has taken over."""
        self._connection.execute(
            "UPDATE database_place SET move_completed_at = strftime('%Y-%m-%d %H:%M:%f', 'now')"
            " WHERE move_completed_at IS NULL"
        )

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """Reads of one moment, also where a transaction is open already."""
        if self._connection.in_transaction:
            yield
            return
        with self._transaction("DEFERRED"):
            yield

    @contextmanager
    def _transaction(self, mode: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {mode}")
        try:
            yield
        except BaseException:
            self.rollback()
            raise
        self._connection.execute("COMMIT")


def _forget(connection: sqlite3.Connection) -> None:
    for statement in _forgetting([table.name for table in TABLES]):
        connection.execute(statement)


def _forgetting(tables: Sequence[str]) -> Iterator[str]:
    for table in tables:
        for event in _EVENTS:
            yield f"DROP TRIGGER IF EXISTS {_LOG}_{table}_{event}"
    yield f"DROP TABLE IF EXISTS {_LOG}"


async def clear_unfinished(database: Database) -> None:
    """Remove what a move that was killed has left; the caller holds the file, so that no other one is under way."""
    if database.dialect != SQLITE:
        return
    async with database.reading() as connection:
        left = (await connection.execute(text(f"SELECT 1 FROM sqlite_master WHERE name = '{_LOG}'"))).first()
    if left is None:
        return
    async with database.transaction() as connection:
        for statement in _forgetting([table.name for table in TABLES]):
            await connection.execute(text(statement))
