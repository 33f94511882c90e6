"""Forgets in time: erases what is due by `[retention]`, removes label files, and ends what a kill left half done.

First a transaction marks and empties, then SQLite's journal is cut off, then files are removed, then that is noted. So
what is killed anywhere in between is found by its mark, and each of these may be done once more.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import inf

import structlog

from worker.engine.clock_watch import ClockWatch
from worker.labels import LabelStore, LabelStoreAway, LabelStoreError
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.erasure import (
    PLACES,
    Due,
    Files,
    Place,
    count_due,
    count_unfinished,
    due_in,
    empty_wal,
    erase,
    files_came,
    files_removed,
    labels_due_in,
    labels_removed,
    rewrite,
    unfinished,
    unfinished_of,
)
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.refusals import in_pieces
from worker.telemetry.metrics import Metrics

BATCH = 200
"""Returns in a transaction: no shop and no worker waits longer than some 50 ms for one."""

_BUDGET = 20.0  # seconds of a tick: what is left comes with the next one
_REWRITTEN_EVERY = 86_400.0  # seconds between two times that a worker writes a whole file once more
_COPIES = "copies of what was erased may be left in unused parts of the database file: "
_TOO_LARGE = "it is too large to be written once more in passing; VACUUM it in a quiet hour, see docs/privacy.md"
_OLDER_STATE = "the database's journal cannot be cut off while another program reads an older state of it"
_AGAIN = "it is tried again each minute"
_NOT_NOTED = "files are gone, and the database does not let that be noted: "
_DAILY = "it is tried again after a day, with the next erasure"
_BY_AGE = "personal data erased: over for longer than retention.erase_after"

log = structlog.get_logger()


class FilesLeft(Exception):
    """Returns are erased in the database, and files of theirs are still there; the message says why.

    `is_away`: the label store does not answer, and would keep each further return waiting, too.
    """

    def __init__(self, why: str, *, is_away: bool = False) -> None:
        super().__init__(why)
        self.is_away = is_away


async def erase_batch(database: Database, ids: Sequence[int], told: str) -> tuple[set[int], list[tuple[int, str]]]:
    """Erase those of these returns that are over; the ids that were, and those that the database refuses, with why."""
    erased: set[int] = set()

    async def change(some: Sequence[int]) -> None:
        erased.update(await erase(database, some, told))

    return erased, await in_pieces(list(ids), change)


async def remove_files(database: Database, labels: LabelStore, left: Sequence[Files]) -> None:
    """Remove all that the label store keeps of these returns, and note it; raises `FilesLeft`, after the others."""
    is_cut = await empty_wal(database)
    done, problem = await _removed(labels, left)
    if not is_cut:  # files do not wait for it, and the mark does: it is what brings the next try
        raise FilesLeft(_OLDER_STATE, is_away=isinstance(problem, LabelStoreAway))
    refused = await in_pieces([files.id for files in done], partial(files_removed, database))
    if problem is not None:
        raise FilesLeft(str(problem), is_away=isinstance(problem, LabelStoreAway))
    if refused:
        raise FilesLeft(_NOT_NOTED + refused[0][1])


async def finish(database: Database, labels: LabelStore, ids: Sequence[int]) -> None:
    """Remove the files of returns that were just erased, and note it; raises `FilesLeft`."""
    await remove_files(database, labels, await unfinished_of(database, ids))


async def copies_left(database: Database) -> str | None:
    """Write a SQLite file once more, and say why copies of rows may be left in it; None: there are none."""
    try:
        if not await rewrite(database):
            return _COPIES + _TOO_LARGE
        return None if await empty_wal(database) else _COPIES + _OLDER_STATE
    except DatabaseUnavailable as error:  # a full disk, another program's long write
        return f"{_COPIES}{error}"


async def remove_what_came_late(database: Database, labels: LabelStore, ids: Sequence[int]) -> None:
    """Remove what may have come to the label store for returns that were erased meanwhile; what is left is marked."""
    await files_came(database, ids)
    with suppress(FilesLeft):  # a running worker tries that again, and says why
        await finish(database, labels, ids)


async def _removed(labels: LabelStore, left: Sequence[Files]) -> tuple[list[Files], LabelStoreError | None]:
    """Those whose files are gone, all at once where that can be, else one by one; and what went wrong with another."""
    try:
        await _remove(labels, left)
    except LabelStoreError as error:
        if len(left) == 1 or isinstance(error, LabelStoreAway):  # one by one each would wait for it
            return [], error
        done: list[Files] = []
        problem = None
        for files in left:
            gone, trouble = await _removed(labels, [files])
            done, problem = done + gone, problem or trouble
        return done, problem
    return list(left), None


async def _remove(labels: LabelStore, left: Sequence[Files]) -> None:
    returns = {(files.account, files.carrier_ref) for files in left if files.carrier_ref is not None}
    locations = [location for files in left for location in files.locations]
    if returns or locations:
        await labels.remove(await labels.all_of(returns, locations))


@dataclass(frozen=True, slots=True)
class Ages:
    """How long after its end a return keeps personal data, and its label files; None: for good."""

    erase_after: timedelta | None = None
    labels_after: timedelta | None = None


class Retention:
    """One worker's part in it."""

    def __init__(
        self,
        database: Database,
        labels: LabelStore,
        metrics: Metrics,
        ages: Ages,
        watch: ClockWatch,
        clock: Callable[[], float],
    ) -> None:
        """`clock` counts seconds. While the database's clock is in doubt by `watch`, no age is judged."""
        self._database, self._labels, self._metrics = database, labels, metrics
        self._ages, self._watch, self._clock = ages, watch, clock
        self._until = 0.0
        self._has_copies, self._rewritten_at = False, -inf

    async def keep(self) -> None:
        """Do what is due, for some seconds at most; what goes wrong is logged, and tried again with the next tick."""
        self._until = self._clock() + _BUDGET
        by_age = (self._erase_what_is_due, self._remove_labels_that_are_due) if self._watch.is_believed else ()
        problems: list[str] = []
        try:
            for work in (self._end_what_is_half_done, *by_age):
                try:
                    problems += await work()
                except DatabaseRefused as error:  # a right that it takes; nothing else that a worker does needs it
                    problems.append(str(error))
            await self.read_gauge()
            if self._has_copies and self._clock() >= self._rewritten_at + _REWRITTEN_EVERY:
                self._has_copies, self._rewritten_at = False, self._clock()
                if (left := await copies_left(self._database)) is not None:
                    log.warning("erasure_unfinished", error=left, hint=_DAILY)
        except DatabaseUnavailable as error:
            self._metrics.erasures_due.set(float("nan"))
            log.debug("retention_waits", error=str(error))
        if problems:
            log.warning("erasure_unfinished", error="; ".join(dict.fromkeys(problems))[:1000], hint=_AGAIN)

    async def read_gauge(self) -> None:
        """Count what is due; raises `DatabaseUnavailable`."""
        count = await count_unfinished(self._database)
        if self._ages.erase_after is not None:
            count += await count_due(self._database, await self._before(self._ages.erase_after))
        self._metrics.erasures_due.set(count)

    async def _before(self, age: timedelta) -> datetime:
        return await database_now(self._database) - age

    @property
    def _has_time(self) -> bool:
        return self._clock() < self._until

    async def _end_what_is_half_done(self) -> list[str]:
        """What is in the way of some is no reason to keep the others waiting: here and below it is returned."""
        problems: list[str] = []
        for place in PLACES:
            after = 0
            while self._has_time and (left := await unfinished(self._database, place, after, BATCH)):
                after, self._has_copies = left[-1].id, True
                try:
                    await remove_files(self._database, self._labels, left)
                except FilesLeft as error:
                    problems.append(str(error))
        return problems

    async def _erase_what_is_due(self) -> list[str]:
        if self._ages.erase_after is None:
            return []
        before, count, problems = await self._before(self._ages.erase_after), 0, []
        for place in PLACES:
            last: Due | None = None
            while self._has_time and (due := await due_in(self._database, place, before, None, last, BATCH)):
                last = due[-1]
                erased, refused = await erase_batch(self._database, [each.id for each in due], _BY_AGE)
                count += len(erased)
                self._metrics.returns_erased.inc(len(erased))
                if refused:
                    log.warning("erasure_refused", count=len(refused), reason=refused[0][1])
                try:
                    await finish(self._database, self._labels, sorted(erased))
                except FilesLeft as error:
                    problems.append(str(error))
        if count:
            self._has_copies = True
            log.info("returns_erased", count=count)
        return problems

    async def _remove_labels_that_are_due(self) -> list[str]:
        if self._ages.labels_after is None:
            return []
        before, count, problems = await self._before(self._ages.labels_after), 0, []
        for place in PLACES:
            last: Files | None = None
            while self._has_time and (due := await labels_due_in(self._database, place, before, last, BATCH)):
                last = due[-1]
                done, problem = await _removed(self._labels, list({files.id: files for files in due}.values()))
                note = partial(self._note_removed_labels, place, before)
                refused = await in_pieces([files.id for files in done], note)
                count += len(done)
                problems += [str(problem)] if problem is not None else []
                problems += [_NOT_NOTED + why for _, why in refused]
        if count:
            log.info("labels_removed", returns=count)
        return problems

    async def _note_removed_labels(self, place: Place, before: datetime, ids: Sequence[int]) -> None:
        await labels_removed(self._database, place, ids, before)
