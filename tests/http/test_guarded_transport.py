"""A URL from outside reaches public addresses only; a server that counts its connections is the judge."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.carriers.wire import Wire, http, raw_server, sends
from tests.grids import diagonal
from worker.domain.delivery import Ending
from worker.domain.news import Message, Source
from worker.from_settings import open_sender
from worker.http import addresses
from worker.http.addresses import ForbiddenAddress
from worker.http.links import Address, origin_of
from worker.http.transport import AiohttpTransport, Answer, Call
from worker.settings import Settings

ANSWER = http(b"%PDF-")
SECRET = "/labels/s3cret-token"


class Book(AbstractResolver):
    """Answers from a list for each question in turn, the last one for ever."""

    def __init__(self, *answers: list[str], seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked: list[str] = []
        self.closed = False

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        self.asked.append(host)
        await asyncio.sleep(self.seconds)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in found]

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def opened(
    resolver: AbstractResolver | None = None, seconds: float = 5.0, proxy: str | None = None
) -> AsyncIterator[AiohttpTransport]:
    sender = AiohttpTransport(timeout=seconds, resolver=resolver, proxy=proxy)
    try:
        yield sender
    finally:
        await sender.aclose()


async def get(sender: AiohttpTransport, url: str, *, public_only: bool = True, **must: Any) -> Answer:
    address = Address(*origin_of(url), httpx.URL(url).raw_path.decode("ascii"))
    return await sender.send(Call("GET", address, {}, time.monotonic(), 1_000_000, public_only=public_only, **must))


async def refusal(sender: AiohttpTransport, url: str, **must: Any) -> str:
    with pytest.raises(ForbiddenAddress) as caught:
        await get(sender, url, **must)
    assert type(caught.value) is ForbiddenAddress
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


def at(wire: Wire, host: str, scheme: str = "http") -> str:
    return f"{scheme}://{host}:{wire.url.rpartition(':')[2]}{SECRET}?key=s3cret"


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is allowed can be seen to arrive."""
    judge = addresses.is_public
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1" or judge(address))


