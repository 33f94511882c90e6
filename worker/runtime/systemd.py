"""What systemd hears of the service, by sd_notify(3); nothing is said where no systemd started it."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

_BEAT = 5.0  # seconds between two looks, if the watchdog does not want them sooner
_START_PATIENCE = 60  # seconds that a start asks for from each beat on; one that hangs ends after these
_LONGEST = 1000  # characters of a value; systemd drops a message of more than 4096 bytes

log = structlog.get_logger()


class ServiceManager:
    """The other end of `NOTIFY_SOCKET`; its protocol is datagrams of NAME=value lines, see sd_notify(3).

    `watchdog` is within how many seconds it wants to hear that we live, None when it does not, see
    sd_watchdog_enabled(3).
    """

    def __init__(self, environ: Mapping[str, str], pid: int | None = None) -> None:
        """`environ` is the process' environment, `pid` its number unless it is this one."""
        address = environ.get("NOTIFY_SOCKET", "")
        self.listens = address.startswith(("/", "@"))
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # @: an abstract socket, unix(7)
        self.watchdog = _watchdog(environ, os.getpid() if pid is None else pid) if self.listens else None
        self._failed = False

    def tell(self, **variables: str | int) -> bool:
        """Send the variables in one message; whether that went well. A failure is logged once, and stops nothing."""
        if not self.listens:
            return False
        message = "\n".join(f"{name}={' '.join(str(value).split())[:_LONGEST]}" for name, value in variables.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a manager that does not read must not stop us
                sender.sendto(message.encode("utf-8", "replace"), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("service_manager_not_told", error=str(error))
            self._failed = True
            return False
        return True


class Pulse:
    """Says again and again what the process is doing, and that it goes on: `start`, `ready`, `stopping`, `end`.

    While it starts, each beat asks for more time, since a database may be waited for or migrated. Then each one feeds
    the watchdog if `goes_on` says so: it is fed by progress, not by time, and an event loop that hangs has no beats at
    all. While the process stops it is fed always, since the shutdown has a time limit of its own.
    """

    def __init__(self, manager: ServiceManager, *, goes_on: Callable[[], bool], status: Callable[[], str]) -> None:
        """`status` says in one line what is being done; it must hold no secret, and nothing of a customer's."""
        self._manager, self._goes_on, self._status = manager, goes_on, status
        self._starting: str | None = None  # what the start is at
        self._ready_said = self._stalled = self._stopping = False
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
            before, self._stalled = self._stalled, not self._goes_on()
            if not self._stalled:
                self._manager.tell(WATCHDOG=1)
            elif not before:
                log.error("loop_stalled", hint="the service manager's watchdog is not fed as long as it lasts")
        line = self._line()
        if line != self._said and self._manager.tell(STATUS=line):
            self._said = line

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


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    microseconds, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant not in {"", str(pid)}:
        return None
    return int(microseconds) / 1_000_000
