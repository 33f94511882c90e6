"""Requests over aiohttp, with httpx's errors: the one place that knows how bytes go out and come in.

httpx's own connection pool costs CPU in proportion to the square of its open connections (encode/httpcore#1000), so its
pool is not used; nor is its response, which costs a quarter of the whole request to build. Nothing here retries,
follows a redirect, or keeps cookies.
"""

import asyncio
import math
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from yarl import URL

from worker.domain.masking import said_by
from worker.domain.public_addresses import is_numeric
from worker.http.addresses import OF_LINKS, LookUps, PublicResolver, require_public
from worker.http.connections import PARSER_LIMIT, Connector, HeadTooLarge, Progress, progress_of_request
from worker.http.links import DEFAULT_PORTS, Address

_QUOTATION = re.compile(r"[:\n]|\sb?['\"]")
"""Behind it aiohttp's parser, which has said what is wrong, quotes what it read."""

# Of an idle connection; one that the server closes earlier is seen to be closed before it is used.
_KEPT_SECONDS = 15.0


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One request as it goes out, and what it must keep to; never shown, since address and headers may be secrets."""

    method: str
    address: Address  # its target is sent as it is, letter for letter
    headers: Mapping[str, str]  # but for Host, which is the address's
    started: float  # when, by `time.monotonic`, its time limit began to run
    max_bytes: int  # the largest body to accept, or of a `cut` one the most to read
    content: bytes | None = None  # the body to send
    fresh: bool = False  # on a connection that has answered nothing yet, where no late answer can arrive
    public_only: bool = False  # to public addresses only, since its address is from outside; see `ForbiddenAddress`
    cut: bool = False  # what of a body is beyond `max_bytes` is left where it is: the status is what was asked for
    last_check: Callable[[], None] | None = None  # called once it is connected, before the first byte; may raise


class Answer(NamedTuple):
    """What came back: headers and the whole body, both as they were sent."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    content: bytes


class Transport(Protocol):
    """Sends requests; raises httpx's exceptions."""

    async def send(self, call: Call) -> Answer:
        """Send it once and read the whole answer."""

    async def aclose(self) -> None:
        """Close every connection."""


class AnswerTooLarge(httpx.TransportError):
    """The body is larger than the request allowed, or the headers than `connections.MAX_HEAD_BYTES`."""


