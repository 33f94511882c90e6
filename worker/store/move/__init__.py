"""Moves every return from SQLite to PostgreSQL, so that nothing is created twice and nothing is lost.

The two databases cannot commit together. The SQLite file is retired first (`database_place.moved_to`: its triggers
refuse the shop, workers and commands refuse to begin), and PostgreSQL commits next. So there is no moment at which both
are in use, and a crash leaves one of three:

- before the file is retired nothing has happened. PostgreSQL has rolled back, the schema it was given included; the
  file is in use as before. It may still note which returns are changed, which the next `copy_to` or worker stops.
- between the two commits neither is in use: the file refuses, and PostgreSQL has no returns. `copy_to` once more does
  it all again, and takes no other place than the same one.
- after both all is done, and the file notes that. `copy_to` once more finds there the file's newest return, and says
  so. Where the other database has lost its returns since, it refuses: what was done there is newer than the file.

From its retirement on the witness beside the file counts one creation more than the file does. So a backup from before
the move that is put back, or a file that is brought back to use by hand, is noticed as older than what was done.

The bulk is copied while the shop goes on inserting; what was changed meanwhile is copied again, the last of it while
everybody else who writes to the file waits. Every row is read back from PostgreSQL and compared, and rows are counted
on both sides, before anything is committed. Memory does not grow with the number of rows.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from worker.store.clock import require_same_time
from worker.store.columns import read_moment
from worker.store.database import Database, DatabaseRefused, DatabaseUnavailable, translated
from worker.store.move.rows import ACCOUNTS, ARCHIVE, BELONGINGS, ORDERS, TABLES, Problem
from worker.store.move.source import Source, clear_unfinished
from worker.store.move.target import NotTheSame, Target
from worker.store.moved import DatabaseMoved, moved
from worker.store.place import settle_place
from worker.store.sqlite_file import SqliteFile

__all__ = ["Copied", "CopyRefused", "MoveInterrupted", "NotTheSame", "RowsRefused", "clear_unfinished", "copy_to"]

_BATCH = 500  # returns
_FEW = 100  # returns that may be left for the time when everybody waits
_ROUNDS = 20
_MOST_PROBLEMS = 100

Progress = Callable[[int, int], None]
"""Told how many returns are copied, of how many."""


class CopyRefused(Exception):
    """The target is not one to copy into; the message says why."""


class MoveInterrupted(DatabaseUnavailable):
    """A database went away, or was never there; the message says in what state the file is."""


class RowsRefused(Exception):
    """PostgreSQL cannot keep these rows; nothing was copied."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


@dataclass(slots=True)
class Copied:
    """What was copied: rows by table, documents that had to be changed, seconds in all and while others waited."""

    counts: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    seconds: float = 0.0
    locked: float = 0.0
    already: bool = False


async def copy_to(
    database: Database, target: Database, place: str, progress: Progress, *, dry_run: bool = False
) -> Copied:
    """Move everything from `database`, which is SQLite and held, to `target`; `place` is what to call it.

    With `dry_run` everything is done and nothing committed, and a worker may have the file meanwhile. Raises
    `CopyRefused`, `ClockDiffers`, `RowsRefused`, `DatabaseMoved`, `SchemaMismatch`, `NotTheSame` and
    `DatabaseUnavailable`.
    """
    assert database.path is not None
    assert dry_run or database.file is not None
    began = time.monotonic()
    with translated():
        source = Source(database.path)
        try:
            gone_to = source.value("SELECT moved_to FROM database_place")
            if gone_to not in {None, place}:
                raise DatabaseMoved(moved(gone_to))
            if gone_to is None and not dry_run:
                await settle_place(database)  # a doubt that no worker has noticed yet moves too
            move = _Move(source, place, progress, None if dry_run else database.file)
            await move.run(target)
            if not dry_run:
                source.complete()
        finally:
            source.close()
    move.copied.seconds = time.monotonic() - began
    return move.copied


