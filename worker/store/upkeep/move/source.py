"""The SQLite side of a move: reads every row, and says in the file where its returns are."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker.store.dialect import NOW, SQLITE
from worker.store.upkeep.move.rows import BELONGINGS, ORDERS, Row, Table

_BUSY_TIMEOUT = 10.0  # seconds that another process' write is waited for
_MOST_ORPHANS = 20


class Source:
    """A connection of its own, which reads bytes that are no UTF-8 as they are."""

    def __init__(self, path: Path) -> None:
        self._connection = connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_TIMEOUT, isolation_level=None
        )
        self.close = connection.close
        connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
        connection.execute("PRAGMA synchronous=FULL")  # retired is retired, also after a power cut

    def value(self, statement: str) -> Any:
        """The first value of the first row."""
        return self._connection.execute(statement).fetchone()[0]

    @property
    def place(self) -> str | None:
        """Where the returns have moved to, or are about to; None where they are here."""
        place: str | None = self.value("SELECT moved_to FROM database_place")
        return place

    @property
    def is_complete(self) -> bool:
        """Whether the other database has surely taken over."""
        return bool(self.value("SELECT move_completed_at IS NOT NULL FROM database_place"))

    def retire(self, place: str) -> None:
        """From now on nothing is written here any more: the returns move to `place`."""
        self._connection.execute("UPDATE database_place SET moved_to = ?", (place,))

    def reopen(self) -> None:
        """The returns have not moved: the file is in use as before."""
        self.end()
        self._connection.execute("UPDATE database_place SET moved_to = NULL WHERE move_completed_at IS NULL")

    def complete(self) -> None:
        """Remember that the other database has taken over."""
        self._connection.execute(
            f"UPDATE database_place SET move_completed_at = coalesce(move_completed_at, {NOW[SQLITE]})"
        )

    def begin(self) -> None:
        """Read as of now until the `end`, whatever others write."""
        self._connection.execute("BEGIN")
        self.value("SELECT 1 FROM database_place")

    def end(self) -> None:
        """Read as of the present again."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def batches(self, table: Table, size: int) -> Iterator[list[Row]]:
        """All rows, so many at a time."""
        cursor = self._connection.execute(f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY 1")
        while rows := cursor.fetchmany(size):
            yield rows

    def count(self, table: Table) -> int:
        """How many rows it has."""
        return int(self.value(f"SELECT count(*) FROM {table.name}"))

    def highest_id(self, table: Table) -> int:
        """The highest id that it ever gave, as far as SQLite remembers it; 0 where it gave none."""
        highest = f"SELECT max(id) AS id FROM {table.name} UNION ALL SELECT seq FROM sqlite_sequence WHERE name = "
        return int(self.value(f"SELECT coalesce(max(id), 0) FROM ({highest} '{table.name}')"))

    def newest(self) -> tuple[int, str, str, str] | None:
        """By what the newest return can be told: id, account, reference and when it was inserted, or archived."""
        row: tuple[int, str, str, str] | None = self._connection.execute(
            "SELECT id, account, reference, created_at FROM return_order UNION ALL"
            " SELECT id, account, reference, archived_at FROM archived_return ORDER BY id DESC LIMIT 1"
        ).fetchone()
        return row

    def orphans(self) -> list[str]:
        """Rows that belong to no return: a program that did not switch foreign keys on may have left them."""
        lost = f"WHERE return_order_id NOT IN (SELECT id FROM {ORDERS.name}) LIMIT {_MOST_ORPHANS}"
        return [
            table.said(row, "belongs to no return: delete it")
            for table in BELONGINGS
            for row in self._connection.execute(f"SELECT id FROM {table.name} {lost}")
        ]
