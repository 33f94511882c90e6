"""What systemd is told about the service, by sd_notify(3); nothing is said where no systemd started it."""

import os
import socket
from collections.abc import Mapping

import structlog

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


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    microseconds, meant = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant not in {"", str(pid)}:
        return None
    return int(microseconds) / 1_000_000
