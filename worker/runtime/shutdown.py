"""How the process is asked to end: the first signal drains, the second one ends it now, and so does time."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


@contextmanager
def stop_requested(limit: float | None = None) -> Iterator[asyncio.Event]:
    """An event that is set by SIGTERM or SIGINT; a second signal ends the process at once.

    So does a thread `limit` seconds after the first one, should a connection or a child process hang the shutdown.
    """
    event = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle(number: int) -> None:
        if event.is_set():
            log.warning("stopped_at_once", signal=signal.Signals(number).name)
            os._exit(128 + number)  # what is held is claimable again when its lease has run out
        log.info("stopping", signal=signal.Signals(number).name)
        event.set()
        if limit is not None:
            last_resort = threading.Timer(limit, _end_now)
            last_resort.daemon = True
            last_resort.start()

    for number in _SIGNALS:
        loop.add_signal_handler(number, handle, number)
    try:
        yield event
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _end_now() -> None:
    saying = threading.Thread(target=log.error, args=("stopped_at_once",), daemon=True)  # stderr may hang too
    saying.start()
    saying.join(1.0)
    os._exit(1)
