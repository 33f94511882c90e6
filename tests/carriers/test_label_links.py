"""What a carrier's `label_url` cannot do: make the worker read from inside the network, or give the key away."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.carriers.pilot import TOKEN, Pilot, document, piloting, shipment
from tests.carriers.wire import Wire, http, raw_server, read_request
from worker.carriers.port import LabelUnreachable, RequestOutcome, Throttled
from worker.http.transport import AiohttpTransport

PDF = b"%PDF-1.4 a label"


def shown(url: str) -> dict[str, Any]:
    return {"data": document(shipments=[shipment(label_url=url)])}


class Names(AbstractResolver):
    """Answers names as a test says, as a carrier's own DNS might."""

    def __init__(self, **names: str) -> None:
        self.names = {name.replace("_", "."): address for name, address in names.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.names.get(host)
        if address is None:
            raise OSError(f"no such name: {host}")
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
        ]

    async def close(self) -> None: ...


async def label_at(url: str, *, api: Wire, names: Names, **config: Any) -> tuple[Any, Pilot]:
    """Fetch the label of an order whose carrier, a real server, names `url`."""
    transport = AiohttpTransport(timeout=5.0, resolver=names)
    async with piloting({}, transport=transport, base_url=f"{api.url}/api/v1", **config) as pilot:
        return await pilot.label(), pilot


@pytest.fixture
async def inside() -> AsyncIterator[Wire]:
    """A server that only somebody inside can reach, and that would answer."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        if await read_request(reader, wire):
            writer.write(http(PDF))
            await writer.drain()

    async with raw_server(answer) as wire:
        yield wire


@pytest.fixture
async def carrier() -> AsyncIterator[Wire]:
    """The API: whatever is asked, an order whose label is at `label_url`; redirects and labels of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            path = head.split(b" ", 2)[1].decode()
            if path.startswith("/own/"):
                writer.write(getattr(wire, "own_answer", http(PDF)))
            else:
                body = json.dumps(shown(wire.label_url)).encode()  # type: ignore[attr-defined]
                writer.write(http(body))
            await writer.drain()

    async with raw_server(answer) as wire:
        yield wire


FORBIDDEN = [
    "https://127.0.0.1:{port}/label",
    "https://[::1]:{port}/label",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost:{port}/label",
    "https://10.0.0.7/label",
    "https://[::ffff:127.0.0.1]:{port}/label",
    "https://2130706433:{port}/label",
    "https://0x7f.1:{port}/label",
    "https://127.1:{port}/label",
    "https://0.0.0.0:{port}/label",
    "https://loop.example:{port}/label",
    "https://six.example:{port}/label",
    "https://meta.example/label",
    "https://private.example/label",
]
NOT_HTTPS = [
    "http://labels.example/label",
    "http://127.0.0.1:{port}/label",
    "ftp://labels.example/label",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "//labels.example/label",
    "https://",
    "https:///label",
    "https:labels.example/label",
    "https:/labels.example/label",
    "https://user:password@labels.example/label",
    "https://labels.example:99999999/label",
    "https://exa mple/label",
    "https://\ud83d/label",
    "javascript:alert(1)",
    "https://labels.example/" + "x" * 16384,
]
NAMES = {
    "localhost": "127.0.0.1",
    "loop_example": "127.0.0.1",
    "six_example": "::1",
    "meta_example": "169.254.169.254",
    "private_example": "192.168.1.1",
}


@pytest.mark.parametrize("url", [*FORBIDDEN, *NOT_HTTPS])
async def test_an_address_that_is_not_public_or_not_https_is_never_asked(url: str, carrier: Wire, inside: Wire) -> None:
    carrier.label_url = url.replace("{port}", inside.url.rpartition(":")[2])  # type: ignore[attr-defined]
    with pytest.raises(LabelUnreachable) as caught:
        await label_at(url, api=carrier, names=Names(**NAMES))
    assert inside.connections == 0
    assert "password" not in str(caught.value)
    assert "meta-data" not in str(caught.value)


@pytest.mark.parametrize(
    "place", ["http://{inside}/x", "https://{inside}/x", "https://loop.example:{port}/x", "//{inside}/"]
)
async def test_a_redirect_to_such_an_address_is_not_followed_either(place: str, carrier: Wire, inside: Wire) -> None:
    host = inside.url.removeprefix("http://")
    target = place.replace("{inside}", host).replace("{port}", host.rpartition(":")[2])
    carrier.label_url = f"{carrier.url}/own/label"  # type: ignore[attr-defined]
    carrier.own_answer = http(b"", f"Location: {target}", status="302 Found")  # type: ignore[attr-defined]
    with pytest.raises(LabelUnreachable):
        await label_at("", api=carrier, names=Names(**NAMES))
    assert inside.connections == 0