class AiohttpTransport:
    """Sends requests, all within one time limit, by one proxy and one trust; raises httpx's exceptions.

    `httpx.ConnectError`, `ConnectTimeout`, `ProxyError` and `ForbiddenAddress` mean that no byte of the request
    left; everything else may have reached the server.
    """

    def __init__(
        self,
        *,
        timeout: float,
        proxy: str | None = None,
        ca_file: str | None = None,
        resolver: AbstractResolver | None = None,
        looks_up_apart: bool = False,
    ) -> None:
        """`timeout` is in seconds for one request, all in all; `ca_file` adds to the trusted authorities.

        `resolver` looks up every host name, and is closed with the transport. None: `OF_LINKS` does where an address
        must be public, else aiohttp's own; with `looks_up_apart` some `LookUps` of this transport do for all.
        """
        self._seconds = timeout
        self._proxy = proxy
        # To read the system's authorities takes 0.1 s each time: aiohttp has read them already, once for everybody.
        self._ssl: ssl.SSLContext | bool = True
        if ca_file is not None:
            self._ssl = ssl.create_default_context()
            self._ssl.load_verify_locations(cafile=ca_file)
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._resolver = resolver or (LookUps() if looks_up_apart else None)

    async def send(self, call: Call) -> Answer:
        """Send it once and read the whole answer."""
        session = self._session(fresh=call.fresh, guarded=call.public_only)
        progress = Progress(call.last_check)
        progress_of_request.set(progress)
        try:
            if call.public_only:
                await self._check(call.address, call.started)
            origin, authority = _origin(*call.address.origin)
            async with session.request(
                call.method,
                # Path and query are one to yarl, which would spell a query another way, and lose an empty one.
                origin.with_path(call.address.target, encoded=True),
                data=call.content,
                # Without the last one aiohttp would ask for compression, which no answer of ours is worth. Telling it
                # to leave a header out takes it longer than any header.
                headers={**call.headers, "Host": authority, "Accept-Encoding": "identity"},
                allow_redirects=False,
                proxy=self._proxy,
                # One limit for everything; rounded up to whole seconds it could outlive a lease.
                timeout=aiohttp.ClientTimeout(total=self._left(call.started), ceil_threshold=math.inf),
            ) as answer:
                return Answer(answer.status, answer.raw_headers, await _body(answer, call.max_bytes, cut=call.cut))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _translated(error, connected=progress.connected) from error

    async def aclose(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()
        if self._resolver is not None:
            await self._resolver.close()

    def _left(self, started: float) -> float:
        return max(self._seconds - (time.monotonic() - started), 0.001)  # aiohttp takes 0 for no limit

    async def _check(self, address: Address, started: float) -> None:
        """Refuse one of which it can be known beforehand; for a direct connection to a name that is later."""
        if is_numeric(address.host):  # aiohttp asks no resolver about these
            require_public(address.host, address.host)
        elif self._proxy is not None:
            # The proxy looks the name up once more, and an answer that changes in between is the proxy's to refuse.
            async with asyncio.timeout(self._left(started)):
                await self._public_resolver().resolve(address.host, address.port)

    def _session(self, *, fresh: bool, guarded: bool) -> aiohttp.ClientSession:
        # What is asked of a public address is rare, and asks for a connection of its own.
        kind = "guarded" if guarded and self._proxy is None else "fresh" if fresh else "kept"
        if kind not in self._sessions:
            self._sessions[kind] = self._open(kind)
        return self._sessions[kind]

    def _public_resolver(self) -> PublicResolver:
        return PublicResolver(self._resolver or OF_LINKS)

    def _open(self, kind: str) -> aiohttp.ClientSession:
        # What a promise rests on is said here, also where it is the library's default today.
        session = aiohttp.ClientSession(
            connector=Connector(
                limit=0,
                ssl=self._ssl,
                force_close=kind != "kept",
                resolver=self._public_resolver() if kind == "guarded" else self._resolver,
                use_dns_cache=kind != "guarded",
                keepalive_timeout=_KEPT_SECONDS if kind == "kept" else None,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,  # no proxy but what was said, and no .netrc
            auto_decompress=False,  # bodies.py: within our bounds, and what it really is
            max_line_size=PARSER_LIMIT,
            max_field_size=PARSER_LIMIT,
            max_headers=PARSER_LIMIT,
        )
        # aiohttp sends an idempotent request a second time, unasked, when a kept-alive connection turns out closed.
        session._retry_connection = False
        return session


@lru_cache(maxsize=64)
def _origin(scheme: str, host: str, port: int) -> tuple[URL, str]:
    """The origin as aiohttp takes it, and what the header Host says of it (RFC 9110, 7.2)."""
    named = f"[{host}]" if ":" in host else host
    authority = named if port == DEFAULT_PORTS.get(scheme) else f"{named}:{port}"
    return URL(f"{scheme}://{authority}"), authority


async def _body(answer: aiohttp.ClientResponse, max_bytes: int, *, cut: bool) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            if cut:
                answer.close()
                break
            raise AnswerTooLarge(f"the answer is larger than {max_bytes} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _said(error: Exception) -> str:
    """What went wrong, without what aiohttp quotes there: the address asked for, one led to, or half an answer."""
    match error:
        case TimeoutError():
            return "the time was over"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered {error.status}"
        case aiohttp.ClientResponseError():
            return _QUOTATION.split(error.message, maxsplit=1)[0]
        case aiohttp.ClientPayloadError():
            return _QUOTATION.split(str(error), maxsplit=1)[0]
        case aiohttp.InvalidURL():
            return "the address is none"
        case aiohttp.ServerDisconnectedError():
            return "the server closed it"
        case aiohttp.ClientConnectorCertificateError():
            return said_by(f"{error.host}:{error.port}: {error.certificate_error}")
        case aiohttp.ClientConnectorError():
            return said_by(f"{error.host}:{error.port}: {_why(error.os_error)}")
    return said_by(error)


def _why(error: OSError) -> str:
    """Why there is no connection; aiohttp says "ssl:default" of plain HTTP too, asyncio only that the call failed."""
    if error.errno is not None and (error.strerror or "").startswith("Connect call failed"):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def _translated(error: Exception, *, connected: bool) -> httpx.TransportError:
    message = _said(error)
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout(message) if connected else httpx.ConnectTimeout(message)
    if not connected:
        return httpx.ConnectError(message)
    if isinstance(error, HeadTooLarge):
        return AnswerTooLarge(message)
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError)):
        return httpx.RemoteProtocolError(message)
    return httpx.ReadError(message)
