"""Connections to the worker's pages: few, and each for a short time, so that they take nothing from the work."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final, cast

from aiohttp import web

_BAD_REQUEST: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
    b"Content-Length: 12\r\nConnection: close\r\n\r\nbad request\n"
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Limits:
    """What all connections together may take, and how many seconds each of them has."""

    most: int = 100  # connections
    head: float = 5.0  # from the connection, or the last answer, to a whole head of a request
    answer: float = 15.0  # from there until the answer has been taken
    # Those that are open; the one that has asked nothing for the longest time comes first.
    open: dict["Connection", None] = field(default_factory=dict)

    def admit(self, connection: "Connection") -> None:
        """Let it in; where there are too many, the one that has asked nothing for the longest time makes room."""
        # Not the newest, which may be a probe: refused, it would have us restarted.
        if len(self.open) >= self.most:
            next(iter(self.open)).cut()
        self.open[connection] = None

    def asks(self, connection: "Connection") -> None:
        """It has sent a whole head."""
        if self.open.pop(connection, 0) is None:
            self.open[connection] = None


class Connection(web.RequestHandler):
    """aiohttp's side of one connection, within limits."""

    __slots__ = ("_answer_over", "_limits", "_wire")

    def __init__(self, server: web.Server, limits: Limits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as AppRunner's own argument, it may be None
            keepalive_timeout=limits.head,  # it runs from the start, and bytes that are no whole head do not renew it
            auto_decompress=False,  # a body is a short form, and whatever else it inflates to is not read
        )
        self._limits = limits
        self._wire: asyncio.Transport | None = None
        self._answer_over: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The system has accepted it."""
        self._wire = cast(asyncio.Transport, transport)  # uvloop's is one, and no instance of it
        self._limits.admit(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone; either side may have ended it."""
        self._limits.open.pop(self, None)
        self._stop_counting()
        self._wire = None
        super().connection_lost(exc)

    def asks(self) -> None:
        """A whole head is there, and its answer begins."""
        self._limits.asks(self)
        self._stop_counting()
        self._answer_over = asyncio.get_running_loop().call_later(self._limits.answer, self.cut)

    def cut(self) -> None:
        """End it now: what has not been sent is not waited for."""
        self._limits.open.pop(self, None)
        if self._wire is not None:
            self._wire.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP, and end the connection.

        aiohttp's own answer quotes what came and says which versions run here, and each costs a trace in the log.
        """
        if status < 500 and request.writer.output_size == 0 and self._wire is not None:
            self._wire.write(_BAD_REQUEST)
        elif not isinstance(exc, ConnectionError):
            _log.error("no answer for a request", exc_info=exc)
        raise ConnectionError("nothing more is answered here")  # aiohttp closes the connection for it

    def _stop_counting(self) -> None:
        if self._answer_over is not None:
            self._answer_over.cancel()
