"""A label's address reaches the wire as the carrier wrote it: a signature is made over its bytes, not its meaning."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.carriers.pilot import Pilot, document, piloting, shipment
from tests.carriers.test_label_links import PDF, Names, shown
from tests.carriers.wire import Wire, http, raw_server, read_request
from tests.process.test_network import CARRIER, pass_on, private_authority
from worker.carriers.port import LabelUnreachable, Unavailable
from worker.http.transport import AiohttpTransport

SIGNED = [
    "/label.pdf?X-Amz-Credential=AKIA%2F20261126%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-SignedHeaders=host%3Brange",
    "/label%20%28copy%29.pdf?AWSAccessKeyId=AKIA&Signature=qZ0A%2Bns%2FPP2g%3D&Expires=1731123498",
    "/labels/1.pdf?sv=2022-11-02&st=2026-11-26T06%3A41%3A03Z&sig=q%2Bx%2Fy%3D&rscd=a%3B%20filename%3D%22a.pdf%22",
    "/labels/1.pdf?X-Goog-Credential=labels%40shop.iam.gserviceaccount.com%2F20261126%2Fauto%2Fstorage%2Fgoog4_request",
    "/label.pdf?Policy=eyJTdGF0-_~&Signature=a~b-c_&Key-Pair-Id=K2",
    "/lower%2fcase%3f?sig=%2b%3d%7e%25",
    "/%7Euser/~user/%41%2E?%7E=~&%41=A",
    "/a//b///c.pdf?x=//&y=http://z/",
    "/plus+sign?a+b=c%20d%2B",
    "/no-query?",
    "/?",
    "/a?b?c=d&&=&",
    "/1./2../...?.=..",
    "/%2e%2E/x/%2e?..%2F",
    "/a:b@c;d=e,f/(g)!$'*?h@i:j'k()",
    "/%zz%?%&%2",
    '/"<>\\^`{|}[]?"<>\\^`{|}[]',
]
MENDED = {
    "?x=%40": "/?x=%40",
    "": "/",
    "/a%40?b=%2F#c%2F?d": "/a%40?b=%2F",
    "/#?x": "/",
    "/Étiquette 1.pdf?nom=ü%20 x": "/%C3%89tiquette%201.pdf?nom=%C3%BC%20%20x",
    "/a\x01b\x7fc?\x00d": "/a%01b%7Fc?%00d",
    "/around? \r\n": "/around?",
}
WHOLE = ["/a/../b/./c/..?d", "/../x", "/."]  # only where a relative address is resolved are these taken away


@dataclass
class Network:
    """An API that shows an order with `label_url`, a host with labels by http and https, and a proxy to both."""

    plain: Wire
    tls: Wire
    ca_file: str
    label_url: str = ""
    place: bytes = b""

    @property
    def asked(self) -> list[str]:
        """What stood on each request line for a label."""
        lines = [head.split(b"\r\n")[0].decode() for wire in (self.plain, self.tls) for head in wire.heads]
        return [line.removesuffix(" HTTP/1.1").partition(" ")[2] for line in lines if not self._is_ours(line)]

    def _is_ours(self, line: str) -> bool:
        return "/api/v1/orders/10011 " in line or "/hop" in line or line.startswith("CONNECT ")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            line = head.split(b"\r\n")[0].decode()
            if line.startswith("CONNECT "):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                there, back = await asyncio.open_connection("127.0.0.1", int(port(self.tls)))
                try:
                    await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
                finally:
                    back.close()
                return
            if "/hop" in line:
                writer.write(http(b"", "Location: {}", status="302 Found").replace(b"{}", self.place))
            elif self._is_ours(line):
                writer.write(http(json.dumps(shown(self.label_url)).encode()))
            else:
                writer.write(http(PDF))
            await writer.drain()

    @asynccontextmanager
    async def piloting(self, *, proxied: bool = False) -> AsyncIterator[Pilot]:
        proxy = self.plain.url if proxied else None
        names = Names(**{CARRIER.replace(".", "_"): "127.0.0.1"})
        transport = AiohttpTransport(timeout=5.0, resolver=names, ca_file=self.ca_file, proxy=proxy)
        base_url = f"{self.plain.url}/api/v1"
        async with piloting({}, transport=transport, base_url=base_url, label_hosts=(CARRIER,)) as pilot:
            yield pilot

    async def fetch(self, links: Sequence[str], *, proxied: bool = False) -> None:
        async with self.piloting(proxied=proxied) as pilot:
            for self.label_url in links:
                assert (await pilot.label()).content == PDF


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return private_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def network(authority: tuple[Path, Path]) -> AsyncIterator[Network]:
    ca_file, certificate = authority
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    made = Network(Wire(), Wire(), str(ca_file))
    async with raw_server(made.answer, ssl=context) as made.tls, raw_server(made.answer) as made.plain:
        yield made


def port(wire: Wire) -> str:
    return wire.url.rpartition(":")[2]


GIVEN = [*SIGNED, *WHOLE, *MENDED]
SENT = [*SIGNED, *WHOLE, *MENDED.values()]


async def test_a_labels_address_is_asked_for_byte_for_byte(network: Network) -> None:
    await network.fetch([f"https://{CARRIER}:{port(network.tls)}{link}" for link in GIVEN])
    assert network.asked == SENT


async def test_of_the_apis_own_origin_too(network: Network) -> None:
    await network.fetch([f"{network.plain.url}{link}" for link in GIVEN])
    assert network.asked == SENT


async def test_and_through_a_proxy_in_the_clear(network: Network) -> None:
    await network.fetch([f"http://{CARRIER}{link}" for link in GIVEN], proxied=True)
    assert network.asked == [f"http://{CARRIER}{target}" for target in SENT]


async def test_and_through_a_tunnel(network: Network) -> None:
    await network.fetch([f"https://{CARRIER}{link}" for link in GIVEN], proxied=True)
    assert network.asked == SENT
    assert {head.split(b"\r\n")[0] for head in network.plain.heads if head.startswith(b"CONNECT")} == {
        f"CONNECT {CARRIER}:443 HTTP/1.1".encode()
    }


@pytest.mark.parametrize("origin", [f"http://{CARRIER}:{{}}", "http://127.0.0.1:{}", f"//{CARRIER}:{{}}", ""])
async def test_where_a_redirect_leads_is_asked_for_byte_for_byte(network: Network, origin: str) -> None:
    links = (
        [*SIGNED, *WHOLE]
        if ":" in origin and not origin.startswith("//")
        else [link for link in SIGNED if link != "/?"]
    )
    async with network.piloting() as pilot:
        network.label_url = f"{network.plain.url}/hop"
        for link in links:
            network.place = f"{origin.format(port(network.plain))}{link}".encode()
            assert (await pilot.label()).content == PDF
    assert network.asked == links


async def test_and_through_a_tunnel_too(network: Network) -> None:
    async with network.piloting(proxied=True) as pilot:
        network.label_url = "/hop"
        for link in SIGNED:
            network.place = f"https://{CARRIER}{link}".encode()
            assert (await pilot.label()).content == PDF
    assert network.asked == SIGNED


async def test_a_redirect_in_bytes_beyond_ascii_keeps_its_bytes(network: Network) -> None:
    network.label_url, network.place = f"{network.plain.url}/hop", b"/\xc3\x89%c3?\xe9"
    async with network.piloting() as pilot:
        await pilot.label()
    assert network.asked == ["/%C3%89%c3?%E9"]


async def test_a_question_that_is_redirected_keeps_its_bytes_too(network: Network) -> None:
    async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            found = http(json.dumps({"data": document()}).encode())
            writer.write(http(b"", "Location: /v2/a%2Fb%40/?x=%40&y", status="307 T") if b"/api/" in head else found)

    async with (
        raw_server(moved) as wire,
        piloting(base_url=f"{wire.url}/api/v1", transport=AiohttpTransport(timeout=5.0)) as pilot,
    ):
        await pilot.track()
    assert wire.heads[-1].startswith(b"GET /v2/a%2Fb%40/?x=%40&y HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("/labels/1%2F2.pdf?sig=%40", "/labels/1%2F2.pdf?sig=%40"),
        ("labels/1.pdf?sig=a/../b", "/api/v1/orders/labels/1.pdf?sig=a/../b"),
        ("./1.pdf", "/api/v1/orders/1.pdf"),
        ("../labels//1.pdf", "/api/v1/labels//1.pdf"),
        ("10011/label", "/api/v1/orders/10011/label"),
        ("?label=%31", "/api/v1/orders/10011?label=%31"),
    ],
)
async def test_a_relative_address_is_resolved_against_the_address_of_the_order(
    network: Network, link: str, target: str
) -> None:
    network.label_url = link
    async with network.piloting() as pilot:
        assert (await pilot.label()).content == PDF
    assert network.asked == [target]


SECRET = "sig=s3cret"
BROKEN = {
    "an echo": f"GET /label?{SECRET} is no request\r\n\r\n",
    "half a head": f"HTTP/1.1 302 Found\r\nLocation: https://labels.example/?{SECRET}\r\n",
    "half a header": f"HTTP/1.1 302 Found\r\nLocation: https://labels.example/?{SECRET}",
    "a header that is none": f"HTTP/1.1 302 Found\r\nLocation: https://labels.example/?{SECRET}\0\r\n\r\n",
    "a chunk that is none": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n/label?{SECRET}\r\n",
    "half a body": "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n%PDF",
    "nothing": "",
    "a redirect to a name that is none": http(b"", f"Location: https://no^name/?{SECRET}", status="302 Found").decode(),
    "a redirect to a port that is none": http(b"", f"Location: //h:0/?{SECRET}", status="302 Found").decode(),
}


@pytest.mark.parametrize("origin", ["elsewhere", "own"])
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_no_error_quotes_an_address_whatever_breaks(answer: str, origin: str) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        if head := await read_request(reader, wire):
            is_order = b"/orders/10011 " in head
            writer.write(http(json.dumps(shown(links[0])).encode()) if is_order else answer.encode())

    links = [""]
    async with raw_server(broken) as wire:
        links[0] = f"http://{CARRIER}:{port(wire)}/label?{SECRET}" if origin == "elsewhere" else f"/label?{SECRET}"
        transport = AiohttpTransport(timeout=5.0, resolver=Names(carrier_internal="127.0.0.1"))
        async with piloting(base_url=f"{wire.url}/api/v1", transport=transport, label_hosts=(CARRIER,)) as pilot:
            with pytest.raises(Exception) as caught:
                await pilot.label()
    assert isinstance(caught.value, LabelUnreachable if origin == "elsewhere" else (LabelUnreachable, Unavailable))
    assert "s3cret" not in str(caught.value)
    assert len(wire.heads) == 2


async def test_no_error_quotes_the_address_that_a_question_is_redirected_to() -> None:
    place = f"Location: /\xe9/half?{SECRET}"

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while head := await read_request(reader, wire):
            writer.write(http(b"", place, status="307 T") if b"/api/" in head else f"no HTTP {SECRET}\r\n".encode())

    transport = AiohttpTransport(timeout=5.0)
    async with raw_server(broken) as wire, piloting(base_url=f"{wire.url}/api/v1", transport=transport) as pilot:
        with pytest.raises(Unavailable) as caught:
            await pilot.track()
    assert "s3cret" not in f"{caught.value} {caught.value.raw}"


@pytest.mark.parametrize("host", ["B\u00dcCHER.example", "xn--bcher-kva.EXAMPLE"])
async def test_a_host_is_trusted_looked_up_and_named_by_one_spelling(network: Network, host: str) -> None:
    name = "xn--bcher-kva.example"
    network.label_url = f"http://{host}:{port(network.plain)}/%40"
    transport = AiohttpTransport(timeout=5.0, resolver=Names(**{"xn--bcher-kva_example": "127.0.0.1"}))
    base_url = f"{network.plain.url}/api/v1"
    async with piloting(transport=transport, base_url=base_url, label_hosts=(name,)) as pilot:
        await pilot.label()
    assert network.asked == ["/%40"]
    assert f"Host: {name}:{port(network.plain)}".encode() in network.plain.heads[-1].split(b"\r\n")


LINKS = {
    "https://labels.example/a/s3cret.pdf?sig=s3cret%2F": "https://labels.example/********",
    "https://labels.example?s3cret": "https://labels.example********",
    'https://labels.example/"s3cret\\\\?\\"s3cret': "https://labels.example/********",
    "/labels/s3cret?sig=s3cret": "********",
    "s3cret": "********",
}


@pytest.mark.parametrize("link", LINKS)
async def test_the_history_keeps_no_more_of_a_labels_address_than_its_host(link: str) -> None:
    tracked = "https://track.example/?number=1&key=s3cret"
    order = shown(link)
    order["data"]["shipments"][0]["tracking_url"] = tracked
    async with piloting(order) as pilot:
        raw = (await pilot.track()).update.raw
    kept = json.loads(raw)["shipments"][0]
    assert (kept["label_url"], kept["tracking_url"]) == (LINKS[link], "https://track.example/?********")
    assert "s3cret" not in raw


@pytest.mark.parametrize("slash", ["/", "\\/"])
async def test_neither_does_an_answer_that_is_quoted_because_it_makes_no_sense(slash: str) -> None:
    text = json.dumps({"shipments": [shipment(label_url="https://labels.example/s3cret?sig=s3cret")]}).replace(
        "/", slash
    )
    for body in (text, f"{{{text}", f'{{"data": [{text}, {text}]}}'):
        async with piloting(httpx.Response(200, content=body.encode())) as pilot:
            error = await pilot.failure("track")
        assert "s3cret" not in f"{error} {error.raw}"
        assert "labels.example" in f"{error} {error.raw}".replace("\\", "")
