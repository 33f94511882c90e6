"""Says again and again what the process is doing, and that it goes on: the watchdog is fed by progress, not by time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from worker.runtime.systemd import ServiceManager

_BEAT = 5.0  # seconds between two looks, if the watchdog does not want them sooner
_START_PATIENCE = 60  # seconds that a start asks for from each beat on; one that hangs ends after these

log = structlog.get_logger()


class Pulse:
    """The beats of one process: `start`, `ready`, `stopping`, `end`, in this order.

    While it starts, each beat asks for more time, since a database may be waited for or migrated. Then each one feeds
    the watchdog if `goes_on` says so. A process whose event loop hangs has no beats at all. While it stops it is fed
    without being asked, since the shutdown has a time limit of its own.
    """

    def __init__(self, manager: ServiceManager, *, goes_on: Callable[[], bool], status: Callable[[], str]) -> None:
        """`status` says in one line what is being done; it must hold no secret, and nothing of a customer's."""
        self._manager = manager
        self._goes_on, self._status = goes_on, status
        self._starting: str | None = None
        self._stopping = False
        self._ready_said = False
        self._stalled = False
        self._said = ""
        # A third: systemd asks for at least two in each interval, and one may come late.
        self._interval = min(_BEAT, manager.watchdog / 3) if manager.watchdog else _BEAT
        self._beating: asyncio.Task[None] | None = None

    def start(self, doing: str) -> None:
        """Begin to beat; needs a running loop."""
        self._starting = doing
        if self._manager.listens:
            self._beating = asyncio.create_task(self._beat_on())

    def starting(self, doing: str) -> None:
        """The start has come to this."""
        self._starting = doing
        self._beat()

    def ready(self) -> None:
        """The work begins."""
        self._starting = None
        self._beat()

    def stopping(self, within: float) -> None:
        """The work ends, within so many seconds."""
        self._stopping = True
        # The unit's TimeoutStopSec= need not know how long `worker.grace` is.
        self._manager.tell(STOPPING=1, EXTEND_TIMEOUT_USEC=round(within * 1_000_000))
        self._beat()

    async def end(self) -> None:
        """No more beats."""
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating

    async def _beat_on(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(self._interval)

    def _beat(self) -> None:
        if self._stopping:
            self._manager.tell(WATCHDOG=1)
        elif self._starting is not None:
            self._manager.tell(EXTEND_TIMEOUT_USEC=_START_PATIENCE * 1_000_000)
        else:
            # Said again when the manager was too busy to hear it: it would wait for ever.
            self._ready_said = self._ready_said or self._manager.tell(READY=1)
            if self._is_alive():
                self._manager.tell(WATCHDOG=1)
        self._say(self._line())

    def _is_alive(self) -> bool:
        stalled = not self._goes_on()
        if stalled and not self._stalled:
            log.error("loop_stalled", hint="the service manager's watchdog is not fed as long as it lasts")
        self._stalled = stalled
        return not stalled

    def _line(self) -> str:
        if self._starting is not None and not self._stopping:
            return f"starting: {self._starting}"
        try:
            line = self._status()
        except Exception:  # a defect in a line of text must not starve the watchdog
            log.exception("status_unknown")
            line = "at work"
        if self._stopping:
            return f"stopping: {line}"
        return f"stalled, the watchdog is not fed: {line}" if self._stalled else line

    def _say(self, line: str) -> None:
        if line != self._said and self._manager.tell(STATUS=line):
            self._said = line
