"""What can be put on the wire in answer to one request, healthy or broken, and the code that puts it there."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from aiohttp import web
from aiohttp.http import RESPONSES

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
class Spoiled:
    """The carrier's true answer, sent by `send` in another way than answers are."""

    send: Callable[[web.BaseRequest, Reply], Awaitable[web.StreamResponse]]
    reply: Reply | None = None  # filled in once the carrier has answered


@dataclass(frozen=True, slots=True)
class Altered:
    """The carrier's true answer, changed by `alter`."""

    alter: Callable[[Reply], Reply]


Delivery = Reply | Cut | Hang | Flood | Spoiled | Altered


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

    A fault that spoils or alters the true answer needs a whole one: where the carrier cuts the connection of its own
    accord, that stands.
    """
    match fault:
        case Spoiled(reply=None) if isinstance(answer, Reply):
            return replace(fault, reply=answer)
        case Altered(alter=alter) if isinstance(answer, Reply):
            return alter(answer)
        case Spoiled(reply=None) | Altered():
            return answer if answer is not None else Cut()
    return fault


def with_headers(delivery: Delivery, headers: Mapping[str, str]) -> Delivery:
    """`delivery` with `headers` too, where it sends a reply; the reply's own win."""
    match delivery:
        case Reply():
            return _reply_with(delivery, headers)
        case Spoiled(reply=Reply() as reply):
            return replace(delivery, reply=_reply_with(reply, headers))
    return delivery


def _reply_with(reply: Reply, headers: Mapping[str, str]) -> Reply:
    own = {name.lower() for name in reply.headers}
    added = {name: value for name, value in headers.items() if name.lower() not in own}
    return replace(reply, headers={**added, **reply.headers})


def status_of(delivery: Delivery) -> int | None:
    """The HTTP status that the client will see; None when it sees no answer."""
    match delivery:
        case Reply(status=status) | Spoiled(reply=Reply(status=status)):
            return status
        case Flood():
            return 200
    return None


async def deliver(request: web.BaseRequest, delivery: Delivery) -> web.StreamResponse:
    """Send `delivery`; returns when it is sent, and is cancelled when the client or the simulator ends it."""
    try:
        match delivery:
            case Reply(status=status, body=body, headers=headers):
                return web.Response(status=status, body=body, headers=headers)
            case Flood(byte_count=byte_count):
                return await _flood(request, byte_count)
            case Spoiled(send=send, reply=Reply() as reply):
                return await send(request, reply)
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
        await asyncio.sleep(0)  # a fast reader must not keep the event loop from everyone else
    await response.write_eof()
    return response


async def send_half(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Announce the whole answer, send half of it, cut the connection."""
    response = await _started(request, reply, max(1, len(reply.body)))
    await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()  # unlike abort(), sends what is written first
    return response


async def send_slowly(request: web.BaseRequest, reply: Reply, pause: float) -> web.StreamResponse:
    """Send the body one byte every `pause` seconds."""
    response = await _started(request, reply, len(reply.body))
    for position in range(len(reply.body)):
        await response.write(reply.body[position : position + 1])
        await asyncio.sleep(pause)
    await response.write_eof()
    return response


async def send_twice(request: web.BaseRequest, reply: Reply, pause: float) -> web.StreamResponse:
    """Send the answer, and after `pause` seconds the same once more, which was not asked for."""
    response = await _started(request, reply, len(reply.body))
    await response.write(reply.body)
    await response.write_eof()
    await asyncio.sleep(pause)
    lines = [f"HTTP/1.1 {reply.status} {RESPONSES.get(reply.status, ('',))[0]}"]
    lines += [f"{name}: {value}" for name, value in {**reply.headers, "Content-Length": len(reply.body)}.items()]
    if request.transport is not None:
        request.transport.write("\r\n".join((*lines, "", "")).encode() + reply.body)
    return response


async def _started(request: web.BaseRequest, reply: Reply, content_length: int) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = content_length
    await response.prepare(request)
    return response
