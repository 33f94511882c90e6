"""How the process is asked to end: the first signal drains, the second one ends it now, and so does time."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from worker.runtime.signals import keep_signals, let_signals_through

_LAST_WORDS = 0.5  # seconds

log = structlog.get_logger()


@contextmanager
def stop_requested(limit: float | None = None) -> Iterator[asyncio.Event]:
    """An event that is set by SIGTERM, SIGINT or SIGHUP; a second signal ends the process at once.

    When a connection or a child process hangs the shutdown, a thread ends it `limit` seconds after the first signal.
    """
    event, loop = asyncio.Event(), asyncio.get_running_loop()

    def ask() -> None:
        loop.call_soon_threadsafe(event.set)

    watchman = _Watchman(keep_signals(), ask, limit)
    watchman.start()
    try:
        yield event
    finally:
        watchman.dismiss()


class _Watchman(threading.Thread):
    """Takes the signals in a thread, so that they are obeyed while the event loop, or the main thread, hangs.

    A handler would be run by the main thread between two steps of Python, and so not during a call that hangs in C.
    """

    def __init__(self, signals: Collection[signal.Signals], ask: Callable[[], None], limit: float | None) -> None:
        super().__init__(name="signals", daemon=True)
        self._signals, self._ask, self._limit = signals, ask, limit
        self._deciding = threading.Lock()
        self._is_dismissed = False
        self._was_asked = False

    def run(self) -> None:
        first = signal.sigwait(self._signals)
        with self._deciding:
            if self._is_dismissed:
                return
            self._was_asked = True
        if self._limit is not None:
            last_resort = threading.Timer(self._limit, _end_now, (1, log.error))
            last_resort.daemon = True
            last_resort.start()
        self._ask()
        _say(log.info, "stopping", 0.0, signal=signal.Signals(first).name)
        second = signal.sigwait(self._signals)
        # What is leased can be claimed again when its lease has run out.
        _end_now(128 + second, log.warning, signal=signal.Signals(second).name)

    def dismiss(self) -> None:
        """Let signals do again what they did before, unless one was taken: then it stays to the process' end."""
        assert self.ident is not None
        with self._deciding:
            if self._was_asked:
                return
            self._is_dismissed = True
            signal.pthread_kill(self.ident, signal.SIGTERM)  # to this thread alone, which takes it
        self.join()
        let_signals_through()


def _end_now(code: int, say: Callable[..., Any], **values: str) -> None:
    _say(say, "stopped_at_once", _LAST_WORDS, **values)
    os._exit(code)


def _say(say: Callable[..., Any], event: str, patience: float, **values: str) -> None:
    """Log a line and wait so many seconds for it to be out: the reader of stderr may hang, too."""

    def saying() -> None:
        say(event, **values)
        sys.stderr.flush()

    thread = threading.Thread(target=saying, daemon=True)
    thread.start()
    thread.join(patience)
