"""Runs transactions on SQLite in threads of ours, so that the event loop goes on while one writes or waits.

One hand-over is one transaction. Its caller may be cancelled meanwhile: then it is called off, and rolled back, unless
its commit has begun, which is waited for. Either way what the database holds is certain when the caller goes on.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from worker.store.failures import DatabaseUnavailable

T = TypeVar("T")

Wanted = Callable[[], bool]
"""Asked right before a commit: whether the caller still waits; once it is true, nothing can be called off."""

_Errands = SimpleQueue[Callable[[], None] | None]


class Threads:
    """Up to so many threads, each started when all others are busy; used from one event loop.

    They are daemons: a process that was told to end does not wait for one that waits for another process' write.
    """

    def __init__(self, name: str, most: int) -> None:
        """Start nothing yet."""
        self._name, self._most = name, most
        self._errands: _Errands = SimpleQueue()
        self._started: list[Thread] = []
        self._unfinished: set[asyncio.Future[None]] = set()

    async def run(self, work: Callable[[Wanted], T], ended: Callable[[], None] = lambda: None) -> T:
        """Do the work in a thread; once that is done with it, cancelled or not, `ended` is called on the event loop."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        fate: Future[T] = Future()  # cancelled, or running since its commit began: never both

        def end() -> None:
            self._unfinished.discard(over)
            ended()
            over.set_result(None)

        def errand() -> None:
            _carry_out(work, fate)
            with suppress(RuntimeError):  # the event loop is closed: there is no caller left
                loop.call_soon_threadsafe(end)

        self._unfinished.add(over)
        if len(self._started) < min(len(self._unfinished), self._most):
            try:
                self._start()
            except RuntimeError as error:  # the system's limit; threads that there are do the work, later
                if not self._started:
                    self._unfinished.discard(over)
                    ended()
                    raise DatabaseUnavailable(str(error)) from error
        self._errands.put(errand)
        try:
            await asyncio.wait((over,))
        except asyncio.CancelledError:
            if not fate.cancel():  # its commit has begun, or it has ended
                await asyncio.wait((over,))
            raise
        return fate.result()

    def _start(self) -> None:
        thread = Thread(target=_serve, args=(self._errands,), name=self._name, daemon=True)
        thread.start()
        self._started.append(thread)

    async def close(self, patience: float) -> None:
        """Let the threads end; waits so many seconds for what they are at. One that hangs ends with the process."""
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=patience)
        for _ in self._started:
            self._errands.put(None)
        if not self._unfinished:
            for thread in self._started:
                thread.join()
        self._errands, self._started = SimpleQueue(), []


def _serve(errands: _Errands) -> None:
    while (errand := errands.get()) is not None:
        errand()


def _carry_out(work: Callable[[Wanted], T], fate: "Future[T]") -> None:
    def is_wanted() -> bool:
        return fate.running() or (not fate.cancelled() and fate.set_running_or_notify_cancel())

    if fate.cancelled():
        return
    try:
        result = work(is_wanted)
    except BaseException as error:
        if is_wanted():
            fate.set_exception(error)
    else:
        if is_wanted():
            fate.set_result(result)