INSIDE: list[list[str]] = [
    ["127.0.0.1"],
    ["10.0.0.7"],
    ["169.254.169.254"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["fe80::1%lo"],
    ["8.8.8.8", "127.0.0.1"],
    ["127.0.0.1", "8.8.8.8"],
    ["2606:4700::1111", "::1"],
]


@pytest.mark.parametrize(
    ("found", "scheme", "fresh"),
    diagonal({",".join(each): each for each in INSIDE}, ["http", "https"], {"fresh": True, "any": False}),
)
async def test_a_name_that_leads_inside_is_never_connected_to(found: list[str], scheme: str, fresh: bool) -> None:
    async with raw_server(sends(ANSWER)) as wire, opened(Book(found)) as sender:
        told = await refusal(sender, at(wire, "labels.example", scheme), fresh=fresh)
        assert "labels.example is at" in told
        assert wire.connections == 0


def test_a_request_is_shown_without_its_address_and_its_headers() -> None:
    call = Call("GET", Address("https", "labels.example", 443, SECRET), {"x-api-key": "s3cret"}, 0.0, 1)
    assert "s3cret" not in repr(call)


LITERALS = ["127.0.0.1", "127.0.0.1.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::127.0.0.1]"]
LITERALS += ["[::127.0.0.1]", "[::]", "0.0.0.0", "0", "2130706433", "0x7f.1", "0x7f000001", "127.1", "127.0.1"]
LITERALS += ["017700000001", "127。0。0。1", "127.0.0.1..", "[fe80::1%25lo]", "169.254.169.254", "8.8.2056", "0X7F.1"]


@pytest.mark.parametrize(("host", "proxied"), diagonal(LITERALS, {"proxy": True, "direct": False}))
async def test_an_address_inside_is_refused_in_every_way_to_write_it(host: str, proxied: bool) -> None:
    resolver = Book(["8.8.8.8"])
    async with raw_server(sends(ANSWER)) as wire:
        async with opened(resolver, proxy=wire.url if proxied else None) as sender:
            told = await refusal(sender, at(wire, host))
        assert "not a public address" in told
        assert (wire.connections, resolver.asked) == (0, [])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST"])
async def test_the_systems_own_names_lead_inside_too(host: str) -> None:
    async with raw_server(sends(ANSWER)) as wire, opened() as sender:
        assert "localhost" in await refusal(sender, at(wire, host))
        assert wire.connections == 0


async def test_a_request_to_our_own_carrier_is_not_judged() -> None:
    async with raw_server(sends(ANSWER)) as wire, opened(Book(["127.0.0.1"])) as sender:
        for url in (at(wire, "carrier.example"), at(wire, "127.0.0.1")):
            assert (await get(sender, url, public_only=False)).content == b"%PDF-"
        assert wire.connections == 2


async def test_a_connection_kept_for_our_own_carrier_does_not_serve_a_url_from_outside() -> None:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            wire.heads.append(b"GET ")
            writer.write(ANSWER)

    async with raw_server(keep) as wire, opened(Book(["127.0.0.1"])) as sender:
        await get(sender, at(wire, "carrier.example"), public_only=False)
        await refusal(sender, at(wire, "carrier.example"))
        assert len(wire.heads) == 1


@pytest.mark.usefixtures("loopback_is_public")
async def test_a_public_address_is_read() -> None:
    resolver = Book(["127.0.0.1"])
    async with raw_server(sends(ANSWER)) as wire, opened(resolver) as sender:
        for url in (at(wire, "labels.example"), at(wire, "127.0.0.1")):
            answer = await get(sender, url)
            assert (answer.status, answer.content) == (200, b"%PDF-")
        assert (wire.connections, resolver.asked) == (2, ["labels.example"])
        assert b"host: labels.example:" in wire.heads[0].lower()


@pytest.mark.usefixtures("loopback_is_public")
async def test_a_name_is_looked_up_once_and_connected_to_as_it_was_checked() -> None:
    """DNS rebinding: the second answer leads inside. It is asked for only by the second request, which is refused."""
    resolver = Book(["127.0.0.1"], ["::1"])
    async with raw_server(sends(ANSWER)) as wire, opened(resolver) as sender:
        await get(sender, at(wire, "labels.example"))
        assert resolver.asked == ["labels.example"]
        assert "::1" in await refusal(sender, at(wire, "labels.example"))
        assert wire.connections == 1


@pytest.mark.usefixtures("loopback_is_public")
async def test_a_redirect_is_given_back_and_not_followed() -> None:
    async with raw_server(sends(http(b"", "Location: http://127.0.0.1/", status="302 Found"))) as wire:
        async with opened(Book(["127.0.0.1"])) as sender:
            assert (await get(sender, at(wire, "labels.example"))).status == 302
        assert wire.connections == 1


async def test_a_proxy_is_told_only_of_names_that_are_public_and_is_itself_not_judged() -> None:
    resolver = Book(["10.0.0.7"], ["8.8.8.8", "::1"], ["8.8.8.8"])
    async with raw_server(sends(ANSWER)) as wire, opened(resolver, proxy=wire.url) as sender:
        assert "10.0.0.7" in await refusal(sender, f"http://labels.example{SECRET}")
        assert "::1" in await refusal(sender, f"https://labels.example{SECRET}")
        assert wire.connections == 0
        assert (await get(sender, f"http://labels.example{SECRET}")).content == b"%PDF-"
        assert wire.heads[0].startswith(b"GET http://labels.example/labels/")


class NoSuchName(Book):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.mark.parametrize("proxied", [True, False], ids=["proxy", "direct"])
@pytest.mark.parametrize("resolver", [NoSuchName(), Book([])], ids=["unknown", "empty"])
async def test_a_name_that_nobody_knows_is_no_connection_rather_than_forbidden(resolver: Book, proxied: bool) -> None:
    async with raw_server(sends(ANSWER)) as wire:
        async with opened(resolver, proxy=wire.url if proxied else None) as sender:
            with pytest.raises(httpx.ConnectError):
                await get(sender, at(wire, "labels.example"))
        assert wire.connections == 0


@pytest.mark.parametrize("proxied", [True, False], ids=["proxy", "direct"])
async def test_a_look_up_that_takes_too_long_is_within_the_time_limit(proxied: bool) -> None:
    async with raw_server(sends(ANSWER)) as wire:
        async with opened(Book(["8.8.8.8"], seconds=60), 0.2, wire.url if proxied else None) as sender:
            started = time.monotonic()
            with pytest.raises(httpx.ConnectTimeout):
                await get(sender, at(wire, "labels.example"))
            assert time.monotonic() - started < 10
        assert wire.connections == 0


@pytest.mark.parametrize("is_link", [True, False], ids=["link", "webhook"])
async def test_a_name_server_that_never_answers_keeps_nobody_else_from_looking_up_a_name(
    monkeypatch: pytest.MonkeyPatch, is_link: bool
) -> None:
    answers = threading.Event()

    def hangs(*_: Any, **__: Any) -> Any:
        answers.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))  # by which the loop looks up names
    shop = {"kind": "webhook", "url": "http://shop.example/", "private": True, "timeout": 0.1}
    webhook = open_sender(Settings.model_validate({"news": {"shop": shop}}), "shop", lambda: [bytes(24)])
    message = Message("test", "default", "R-1", 1, 1, Source.TRANSITION, 1, datetime.now(UTC))
    try:
        async with opened(None, 0.1) as sender:
            if is_link:
                with pytest.raises(httpx.ConnectTimeout):
                    await get(sender, "https://labels.example/")
            else:
                assert (await webhook.send(message, message.observed_at)).ending is Ending.TIMED_OUT
            await asyncio.wait_for(loop.run_in_executor(None, int), 1)
    finally:
        answers.set()
        await webhook.close()


async def test_a_long_host_is_not_quoted_at_length() -> None:
    async with opened(Book(["10.0.0.7"])) as sender:
        assert len(await refusal(sender, f"https://{'a.' * 5000}example/")) < 400


async def test_a_resolver_is_closed_with_the_transport() -> None:
    resolver = Book(["127.0.0.1"])
    async with opened(resolver) as sender:
        await refusal(sender, "https://labels.example/")
        assert not resolver.closed
    assert resolver.closed


def test_a_refusal_is_a_transport_error_like_every_other() -> None:
    assert issubclass(ForbiddenAddress, httpx.TransportError)
