"""What an endpoint is sent, and what each way to answer comes to; the specification's own library judges signatures."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.carriers.wire import Wire, http, raw_server, sends
from worker.domain.delivery import Answered, AskedToWait, Delivered, Ending, Gone, Undelivered
from worker.domain.news import Message, Source
from worker.http.links import NotAnAddress
from worker.http.transport import AiohttpTransport
from worker.news.body import MAX_BYTES, body_of
from worker.news.sender import Sender
from worker.news.signing import signed

ONE, OTHER = bytes(range(24)), bytes(range(64))
AT = datetime(2026, 11, 26, 12, 0, 0, 123456, UTC)
MESSAGE = Message(
    "tracking_status.in_transit",
    "default",
    "R-1001",
    7,
    3,
    Source.TRANSITION,
    42,
    AT,
    carrier_ref="N1",
    carrier_status="OnItsWay",
    carrier_time=AT - timedelta(hours=1),
    old_value="pre_transit",
    new_value="in_transit",
)


@asynccontextmanager
async def sending(
    url: str, keys: Sequence[bytes] = (ONE,), seconds: float = 5.0, *, private: bool = True
) -> AsyncIterator[Sender]:
    sender = Sender(url, AiohttpTransport(timeout=seconds), lambda: keys, private=private)
    try:
        yield sender
    finally:
        await sender.close()


async def answered(answer: bytes, **how: Any) -> tuple[Answered, Wire]:
    async with raw_server(sends(answer)) as wire, sending(f"{wire.url}/news?key=s3cret", **how) as sender:
        return await sender.send(MESSAGE, AT), wire


def verified(key: bytes, content: bytes, headers: dict[str, str]) -> Any:
    return Webhook("whsec_" + base64.b64encode(key).decode()).verify(content, headers)


def test_each_key_of_a_rotation_is_enough_to_verify_what_was_signed_by_all() -> None:
    content = body_of(MESSAGE)
    headers = dict(signed(MESSAGE.id, content, [OTHER, ONE], datetime.now(UTC)))
    for key in (ONE, OTHER):
        assert verified(key, content, headers) == json.loads(content)
    for wrong in (content + b" ", content.replace(b"1001", b"1002")):
        with pytest.raises(WebhookVerificationError):
            verified(ONE, wrong, headers)
    with pytest.raises(WebhookVerificationError):
        verified(bytes(24), content, headers)


def test_each_try_has_the_same_bytes_and_the_same_id_and_a_restored_number_has_another() -> None:
    assert body_of(MESSAGE) == body_of(replace(MESSAGE))
    assert MESSAGE.id == "transition-42-1795694400123456"
    assert replace(MESSAGE, observed_at=AT + timedelta(microseconds=1)).id != MESSAGE.id
    assert json.loads(body_of(MESSAGE)) == {
        "type": "tracking_status.in_transit",
        "timestamp": "2026-11-26T12:00:00.123456Z",
        "data": {
            "account": "default",
            "reference": "R-1001",
            "carrier_ref": "N1",
            "carrier_status": "OnItsWay",
            "carrier_time": "2026-11-26T11:00:00.123456Z",
            "old": "pre_transit",
            "new": "in_transit",
            "reason": None,
            "position": 3,
        },
    }


@pytest.mark.parametrize("char", ["x", "\x01", "é", "💩", '"'])
def test_a_body_is_never_too_large_whatever_a_carrier_s_word_is(char: str) -> None:
    long = char * 100_000
    texts = dict.fromkeys(("account", "carrier_ref", "carrier_status", "old_value", "new_value", "reason"), long)
    content = body_of(replace(MESSAGE, reference=long, **texts))
    assert len(content) < MAX_BYTES
    assert json.loads(content)["data"]["reference"].startswith(char * 400)


async def test_what_arrives_is_verified_by_the_library_of_the_specification() -> None:
    got: list[tuple[bytes, bytes]] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.append((head, await reader.readexactly(len(body_of(MESSAGE)))))
        writer.write(http(b""))

    now = datetime.now(UTC)
    async with raw_server(receive) as wire, sending(f"{wire.url}/a%2Fb?q=1", [OTHER, ONE]) as sender:
        assert await sender.send(MESSAGE, now) == Delivered()
    head, body = got[0]
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%2Fb?q=1 HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert verified(ONE, body, headers)["type"] == MESSAGE.type
    assert headers["webhook-id"] == MESSAGE.id and headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert headers["content-type"] == "application/json"


CASES = {
    "200": (http(b"fine"), Delivered()),
    "204": (http(b"", status="204 No Content"), Delivered()),
    "not UTF-8": (http(b"\xff\xfe\x00"), Delivered()),
    "410": (http(b"", status="410 Gone"), Gone()),
    "429": (http(b"", "Retry-After: 7", status="429 Too Many"), AskedToWait(timedelta(seconds=7), "")),
    "429 without": (http(b"", status="429 Too Many"), AskedToWait(None, "")),
    "503 with": (http(b"", "Retry-After: 9", status="503 Busy"), AskedToWait(timedelta(seconds=9), "")),
    "503 without": (http(b"", status="503 Busy"), Ending.SERVER_ERROR),
    "500": (http(b"", status="500 No"), Ending.SERVER_ERROR),
    "404": (http(b"", status="404 No"), Ending.REFUSED),
    "redirect": (http(b"", "Location: http://169.254.169.254/", status="307 There"), Ending.REDIRECTED),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", Ending.UNINTELLIGIBLE),
    "nothing": (b"", Ending.UNREACHABLE),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_answer_says_what_follows_and_no_redirect_is_followed(case: str) -> None:
    answer, expected = CASES[case]
    came, wire = await answered(answer)
    assert wire.connections == 1
    match expected:
        case Ending():
            assert isinstance(came, Undelivered) and came.ending is expected
        case AskedToWait(wait):
            assert isinstance(came, AskedToWait) and came.wait == wait
        case _:
            assert came == expected
    assert "s3cret" not in str(came)


async def test_an_answer_without_end_costs_64_kb_and_its_status_counts() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    async with raw_server(flood) as wire, sending(wire.url) as sender:
        assert await sender.send(MESSAGE, AT) == Delivered()
    assert sent < 20_000_000  # what the buffers of the kernel take


async def test_an_answer_that_drips_for_ever_ends_with_the_time_limit() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async with raw_server(drip) as wire, sending(wire.url, seconds=0.2) as sender:
        began = time.monotonic()
        came = await sender.send(MESSAGE, AT)
        assert isinstance(came, Undelivered) and came.ending is Ending.TIMED_OUT
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_only_a_private_endpoint_may_be_at_an_address_inside(host: str) -> None:
    async with raw_server(sends(http(b""))) as wire:
        url = f"http://{host}:{wire.url.rpartition(':')[2]}/"
        async with sending(url, private=False) as sender:
            came = await sender.send(MESSAGE, AT)
        assert isinstance(came, Undelivered) and came.ending is Ending.FORBIDDEN_ADDRESS
        assert wire.connections == 0


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await answered(http(b"")))[0] == Delivered()


async def test_nothing_is_sent_without_a_secret_and_what_a_check_raises_goes_through() -> None:
    class Over(Exception):
        pass

    def check() -> None:
        raise Over

    async with raw_server(sends(http(b""))) as wire, sending(wire.url) as sender:
        with pytest.raises(Over):
            await sender.send(MESSAGE, AT, check)
        assert wire.heads == []
    async with raw_server(sends(http(b""))) as wire, sending(wire.url, ()) as sender:
        came = await sender.send(MESSAGE, AT)
        assert isinstance(came, Undelivered) and came.ending is Ending.NOT_SENT
        assert wire.connections == 0


async def test_an_endpoint_that_is_not_there_is_unreachable() -> None:
    async with sending("http://127.0.0.1:1/news?key=s3cret") as sender:
        came = await sender.send(MESSAGE, AT)
    assert isinstance(came, Undelivered) and came.ending is Ending.UNREACHABLE
    assert came.message == "the endpoint cannot be reached: 127.0.0.1:1: Connection refused"


def test_an_address_with_a_user_is_none() -> None:
    with pytest.raises(NotAnAddress):
        Sender("https://user:pass@example.org/", AiohttpTransport(timeout=1), lambda: (ONE,))