async def test_the_apis_own_origin_may_be_private_and_gets_the_token(carrier: Wire) -> None:
    carrier.label_url = f"{carrier.url}/own/label"  # type: ignore[attr-defined]
    label, pilot = await label_at("", api=carrier, names=Names())
    assert label.content == PDF
    assert TOKEN.encode() in carrier.heads[-1]
    assert [operation for operation, _ in pilot.observed] == ["label", "label"]


async def test_a_trusted_host_may_be_private_and_gets_no_token(carrier: Wire, inside: Wire) -> None:
    port = inside.url.rpartition(":")[2]
    carrier.label_url = f"http://labels.internal:{port}/label"  # type: ignore[attr-defined]
    names = Names(labels_internal="127.0.0.1")
    label, _ = await label_at("", api=carrier, names=names, label_hosts=("labels.internal",))
    assert label.content == PDF
    assert TOKEN.encode() not in inside.heads[0]
    assert b"authorization" not in inside.heads[0].lower()


async def test_a_redirect_away_from_the_own_origin_leaves_the_token_behind(carrier: Wire, inside: Wire) -> None:
    port = inside.url.rpartition(":")[2]
    carrier.label_url = f"{carrier.url}/own/label"  # type: ignore[attr-defined]
    place = f"http://labels.internal:{port}/label"
    carrier.own_answer = http(b"", f"Location: {place}", status="302 Found")  # type: ignore[attr-defined]
    names = Names(labels_internal="127.0.0.1")
    label, _ = await label_at("", api=carrier, names=names, label_hosts=("labels.internal",))
    assert label.content == PDF
    assert TOKEN.encode() not in inside.heads[0]


@pytest.mark.parametrize("url", ["http://labels.example/label", "ftp://labels.example/label"])
async def test_a_public_host_is_asked_by_https_only(url: str) -> None:
    async with piloting(shown(url), httpx.Response(200, content=PDF)) as pilot:
        with pytest.raises(LabelUnreachable):
            await pilot.label()
    assert len(pilot.requests) == 1


def answering(*answers: Any) -> Any:
    return piloting(shown("https://labels.example/label/s3cret"), *answers)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 503])
async def test_a_dead_link_elsewhere_is_a_label_problem_and_never_the_accounts(status: int) -> None:
    async with answering(httpx.Response(status, headers={"Retry-After": "9"})) as pilot:
        with pytest.raises(LabelUnreachable) as caught:
            await pilot.label()
    assert f"labels.example answered {status}" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert pilot.observed[-1] == ("label", RequestOutcome.SERVER_ERROR if status >= 500 else RequestOutcome.REFUSED)
    assert "authorization" not in pilot.requests[-1].headers


@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.ReadError("x")])
async def test_a_host_that_gives_no_answer_is_a_label_problem_too(error: Exception) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    async with answering(fail) as pilot:
        with pytest.raises(LabelUnreachable):
            await pilot.label()


async def test_redirects_without_end_are_left(carrier: Wire) -> None:
    loop = httpx.Response(302, headers={"Location": "https://labels.example/again"})
    async with answering(loop) as pilot:
        with pytest.raises(LabelUnreachable):
            await pilot.label()
    assert len(pilot.requests) == 5


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("429 Too Many Requests", Throttled),
        ("401 Unauthorized", LabelUnreachable),  # the order was shown for the same key a moment ago
        ("403 Forbidden", LabelUnreachable),  # such as a signature that has expired
        ("404 Not Found", LabelUnreachable),
    ],
)
async def test_of_the_own_origins_refusals_only_too_many_is_the_accounts(
    carrier: Wire, status: str, error: type
) -> None:
    carrier.label_url = f"{carrier.url}/own/label"  # type: ignore[attr-defined]
    carrier.own_answer = http(b"", status=status)  # type: ignore[attr-defined]
    with pytest.raises(error):
        await label_at("", api=carrier, names=Names())


async def test_a_label_is_read_up_to_its_limit_and_no_further(carrier: Wire) -> None:
    carrier.label_url = f"{carrier.url}/own/label"  # type: ignore[attr-defined]
    carrier.own_answer = http(b"%PDF-" + b"x" * 5000)  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="larger than 1000 bytes"):
        await label_at("", api=carrier, names=Names(), max_label_bytes=1000)
