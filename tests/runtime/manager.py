"""The service manager's end of NOTIFY_SOCKET: a real datagram socket, read at once, that remembers what it was told."""

import secrets
import socket
import threading
from types import TracebackType


class Manager:
    """Listens on an abstract socket, or on the file that is given."""

    def __init__(self, file: str | None = None) -> None:
        self.address = file or f"@returns-worker-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(file or f"\0{self.address[1:]}")
        self._socket.setblocking(False)
        self._told: list[dict[str, str]] = []
        self._reading, self._closed = threading.Lock(), threading.Event()
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Manager":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._reader.join()
        self._socket.close()

    @property
    def told(self) -> list[dict[str, str]]:
        """Every message so far."""
        with self._reading:
            while True:
                try:
                    message = self._socket.recv(4096).decode()
                except BlockingIOError:
                    return list(self._told)
                self._told.append(dict(line.split("=", 1) for line in message.split("\n")))

    def all(self, name: str) -> list[str]:
        """Every value of a variable, in order."""
        return [message[name] for message in self.told if name in message]

    def _read_on(self) -> None:
        while not self._closed.wait(0.01):  # its queue holds but ten messages
            _ = self.told
