"""httpx's transport interface over aiohttp: the one place that knows how bytes reach a carrier.

httpx's own connection pool costs CPU in proportion to the square of its open connections (encode/httpcore#1000), so its
API is used and its pool is not. Nothing here retries, follows a redirect, or keeps cookies.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from yarl import URL

from worker.carriers.addresses import PublicResolver, check_host, is_numeric

MAX_BYTES = "max_bytes"
"""Request extension: the largest body to accept, in bytes."""

FRESH = "fresh"
"""Request extension: true for a connection that no earlier request has used."""

STARTED = "started"
"""Request extension: when, by `time.monotonic`, the time limit began to run, if that was before this request."""

LAST_CHECK = "last_check"
"""Request extension: called once the connection is up, before the first byte of the request leaves; may raise."""

PUBLIC_ONLY = "public_only"
"""Request extension: true for a URL from outside, which may lead to public addresses only; see `ForbiddenAddress`."""


class AnswerTooLarge(httpx.TransportError):
    """The body is larger than the request allowed."""


@dataclass(slots=True)
class _Progress:
    """How far a request got: once `connected`, the carrier may have seen it."""

    connected: bool = field(default=False)
    last_check: Callable[[], None] | None = None


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests of one account; raises httpx's exceptions.

    `httpx.ConnectError`, `ConnectTimeout`, `ProxyError` and `ForbiddenAddress` mean that no byte of the request
    left; everything else may have reached the carrier.
    """

    def __init__(
        self,
        *,
        timeout: float,
        proxy: str | None = None,
        ca_file: str | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """`timeout` is in seconds for one request, all in all; `ca_file` adds to the trusted authorities.

        `resolver` looks up every host name, aiohttp's own when None; it is closed with the transport.
        """
        self._seconds = timeout
        self._proxy = proxy
        self._ssl = ssl.create_default_context()
        if ca_file is not None:
            self._ssl.load_verify_locations(cafile=ca_file)
        self._kept: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        self._guarded: aiohttp.ClientSession | None = None
        self._resolver = resolver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` and read the whole answer."""
        guarded = bool(request.extensions.get(PUBLIC_ONLY))
        session = self._session(fresh=bool(request.extensions.get(FRESH)), guarded=guarded)
        started = request.extensions.get(STARTED, time.monotonic())
        progress = _Progress(last_check=request.extensions.get(LAST_CHECK))
        try:
            url = URL(str(request.url))  # parsed once: what is checked is what is connected to
            if guarded:
                await self._check(url, started)
            left = self._left(started)
            async with session.request(
                request.method,
                url,
                data=request.content or None,
                headers=list(request.headers.multi_items()),
                allow_redirects=False,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=left, sock_connect=left, sock_read=left),
                trace_request_ctx=progress,
            ) as answer:
                content = await _body(answer, request.extensions.get(MAX_BYTES))
                return httpx.Response(answer.status, headers=_headers(answer), content=content, request=request)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _translated(error, connected=progress.connected) from error

    async def aclose(self) -> None:
        """Close every connection."""
        for session in (self._kept, self._fresh, self._guarded):
            if session is not None:
                await session.close()
        if self._resolver is not None:
            await self._resolver.close()

    def _left(self, started: float) -> float:
        return max(self._seconds - (time.monotonic() - started), 0.001)  # aiohttp takes 0 for no limit

    async def _check(self, url: URL, started: float) -> None:
        """Refuse a URL whose address can be known beforehand; for a direct connection to a name that is later."""
        host = url.raw_host or ""
        if is_numeric(host):  # aiohttp asks no resolver about these
            check_host(host, host)
        elif self._proxy is not None:
            # The proxy looks the name up once more, and an answer that changes in between is the proxy's to refuse.
            async with asyncio.timeout(self._left(started)):
                await self._public_resolver().resolve(host, url.port or 0)

    def _session(self, *, fresh: bool, guarded: bool) -> aiohttp.ClientSession:
        if guarded and self._proxy is None:
            # Documents from elsewhere are rare, and a connection of its own serves a request that asks for a fresh one.
            resolver = self._public_resolver()
            self._guarded = self._guarded or self._open(force_close=True, resolver=resolver, use_dns_cache=False)
            return self._guarded
        if fresh:
            self._fresh = self._fresh or self._open(force_close=True, resolver=self._resolver)
            return self._fresh
        self._kept = self._kept or self._open(force_close=False, resolver=self._resolver)
        return self._kept

    def _public_resolver(self) -> PublicResolver:
        self._resolver = self._resolver or aiohttp.DefaultResolver()
        return PublicResolver(self._resolver)

    def _open(
        self, *, force_close: bool, resolver: AbstractResolver | None, use_dns_cache: bool = True
    ) -> aiohttp.ClientSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._ssl, force_close=force_close, resolver=resolver, use_dns_cache=use_dns_cache
            ),
            trace_configs=[_tracing()],
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        # aiohttp sends an idempotent request a second time, unasked, when a kept-alive connection turns out closed.
        session._retry_connection = False
        return session


def _tracing() -> aiohttp.TraceConfig:
    async def connected(_session: object, context: Any, _parameters: object) -> None:
        if context.trace_request_ctx.last_check is not None:
            context.trace_request_ctx.last_check()
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
