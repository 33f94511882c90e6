"""Moves every return from SQLite to PostgreSQL, so that nothing is created twice and nothing is lost.

The two databases cannot commit together. So the SQLite file is retired first (`database_place.moved_to`: its triggers
refuse the shop, workers and commands refuse to begin), and only then copied, compared and committed. There is no moment
at which both are in use, and a crash leaves one of three:

- before the file is retired nothing has happened. PostgreSQL has rolled back, the schema it was given included.
- from then on neither is in use: the file refuses, and PostgreSQL has no returns. `copy_to` once more does it all, and
  takes no other place than the same one; `abandon` opens the file again.
- after PostgreSQL's commit all is done, but for a note of that in the file. `copy_to` once more finds there the file's
  newest return, and notes it; `abandon` refuses. Where the other database has lost its returns since, both refuse:
  what was done there is newer than the file.

The file is opened again only by the process that holds it, has seen that PostgreSQL has no returns, after waiting for
any other copy that might yet commit, and does not try to commit itself. So does a copy that fails before its commit.

Right before the commit the witness beside the file counts one creation more than the file does. From then on a backup
from before the move that is put back, or a file that is opened again, is noticed as older than what may have been done
elsewhere; before, nothing was, and a file that is opened again is in no doubt.

Every row is read back from PostgreSQL and compared, and rows are counted on both sides, before anything is committed.
Memory does not grow with the number of rows.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from worker.dsn import place_of_url
from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.database_clock import require_same_time
from worker.store.failures import translated
from worker.store.restores import DatabaseMoved, retired, settle_place
from worker.store.upkeep.move.rows import BELONGINGS, NEWS, ORDERS, SHARED, TABLES, as_deep_as_sqlite
from worker.store.upkeep.move.source import Source
from worker.store.upkeep.move.target import Target, entered

_BATCH = 500  # rows
_MOST_PROBLEMS = 100

Progress = Callable[[int, int], None]
"""Told how many rows are copied, of how many."""


class CopyRefused(Exception):
    """The target is not one to copy into, or has not kept everything; the message says why."""


class RowsRefused(Exception):
    """PostgreSQL cannot keep these rows; nothing was copied."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(slots=True)
class Copied:
    """What was copied: rows by table, documents that had to be changed, and how many seconds the file was retired."""

    counts: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    seconds: float = 0.0


async def copy_to(
    database: Database, target: Database, place: str, progress: Progress, *, dry_run: bool = False
) -> Copied | None:
    """Move everything from `database`, which is SQLite and held, to `target`; `place` is what to call it.

    Returns what was copied; None where all of it had arrived already. With `dry_run` everything is done and nothing
    retired or committed, and a worker may have the file meanwhile. Raises `CopyRefused`, `ClockDiffers`,
    `RowsRefused`, `DatabaseMoved`, `SchemaMismatch` and `DatabaseUnavailable`.
    """
    witness = None if dry_run else database.file
    assert dry_run or witness is not None
    copied, began, may_reopen = None, 0.0, False
    with as_deep_as_sqlite(), _opened(database, place) as source:

        async def move(there: Target) -> bool:
            nonlocal copied, began, may_reopen
            if await _has_arrived(source, there, place):
                return True
            may_reopen = witness is not None
            _refuse(source.orphans())
            began = time.monotonic()
            if witness is not None:
                source.retire(place)
            copied = await _copy(source, there, progress)
            if witness is not None:
                may_reopen = False  # when the answer to a commit is lost, it may have happened
                witness.sent(witness.creations + 1, durable=True)
            return witness is not None

        if witness is not None and source.place is None:
            await settle_place(database)  # a doubt that no worker has noticed yet moves too
        try:
            await require_same_time(target)  # what was held or in doubt until then is so by the other clock
            await entered(target, move)
        except BaseException:
            if may_reopen:
                source.reopen()
            raise
        if witness is not None:
            source.complete()
    if copied is not None:
        copied.seconds = time.monotonic() - began
    return copied


async def abandon(database: Database, target: Database, place: str) -> bool:
    """Open `database`, which is held, again after a copy to `target` has retired it; one that is open stays so.

    Returns whether its returns are in doubt from now on, as after a restore: the copy had got as far as its commit.
    Raises `CopyRefused` where the target has returns, and else what `copy_to` raises.
    """
    with _opened(database, place) as source:
        if source.is_complete:
            raise CopyRefused(f"the move to {place} is complete, and what this file knows is older: nothing was opened")
        if source.place is not None:

            async def look(there: Target) -> bool:
                if not await there.is_free():
                    raise CopyRefused(f"{place} has returns: run copy-to once more, which says whose they are")
                return False  # nor is a schema kept, where there was none

            await entered(target, look)
            source.reopen()
    return await settle_place(database)


@contextmanager
def _opened(database: Database, place: str) -> Iterator[Source]:
    assert database.path is not None
    with translated():
        source = Source(database.path)
        try:
            if source.place is not None and _as_spelled_now(source.place) != place:
                raise DatabaseMoved(retired(str(source.place), is_complete=source.is_complete))
            yield source
        finally:
            source.close()


async def _has_arrived(source: Source, target: Target, place: str) -> bool:
    """Whether the returns are there already; raises `CopyRefused` where they must not be copied there."""
    newest = source.newest()
    if await target.is_free():
        if source.is_complete and newest is not None:
            raise CopyRefused(f"the move to {place} was complete, but its returns are gone: {_RESTORE_IT}")
        return False
    if source.place is None:
        raise CopyRefused(f"{place} has returns already: copy into a database without any")
    if not source.is_complete and not await target.has(newest):
        raise CopyRefused(f"{place} has returns that are not of this file: {_SOMEBODY_ELSE_S}")
    return True


async def _copy(source: Source, target: Target, progress: Progress) -> Copied:
    """Copy every row as of now and compare it, in the target's transaction."""
    source.begin()
    copied = Copied({table.name: source.count(table) for table in TABLES})
    problems: list[str] = []
    done, total = 0, sum(copied.counts.values())
    for table in TABLES:
        for rows in source.batches(table, _BATCH):
            fitted = table.fitted(rows)
            copied.changed += fitted.changed
            problems += fitted.problems + await target.put(table, fitted.rows)
            if len(problems) > _MOST_PROBLEMS:
                raise RowsRefused(problems)
            done += len(rows)
            progress(done, total)
        if table is ORDERS:
            _refuse(problems)  # before what belongs to one of them is refused for want of it
    _refuse(problems)
    for table in TABLES:
        here, there = copied.counts[table.name], await target.count(table)
        if here != there and table not in SHARED:
            raise CopyRefused(f"{table.name} has {here} rows here and {there} there: try again")
    restored_at = read_moment(source.value("SELECT restored_at FROM database_place"))
    await target.settle({table.name: source.highest_id(table) for table in (ORDERS, *BELONGINGS, *NEWS)}, restored_at)
    source.end()
    return copied


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise RowsRefused(problems)


_RESTORE_IT = "restore it from a backup of its own; what this file knows is older than what was done there"
_SOMEBODY_ELSE_S = (
    "stop what inserts there, keep those returns elsewhere, delete them there, run copy-to once more, and insert them"
    " again"
)


def _as_spelled_now(place: str) -> str:
    """A place that was remembered: earlier versions spelled some URLs otherwise."""
    url, schema, name = place.partition(" (schema ")
    return place_of_url(url) + schema + name