class _Move:
    def __init__(self, source: Source, place: str, progress: Progress, witness: SqliteFile | None) -> None:
        """Without the `witness`, which is for whoever holds the file, everything is done and nothing committed."""
        self.copied = Copied()
        self._source, self._place, self._progress = source, place, progress
        self._witness, self._dry_run = witness, witness is None
        self._retired = source.value("SELECT moved_to FROM database_place") is not None

    async def run(self, database: Database) -> None:
        try:
            await require_same_time(database)  # what was held or in doubt until then is so by the other clock
            async with database.transaction() as connection:
                target = await Target.entered(connection)
                if not await self._is_wanted(target):
                    return
                await self._copy(target)
                if self._dry_run:
                    await connection.rollback()
        except DatabaseRefused:
            raise
        except DatabaseUnavailable as error:
            raise MoveInterrupted(f"{error}; {_STILL_RETIRED if self._retired else _NOTHING_HAPPENED}") from error

    async def _is_wanted(self, target: Target) -> bool:
        newest = self._source.newest()
        if not await target.has_returns():
            if self._source.is_completed and newest is not None:
                raise CopyRefused(f"the move to {self._place} was complete, but its returns are gone: {_RESTORE_IT}")
            return True
        if self._retired and await target.has(newest):
            self.copied.already = True
            self.copied.counts = {table.name: self._source.count(table) for table in (*TABLES, ACCOUNTS)}
            return False
        retired = f"; {_SOMEBODY_ELSE_S}" if self._retired else ""
        raise CopyRefused(f"{self._place} has returns already: copy into a database without any{retired}")

    async def _copy(self, target: Target) -> None:
        if self._dry_run:
            self._source.begin("DEFERRED")
        else:
            self._source.track()
        try:
            orphans = self._source.orphans()
            if orphans:
                raise RowsRefused(orphans)
            problems = await self._copy_bulk(target)
            if not self._dry_run:
                problems = await self._catch_up(target, problems)
            _refuse(problems)
            await self._finish(target)
        except BaseException:
            self._source.rollback()
            if not self._dry_run and not self._retired:
                with suppress(sqlite3.Error):  # what is left does no harm, and is cleared by whoever comes next
                    self._source.untrack()
            raise

    async def _copy_bulk(self, target: Target) -> dict[int, list[Problem]]:
        done, total = 0, self._source.count(ORDERS) + self._source.count(ARCHIVE)
        problems: dict[int, list[Problem]] = {}
        for ids in self._source.batches(_BATCH):
            problems |= await self._put(target, ids)
            if len(problems) > _MOST_PROBLEMS:
                break
            done += len(ids)
            self._progress(done, max(done, total))
        return problems

    async def _catch_up(self, target: Target, problems: dict[int, list[Problem]]) -> dict[int, list[Problem]]:
        """Copy again what others changed meanwhile, and what could not be taken: a change may have been half seen."""
        for _ in range(_ROUNDS):
            changed = self._source.take_changes()
            again = sorted({*changed, *problems})
            problems = await self._replace(target, again)
            if len(changed) <= _FEW:
                break
        return problems

    async def _finish(self, target: Target) -> None:
        """Copy the last of it while nobody else can write to the file, compare the counts, and retire the file."""
        if not self._dry_run:
            self._source.begin("IMMEDIATE")
        began = time.monotonic()
        if not self._dry_run:
            _refuse(await self._replace(target, self._source.take_changes()))
        accounts = self._source.accounts()
        _refuse({0: accounts.problems})
        await target.put_accounts(accounts)
        restored_at = self._source.value("SELECT restored_at FROM database_place")
        numbered = {table.name: self._source.highest_id(table) for table in (ORDERS, *BELONGINGS)}
        await target.settle(numbered, read_moment(restored_at))
        for table in TABLES:
            here, there = self._source.count(table), await target.count(table)
            if here != there:
                raise NotTheSame(f"{table.name} has {here} rows here and {there} there: try again")
            self.copied.counts[table.name] = here
        self.copied.counts[ACCOUNTS.name] = len(accounts.rows.get(ACCOUNTS.name, ()))
        if self._witness is None:
            self._source.rollback()
        else:
            self._source.retire(self._place)
            self._retired = True
            self._witness.sent(self._witness.creations + 1)
        self.copied.locked = time.monotonic() - began

    async def _replace(self, target: Target, ids: Sequence[int]) -> dict[int, list[Problem]]:
        problems: dict[int, list[Problem]] = {}
        await target.discard(ids)  # all of them before any is put: a reference may have gone from one to another
        for start in range(0, len(ids), _BATCH):
            problems |= await self._put(target, ids[start : start + _BATCH])
        return problems

    async def _put(self, target: Target, ids: Sequence[int]) -> dict[int, list[Problem]]:
        bundles = self._source.read(ids)
        for bundle in bundles.values():
            self.copied.changed.update(bundle.changed)
        return await target.put(bundles)


def _refuse(problems: dict[int, list[Problem]]) -> None:
    found = [problem for each in problems.values() for problem in each]
    if found:
        raise RowsRefused(found)


_NOTHING_HAPPENED = "nothing was copied, and the SQLite file is in use as before"
_RESTORE_IT = "restore it from a backup of its own; what this file knows is older than what was done there"
_SOMEBODY_ELSE_S = (
    "the SQLite file is retired, and the move is not complete. Stop what inserts there, keep those returns elsewhere,"
    " delete them there, run copy-to once more, and insert them again"
)
_STILL_RETIRED = "the SQLite file is retired by now: run copy-to once more, with the same database"
