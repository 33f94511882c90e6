"""What can be put on the wire in answer to one request, healthy or broken, and the code that puts it there."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web

_FLOOD_PIECE = b" " * 65536  # white space: the start of an answer that a JSON parser would go on reading


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete HTTP answer; `headers` holds its Content-Type, never its Content-Length."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is closed without a single byte of answer."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing is ever answered; it ends when the client goes away or the simulator stops."""


@dataclass(frozen=True, slots=True)
class Flood:
    """200 with `byte_count` bytes of white space, streamed without a Content-Length."""

    byte_count: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """The carrier's true answer announced in full, half of it sent, then the connection cut."""

    reply: Reply | None = None  # filled in once the carrier has answered


@dataclass(frozen=True, slots=True)
class Trickle:
    """The carrier's true answer, its body one byte every `seconds_per_byte` seconds."""

    seconds_per_byte: float
    reply: Reply | None = None  # filled in once the carrier has answered


@dataclass(frozen=True, slots=True)
class Changed:
    """The carrier's true answer, changed on its way; what is no whole answer stays what it is."""

    change: Callable[[Reply], Reply]


Delivery = Reply | Cut | Hang | Flood | Truncated | Trickle | Changed


def json_reply(document: object, status: int = 200, content_type: str = "application/json") -> Reply:
    """`document` as a JSON answer."""
    return Reply(status, json.dumps(document).encode(), {"Content-Type": content_type})


def problem(status: int, title: str, errors: Mapping[str, list[str]] | None = None) -> Reply:
    """An RFC 9457 problem as ASP.NET shapes it; `errors` names each bad field by its path."""
    document: dict[str, object] = {"type": "about:blank", "title": title, "status": status}
    if errors:
        document["errors"] = dict(errors)
    return json_reply(document, status, "application/problem+json")


def shaped(fault: Delivery, answer: Delivery | None) -> Delivery:
    """What is sent when `fault` is to hit and the carrier itself would have given `answer`.

    A fault that spoils the true answer (truncated, trickle) needs a whole one: where the carrier cuts the
    connection of its own accord, that stands.
    """
    if isinstance(fault, Changed):
        return fault.change(answer) if isinstance(answer, Reply) else answer or Cut()
    if isinstance(fault, Truncated | Trickle) and fault.reply is None:
        if isinstance(answer, Reply):
            return replace(fault, reply=answer)
        return answer if answer is not None else Cut()
    return fault


def with_headers(delivery: Delivery, headers: Mapping[str, str]) -> Delivery:
    """`delivery` with `headers` too, wherever it sends a reply; the reply's own win."""
    match delivery:
        case Reply():
            return _reply_with(delivery, headers)
        case Truncated(reply=Reply() as reply) | Trickle(reply=Reply() as reply):
            return replace(delivery, reply=_reply_with(reply, headers))
        case _:
            return delivery


def _reply_with(reply: Reply, headers: Mapping[str, str]) -> Reply:
    own = {name.lower() for name in reply.headers}
    added = {name: value for name, value in headers.items() if name.lower() not in own}
    return replace(reply, headers={**added, **reply.headers})


def status_of(delivery: Delivery) -> int | None:
    """The HTTP status that the client will see; None when it sees no answer."""
    match delivery:
        case Reply(status=status):
            return status
        case Truncated(reply=Reply(status=status)) | Trickle(reply=Reply(status=status)):
            return status
        case Flood():
            return 200
        case _:
            return None


async def deliver(request: web.BaseRequest, delivery: Delivery) -> web.StreamResponse:
    """Send `delivery`; returns when it is sent, and is cancelled when the client or the simulator ends it."""
    try:
        match delivery:
            case Reply(status=status, body=body, headers=headers):
                return web.Response(status=status, body=body, headers=headers)
            case Flood(byte_count=byte_count):
                return await _flood(request, byte_count)
            case Truncated(reply=Reply() as reply):
                return await _truncate(request, reply)
            case Trickle(seconds_per_byte=pause, reply=Reply() as reply):
                return await _trickle(request, reply, pause)
            case Hang():
                await asyncio.get_running_loop().create_future()  # the lost connection cancels this handler
    except ConnectionError:
        pass  # the client had enough, or the simulator stops: nothing is left to send
    return _cut(request)


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # aiohttp wants one; there is nowhere left to send it


async def _flood(request: web.BaseRequest, byte_count: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    left = byte_count
    while left > 0:
        await response.write(_FLOOD_PIECE[:left])
        left -= len(_FLOOD_PIECE)
        await asyncio.sleep(0)  # a fast reader must not keep the loop from everyone else
    await response.write_eof()
    return response


async def _truncate(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = _started(reply, max(1, len(reply.body)))
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()  # unlike abort(), sends what is written first
    return response


async def _trickle(request: web.BaseRequest, reply: Reply, pause: float) -> web.StreamResponse:
    response = _started(reply, len(reply.body))
    await response.prepare(request)
    for position in range(len(reply.body)):
        await response.write(reply.body[position : position + 1])
        await asyncio.sleep(pause)
    await response.write_eof()
    return response


def _started(reply: Reply, content_length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = content_length
    return response
