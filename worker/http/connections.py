"""Connections on which an answer belongs to its question: aiohttp's own, held to what a promise needs.

aiohttp keeps a connection on which something arrives unasked, and takes that for the answer to the next question: each
later answer is then another customer's. Its limits for an answer's head (8,190 bytes a header, 128 headers) are below
what real servers send, and nothing limits a head as a whole.
"""

import functools
import select
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

MAX_HEAD_BYTES = 65_536
"""The most bytes of an answer's status line and headers together, and of trailers.

Eight times the most that nginx passes on by default (`proxy_buffer_size`).
"""

PARSER_LIMIT = 2**20
"""For aiohttp's own limits: above anything that can arrive before `MAX_HEAD_BYTES` is looked at."""


class HeadTooLarge(aiohttp.ClientError):
    """The answer's head is longer than `MAX_HEAD_BYTES`."""


@dataclass(slots=True)
class Progress:
    """How far a request got: once `connected`, the server may have seen it."""

    last_check: Callable[[], None] | None = None
    connected: bool = False


progress_of_request: ContextVar[Progress] = ContextVar("progress_of_request")


class Connector(aiohttp.TCPConnector):
    """Says when a connection is up, before the first byte of a request leaves on it, and gives out clean ones only.

    aiohttp's tracing says the first too, and costs each request a quarter more.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        made: functools.partial[Any] = functools.partial(_OneAnswerEach, loop=self._loop)
        self._factory = made

    async def connect(self, *args: Any, **options: Any) -> aiohttp.connector.Connection:
        """A connection with nothing unread on it; raises what the progress' `last_check` raises."""
        while True:
            connection = await super().connect(*args, **options)
            protocol = connection.protocol
            assert isinstance(protocol, _OneAnswerEach)  # aiohttp makes them by our factory
            if protocol.is_clean():
                break
            did = "answered" if protocol.is_connected() else "closed the connection"
            connection.close()
            if not protocol.was_used:
                raise aiohttp.ClientConnectionError(f"the server {did} before it was asked anything")
        progress = progress_of_request.get()
        if progress.last_check is not None:
            try:
                progress.last_check()
            except BaseException:
                connection.close()
                raise
        protocol.expect_answer()
        progress.connected = True
        return connection


class _OneAnswerEach(ResponseHandler):
    """One connection: takes one answer for each question, and closes when anything else arrives."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self.was_used = False
        self._body: StreamReader | None = None  # of the answer, once its head is whole
        self._barren = 0  # bytes that came since a head was whole, or a part of a body came
        self._body_seen = 0

    def is_clean(self) -> bool:
        """Whether a request may be written: it stays open, and nothing has arrived unasked."""
        if self.should_close or not self.is_connected():
            return False
        # A new one may have input waiting: TLS hands out its tickets behind the handshake.
        return not (self.was_used and _has_input(self.transport))

    def expect_answer(self) -> None:
        """A question is about to be written."""
        self.was_used = True
        self._body, self._barren, self._body_seen = None, 0, 0

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived, or (empty) a pause of reading is over."""
        if data and self._body is not None and self._body.is_eof():
            self.force_close()
            self.close()
            return
        self._barren += len(data)
        super().data_received(data)
        if self._barren > MAX_HEAD_BYTES:
            self._limit()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A head is whole."""
        if self._body is not None or self._exception is not None:  # a second answer in the same bytes as the first
            self.force_close()
            return
        message, body = data
        if message.code >= 200 or message.code == 101:
            if self._barren > MAX_HEAD_BYTES and (length := _head_length(message)) > MAX_HEAD_BYTES:
                name, _ = max(
                    message.raw_headers, key=lambda header: len(header[0] + header[1]), default=(b"none", b"")
                )
                longest = name[:60].decode("latin-1")
                self._refuse(f"the answer ({message.code}) has {length} bytes of headers, the longest is {longest}")
                return
            self._body, self._barren = body, 0
        super().feed_data(data, size)

    def _limit(self) -> None:
        """Stop what brings no head and no body: a head, trailers or a framing without end."""
        seen = 0 if self._body is None else self._body.total_bytes
        if seen != self._body_seen:
            self._body_seen, self._barren = seen, 0
        elif self._exception is None:
            where = "the headers of the answer have" if self._body is None else "the answer's body is followed by"
            self._refuse(f"{where} more than {self._barren} bytes without an end")

    def _refuse(self, reason: str) -> None:
        error = HeadTooLarge(f"{reason}; {MAX_HEAD_BYTES} bytes are read")
        self._parser = None
        if self._body is not None:
            self._body.set_exception(error)
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()


def _head_length(message: RawResponseMessage) -> int:
    lines = sum(len(name) + len(value) + len(": \r\n") for name, value in message.raw_headers)
    return lines + len(message.reason or "") + len("HTTP/1.1 200 \r\n\r\n")


def _has_input(transport: Any) -> bool:
    """Whether bytes, or the end of the stream, wait in the system's buffer, where no event loop has seen them yet."""
    socket = transport.get_extra_info("socket")
    if socket is None:
        return False
    if socket.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))
