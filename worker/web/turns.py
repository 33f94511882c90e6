"""One connection to the database for all pages together, and a share of the time: no reader costs the loop anything."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from worker.settings import Settings
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")
UseCase = Callable[Concatenate[Settings, Database, P], Awaitable[T]]

PATIENCE = 2.0
"""Seconds for which a page waits for its turn, and then for the database."""

SHARE = 0.03
"""Of each second, what all pages together may be at the database or be rendered: some six small pages."""

_SAVED = 0.2  # seconds of that which they may have saved up, so that a person who looks now and then never waits
_BESIDE = 0.004  # seconds that reading a request and sending its answer cost beside: twice what was measured
_LONGEST_REST = 1.0  # seconds after a page that took long
_COUNTING = 0.01  # of each second, what may be spent on counting rows: it is the database that pays for it
_MOST_ACTS = 8  # more than persons press buttons at a time
_SHORTEST, _LONGEST = 1.0, 90.0  # seconds for which such an answer is shown again; the longest is that of gauges


class Busy(Exception):
    """The pages before this one, or what it asks for itself, take longer than a page may."""


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Any
    since: float
    until: float = 0.0


_TOO_LONG = object()  # in the place of an answer


class Turns:
    """Lets one page at a time be answered, by the one connection, and all together for their share of the time."""

    def __init__(
        self,
        settings: Settings,
        current: Callable[[], str],
        check_file: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
        share: float = SHARE,
    ) -> None:
        """Open nothing yet.

        `current` gives the database's URL, `patience` is in seconds, `share` in seconds a second. `check_file` raises
        where another file has taken the place of SQLite's, which only the worker can tell, as it holds it.
        """
        told = settings.database
        self._settings, self._check_file, self._patience, self._share = settings, check_file, patience, share
        self._turn = asyncio.Lock()
        self._left, self._reckoned_at = _SAVED, time.monotonic()  # seconds; less than none is owed
        self._kept: dict[object, _Kept] = {}
        self._database = Database(
            told.url,
            current=current,
            pool_size=1,
            busy_timeout=patience,
            pooler=told.pooler,
            schema=told.schema,
            longest=patience,
        )
        self._acts: set[asyncio.Task[Any]] = set()
        self._is_draining = False

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """The turn of one page, which may ask meanwhile; raises `Busy` where it does not come in time."""
        try:
            async with asyncio.timeout(self._patience):
                await self._turn.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            await asyncio.sleep(self._owed())
            began = time.monotonic()
            try:
                yield
            finally:
                took = time.monotonic() - began + _BESIDE
                self._left = max(self._left - took, -_LONGEST_REST * self._share)
        finally:
            self._turn.release()

    async def ask(self, use_case: UseCase[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Have the answer of a use case that only looks; raises `Busy`, `DatabaseUnavailable`, and what that does."""
        self._check_file()
        try:
            async with asyncio.timeout(self._patience):
                return await use_case(self._settings, self._database, *args, **named)
        except TimeoutError:
            raise Busy from None

    async def ask_lately(self, use_case: UseCase[[], T]) -> tuple[T, float]:
        """The same, or what another reader was told some seconds ago; and how many seconds ago that was.

        Where the database could not say it in time it is not asked again at once, and an older answer is shown.
        """
        answers = self._kept  # another one after an act: what was read before it is shown to nobody who comes after
        kept, now = answers.get(use_case), time.monotonic()
        if kept is None or now >= kept.until:
            try:
                kept = _Kept(await self.ask(use_case), time.monotonic())
            except (Busy, DatabaseUnavailable):
                if time.monotonic() - now < self._patience / 2:  # it is away, which it says at once
                    raise
                kept = kept or _Kept(_TOO_LONG, now)
            ended = time.monotonic()
            rests = min(max((ended - now) / _COUNTING, _SHORTEST), _LONGEST)
            answers[use_case] = kept = replace(kept, until=ended + rests)
        if kept.answer is _TOO_LONG:
            raise Busy
        return kept.answer, time.monotonic() - kept.since

    async def act(self, use_case: UseCase[P, T], *args: P.args, **named: P.kwargs) -> T:
        """The same of one that changes something: it comes to its end, though each statement is as short as ever.

        It may wait for a worker or for a carrier, so whoever calls it must not have the pages' turn. It goes on where
        who asked has gone, and where the worker stops.
        """
        if self._is_draining or len(self._acts) >= _MOST_ACTS:
            raise Busy
        self._check_file()
        acting = asyncio.create_task(self._act(use_case(self._settings, self._database, *args, **named)))
        self._acts.add(acting)
        acting.add_done_callback(self._acts.discard)
        return await asyncio.shield(acting)

    async def drain(self) -> None:
        """Let what was begun come to its end; nothing is begun any more."""
        self._is_draining = True
        if self._acts:
            await asyncio.wait(self._acts)

    async def close(self) -> None:
        """Close the connection; what has not come to its end hands back what it holds."""
        for acting in self._acts:
            acting.cancel()
        await self.drain()
        await self._database.close()

    async def _act(self, deed: Awaitable[T]) -> T:
        try:
            return await deed
        finally:
            self._kept = {}  # who has changed something sees it

    def _owed(self) -> float:
        """Seconds until the share is enough for a page to begin."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._reckoned_at) * self._share, _SAVED)
        self._reckoned_at = now
        return max(-self._left / self._share, 0.0)
