"""httpx's transport interface over aiohttp: the one place that knows how bytes reach a carrier.

httpx's own connection pool costs CPU in proportion to the square of its open connections (encode/httpcore#1000), so its
API is used and its pool is not. Nothing here retries, follows a redirect, or keeps cookies.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx

MAX_BYTES = "max_bytes"
"""Request extension: the largest body to accept, in bytes."""

FRESH = "fresh"
"""Request extension: true for a connection that no earlier request has used."""

STARTED = "started"
"""Request extension: when, by `time.monotonic`, the time limit began to run, if that was before this request."""


class AnswerTooLarge(httpx.TransportError):
    """The body is larger than the request allowed."""


@dataclass(slots=True)
class _Progress:
    """How far a request got: once `connected`, the carrier may have seen it."""

    connected: bool = field(default=False)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests of one account; raises httpx's exceptions.

    `httpx.ConnectError`, `ConnectTimeout` and `ProxyError` mean that no byte of the request left; everything else may
    have reached the carrier.
    """

    def __init__(self, *, timeout: float, proxy: str | None = None, ca_file: str | None = None) -> None:
        """`timeout` is in seconds for one request, all in all; `ca_file` adds to the trusted authorities."""
        self._seconds = timeout
        self._proxy = proxy
        self._ssl = ssl.create_default_context()
        if ca_file is not None:
            self._ssl.load_verify_locations(cafile=ca_file)
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` and read the whole answer."""
        session = self._session(fresh=bool(request.extensions.get(FRESH)))
        progress = _Progress()
        try:
            async with session.request(
                request.method,
                str(request.url),
                data=request.content or None,
                headers=list(request.headers.multi_items()),
                allow_redirects=False,
                proxy=self._proxy,
                timeout=self._limit(request.extensions.get(STARTED)),
                trace_request_ctx=progress,
            ) as answer:
                content = await _body(answer, request.extensions.get(MAX_BYTES))
                return httpx.Response(answer.status, headers=_headers(answer), content=content, request=request)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _translated(error, connected=progress.connected) from error

    async def aclose(self) -> None:
        """Close every connection."""
        for session in (self._kept, self._fresh):
            if session is not None:
                await session.close()

    def _limit(self, started: float | None) -> aiohttp.ClientTimeout:
        left = self._seconds if started is None else self._seconds - (time.monotonic() - started)
        left = max(left, 0.001)  # aiohttp takes 0 for no limit
        return aiohttp.ClientTimeout(total=left, sock_connect=left, sock_read=left)

    def _session(self, *, fresh: bool) -> aiohttp.ClientSession:
        if fresh:
            self._fresh = self._fresh or self._open(force_close=True)
            return self._fresh
        self._kept = self._kept or self._open(force_close=False)
        return self._kept

    def _open(self, *, force_close: bool) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl, force_close=force_close),
            trace_configs=[_tracing()],
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        # aiohttp sends an idempotent request a second time, unasked, when a kept-alive connection turns out closed.
        session._retry_connection = False
        return session


def _tracing() -> aiohttp.TraceConfig:
    async def connected(_session: object, context: Any, _parameters: object) -> None:
        context.trace_request_ctx.connected = True

    config = aiohttp.TraceConfig()
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(connected)
    config.freeze()
    return config


async def _body(answer: aiohttp.ClientResponse, max_bytes: int | None) -> bytes:
    if max_bytes is None:
        return await answer.read()
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise AnswerTooLarge(f"the answer is larger than {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _headers(answer: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """Without the encoding: aiohttp has undone it, and httpx would try again."""
    return [(name, value) for name, value in answer.raw_headers if name.lower() != b"content-encoding"]


def _translated(error: Exception, *, connected: bool) -> httpx.TransportError:
    message = str(error) or type(error).__name__
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return httpx.ReadTimeout(message) if connected else httpx.ConnectTimeout(message)
    if not connected:
        return httpx.ConnectError(message)
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        return httpx.RemoteProtocolError(message)
    return httpx.ReadError(message)
