"""Keeps what is read of files until all of it was looked at: on disk, so that no file is too long for the memory."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from types import TracebackType

from worker.store.upkeep.intake import NewReturn

_AT_ONCE = 500
_CACHE = 16_000  # kB of memory
_TABLE = """CREATE TABLE line (
  id INTEGER PRIMARY KEY, place TEXT NOT NULL, account TEXT, reference TEXT, payload TEXT, cells TEXT, problem TEXT)"""


class Spool:
    """Lines of files, each a return or with the problem that it has.

    It is a temporary database of SQLite's: a file that only its owner may read, without a name, gone with the process
    (https://sqlite.org/inmemorydb.html#temp_db). `sqlite3.Error` where there is no room for it.
    """

    def __init__(self) -> None:
        # Read from by the thread that inserts into a SQLite database, while the one that made it waits for that.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (f"PRAGMA cache_size=-{_CACHE}", "PRAGMA temp_store=FILE", "PRAGMA journal_mode=OFF", _TABLE):
            self._file.execute(statement)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, place: str, new: NewReturn, cells: Sequence[str] | None = None) -> None:
        """A line that is a return; `cells`: what it was in its file, where that shall be given back."""
        values = (place, new.account, new.reference, json.dumps(new.payload), _kept(cells))
        self._file.execute(
            "INSERT INTO line (place, account, reference, payload, cells) VALUES (?, ?, ?, ?, ?)", values
        )

    def add_bad(self, place: str, problem: str, cells: Sequence[str] | None = None) -> None:
        """A line that is none."""
        values = (place, _kept(cells), problem.encode("utf-8", "backslashreplace").decode())
        self._file.execute("INSERT INTO line (place, cells, problem) VALUES (?, ?, ?)", values)

    def mark(self, line: int, problem: str) -> None:
        """A line that cannot be inserted after all."""
        self._file.execute("UPDATE line SET problem = ? WHERE id = ?", (problem, line))

    def mark_repeated(self) -> None:
        """Every line whose reference another line of its account has too: which of them is meant cannot be told."""
        self._file.execute("""
UPDATE line SET problem = 'reference: ' || substr(line.reference, 1, 60) || ' is given ' || found.times
       || ' times, first in ' || (SELECT place FROM line AS other WHERE other.id = found.first)
  FROM (SELECT account, reference, count(*) AS times, min(id) AS first FROM line WHERE problem IS NULL
         GROUP BY account, reference HAVING times > 1) AS found
 WHERE line.problem IS NULL AND line.account = found.account AND line.reference = found.reference""")

    @property
    def good(self) -> int:
        """How many lines are returns."""
        return self._count("problem IS NULL")

    @property
    def bad(self) -> int:
        """How many lines have a problem."""
        return self._count("problem IS NOT NULL")

    def accounts(self) -> list[str]:
        """The accounts of the returns."""
        found = self._file.execute("SELECT DISTINCT account FROM line WHERE problem IS NULL ORDER BY account")
        return [account for (account,) in found]

    def problems(self, most: int) -> list[str]:
        """The first lines that have one, each with its place."""
        found = self._file.execute(
            "SELECT place || ': ' || problem FROM line WHERE problem IS NOT NULL ORDER BY id LIMIT ?", (most,)
        )
        return [problem for (problem,) in found]

    def batches(self) -> Iterator[list[tuple[int, NewReturn]]]:
        """The returns, each with what `mark` knows its line by, in the order of their lines."""
        last = 0
        while found := self._file.execute(
            "SELECT id, account, reference, payload FROM line WHERE id > ? AND problem IS NULL ORDER BY id LIMIT ?",
            (last, _AT_ONCE),
        ).fetchall():
            yield [(line, NewReturn(account, ref, json.loads(payload))) for line, account, ref, payload in found]
            last = found[-1][0]

    def bad_lines(self) -> Iterator[tuple[list[str], str]]:
        """The cells of each line that has a problem, and the problem."""
        for cells, problem in self._file.execute(
            "SELECT cells, problem FROM line WHERE problem IS NOT NULL AND cells IS NOT NULL ORDER BY id"
        ):
            yield json.loads(cells), problem

    def _count(self, which: str) -> int:
        (count,) = self._file.execute(f"SELECT count(*) FROM line WHERE {which}").fetchone()
        return int(count)


def _kept(cells: Sequence[str] | None) -> str | None:
    return None if cells is None else json.dumps(cells)
