"""On real sockets: what reached the carrier, what did not, and how often. The simulator's ledger is the judge."""

import asyncio
import base64
import gzip
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.carriers.wire import (
    KEY,
    TIMEOUT,
    Account,
    Handler,
    Wire,
    http,
    opened,
    raw_server,
    read_request,
    sends,
)
from tests.labels.pdfs import text_of
from worker import __version__
from worker.carriers.edge import MAX_JSON_BYTES
from worker.carriers.port import (
    CarrierError,
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unintelligible,
)
from worker.domain.tracking import TrackingStatus
from worker.simulator import Fault, Simulator, faults
from worker.simulator.delivery import Hang

CREATED = http(b'{"orderNumber": "9RET1", "packages": []}', "Content-Type: application/json")
STATUS = http(b'{"status": "Created"}', "Content-Type: application/json")


async def test_a_return_goes_all_the_way() -> None:
    async with Simulator(api_key=KEY, stage_seconds=1000) as simulator, opened(simulator.url) as account:
        created = await account.create()
        (order,) = simulator.orders.values()
        assert (created.carrier_ref, created.packages[1].description) == (order.number, "package 2")
        assert order.packages[1].label_code == created.packages[1].label_code
        assert "345" in order.description
        assert (await account.track(order.number)).status is TrackingStatus.PRE_TRANSIT
        assert (await account.label(order.number)).content.startswith(b"%PDF-")
        await account.carrier.ping()
        operations = [(entry.operation, entry.reply_status) for entry in simulator.ledger]
        assert operations == [("create", 200), ("status", 200), ("label", 200), ("status", 404)]
        for entry in simulator.ledger:
            assert entry.headers["user-agent"] == f"returns-worker/{__version__}"
            assert entry.headers["accept-encoding"] == "identity"
            assert "cookie" not in entry.headers


class Lost(NamedTuple):
    """A creation that ends badly: how, as which error, and how many orders the carrier then has."""

    name: str
    fault: Fault
    error: type[CarrierError]
    orders: int


LOST = [
    Lost("cut before", faults.cut(), error=OutcomeUnknown, orders=0),
    Lost("cut after", faults.cut(process=True), error=OutcomeUnknown, orders=1),
    Lost("truncated", faults.truncated(), error=OutcomeUnknown, orders=1),
    Lost("garbage", faults.garbage(), error=OutcomeUnknown, orders=0),
    Lost("garbage after", faults.garbage(process=True), error=OutcomeUnknown, orders=1),
    Lost("html", faults.html(process=True), error=OutcomeUnknown, orders=1),
    Lost("huge", faults.huge(30_000_000), error=OutcomeUnknown, orders=0),
    Lost("500", faults.server_error(process=True), error=OutcomeUnknown, orders=1),
    Lost("502", faults.server_error(502), error=OutcomeUnknown, orders=0),
    Lost("503 without a time", faults.busy(None), error=OutcomeUnknown, orders=0),
    Lost("503", faults.busy(3), error=Throttled, orders=0),
    Lost("429", faults.throttled(None), error=Throttled, orders=0),
    Lost("redirect", faults.redirect("/shipment/retour"), error=OutcomeUnknown, orders=0),
    Lost("redirect 302", faults.redirect("/shipment/0", 302), error=OutcomeUnknown, orders=0),
    Lost("401", faults.reply(401), error=Unauthorized, orders=0),
    Lost("400", faults.reply(400), error=Refused, orders=0),
    Lost("empty", faults.reply(200, process=True), error=OutcomeUnknown, orders=1),
    Lost("no content", faults.reply(204, process=True), error=OutcomeUnknown, orders=1),
]


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost.name)
async def test_a_creation_is_sent_once_however_it_ends(lost: Lost) -> None:
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url) as account:
        simulator.inject("create", lost.fault, times=None)
        assert type(await account.failure("create")) is lost.error
        assert [entry.method for entry in simulator.ledger] == ["POST"]
        assert len(simulator.orders) == lost.orders


SLOW = [
    Lost("hang before", faults.hang(), error=OutcomeUnknown, orders=0),
    Lost("hang after", faults.hang(process=True), error=OutcomeUnknown, orders=1),
    Lost("trickle", faults.trickle(0.02), error=OutcomeUnknown, orders=1),
]


@pytest.mark.parametrize("lost", SLOW, ids=lambda lost: lost.name)
async def test_a_creation_that_is_not_answered_in_time_is_in_doubt(lost: Lost) -> None:
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url, seconds=TIMEOUT) as account:
        simulator.inject("create", lost.fault, times=None)
        started = time.monotonic()
        error = await account.failure("create")
        assert time.monotonic() - started < 5 * TIMEOUT
        assert type(error) is lost.error
        assert account.observed == [("create", "timeout")]
        assert [entry.method for entry in simulator.ledger] == ["POST"]
        assert len(simulator.orders) == lost.orders


@pytest.mark.parametrize("operation", ["track", "label"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.cut(), Unavailable),
        (faults.truncated(), Unavailable),
        (faults.server_error(), Unavailable),
        (faults.busy(None), Unavailable),
        (faults.throttled(), Throttled),
        (faults.huge(30_000_000), Unintelligible),
    ],
    ids=range(6),
)
async def test_a_question_is_never_asked_twice_unasked(operation: str, fault: Fault, kind: type[CarrierError]) -> None:
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url) as account:
        number = (await account.create()).carrier_ref
        step = "label" if operation == "label" else "status"
        await getattr(account, operation)(number)  # a connection to keep
        simulator.inject(step, fault, times=None)
        with pytest.raises(kind) as caught:
            await getattr(account, operation)(number)
        assert type(caught.value) is kind
        assert len(simulator.requests(step)) == 2


async def test_a_question_that_is_not_answered_in_time_is_given_up() -> None:
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url, seconds=TIMEOUT) as account:
        number = (await account.create()).carrier_ref
        for fault in (Fault(Hang()), faults.trickle(0.02)):
            simulator.inject("status", fault)
            started = time.monotonic()
            with pytest.raises(TimedOut):
                await account.track(number)
            assert time.monotonic() - started < 5 * TIMEOUT
        assert len(simulator.requests("status")) == 2


async def test_a_trickle_of_header_bytes_does_not_stretch_the_time_limit() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await read_request(reader, wire)
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X-Drip: " + b"x" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with raw_server(drip) as wire, opened(wire.url, seconds=TIMEOUT) as account:
        started = time.monotonic()
        assert type(await account.failure("create")) is OutcomeUnknown
        assert type(await account.failure("track")) is TimedOut
        assert time.monotonic() - started < 8 * TIMEOUT
        assert wire.methods == ["POST", "GET"]


async def test_redirects_share_one_time_limit() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while await read_request(reader, wire) is not None:
            await asyncio.sleep(0.15)
            writer.write(http(b"", "Location: /again", status="302 Found"))

    async with raw_server(slow) as wire, opened(wire.url, seconds=TIMEOUT) as account:
        assert type(await account.failure("track")) is TimedOut
        assert len(wire.heads) == 2


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


UNREACHABLE: list[tuple[str, Callable[[], str]]] = [
    ("refused", lambda: f"http://127.0.0.1:{_free_port()}"),
    ("refused tls", lambda: f"https://127.0.0.1:{_free_port()}"),
    ("no such host", lambda: "http://carrier.invalid"),
    ("no host could be so", lambda: "http://" + "a" * 64 + ".invalid"),
]


@pytest.mark.parametrize("url", [row[1] for row in UNREACHABLE], ids=[row[0] for row in UNREACHABLE])
async def test_a_carrier_that_cannot_be_reached_was_sent_nothing(url: Callable[[], str]) -> None:
    async with opened(url()) as account:
        for operation in ("create", "track"):
            assert type(await account.failure(operation)) is NotSent
        assert account.observed == [("create", "network"), ("track", "network")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 that nobody trusts."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
        f" -addext subjectAltName=IP:127.0.0.1 -keyout {file}.key -out {file}.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    file.write_bytes(Path(f"{file}.key").read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_is_not_trusted_is_sent_nothing(certificate: Path) -> None:
    async with raw_server(sends(CREATED), ssl=_tls(certificate)) as wire:
        url = wire.url.replace("http:", "https:")
        async with opened(url) as account:
            for operation in ("create", "track"):
                failure = await account.failure(operation)
                assert type(failure) is NotSent and "certificate verify failed" in str(failure)
        assert wire.heads == []


async def test_a_ca_file_adds_to_the_trusted_authorities(certificate: Path) -> None:
    async with raw_server(sends(CREATED), ssl=_tls(certificate)) as wire:
        url = wire.url.replace("http:", "https:")
        async with opened(url, ca_file=f"{certificate}.crt") as account:
            assert (await account.create()).carrier_ref == "9RET1"
        assert wire.methods == ["POST"]


async def test_tls_to_a_port_that_does_not_speak_it_sends_nothing() -> None:
    async with raw_server(_silent_or_plain(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as wire:
        async with opened(wire.url.replace("http:", "https:")) as account:
            failure = await account.failure("create")
            assert type(failure) is NotSent and f"reached: {wire.url.removeprefix('http://')}: [SSL: " in str(failure)
        assert wire.heads == []


async def test_a_handshake_that_never_ends_sends_nothing() -> None:
    async with raw_server(_silent_or_plain(b"")) as wire:
        async with opened(wire.url.replace("http:", "https:"), seconds=TIMEOUT) as account:
            assert type(await account.failure("create")) is NotSent
            assert type(await account.failure("track")) is NotSent
        assert wire.connections == 2


def _silent_or_plain(answer: bytes) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        await reader.read(5)  # the beginning of a TLS greeting
        if not answer:
            await reader.read()
        writer.write(answer)
        await writer.drain()

    return handler


async def test_a_proxy_that_cannot_be_reached_or_refuses_sends_nothing() -> None:
    async with opened("http://carrier.invalid", proxy=f"http://127.0.0.1:{_free_port()}") as account:
        assert type(await account.failure("create")) is NotSent
    refusal = http(b"", status="403 Forbidden")
    async with raw_server(sends(refusal)) as wire, opened("https://carrier.invalid", proxy=wire.url) as account:
        assert type(await account.failure("create")) is NotSent
        assert wire.methods == ["CONNECT"]
        assert KEY.encode() not in wire.heads[0]


@pytest.mark.parametrize("base_url", ["https://carrier.invalid", "http://carrier.invalid"], ids=["tunnel", "clear"])
async def test_a_proxy_that_quotes_what_it_was_sent_gives_no_password_away(base_url: str) -> None:
    """Its page of a refusal comes as the carrier's answer where the carrier is spoken to in the clear."""
    sent = base64.b64encode(b"user:hunt/er2").decode()
    page = f"Proxy-Authorization: Basic {sent} of user:hunt%2Fer2@proxy, that is hunt/er2"
    refusal = http(page.encode(), status=f"407 {page}")
    async with raw_server(sends(refusal)) as wire:
        proxy = wire.url.replace("//", "//user:hunt%2Fer2@")
        async with opened(base_url, proxy=proxy) as account:
            for operation in ("create", "track"):
                failure = await account.failure(operation)
                said = f"{failure.message} {failure.raw}"
                assert not [secret for secret in (sent, "hunt/er2", "hunt%2Fer2") if secret in said]
    assert f"Proxy-Authorization: Basic {sent}".encode() in wire.heads[0]


async def test_a_proxy_whose_address_is_none_is_not_quoted() -> None:
    async with opened("https://carrier.invalid", proxy="http://user:hunter2@127.0.0.1:99999") as account:
        failure = await account.failure("track")
    assert "hunter2" not in failure.message


async def test_each_creation_has_a_connection_of_its_own_and_questions_share_one() -> None:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            writer.write(CREATED if head.startswith(b"POST") else STATUS)

    async with raw_server(keep) as wire, opened(wire.url) as account:
        for _ in range(3):
            await account.track()
        assert wire.connections == 1
        for _ in range(3):
            await account.create()
        assert wire.connections == 4
        await account.track()
        assert (wire.connections, len(wire.heads)) == (4, 7)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_kept_connection_that_the_carrier_closed_costs_no_second_request(reset: bool) -> None:
    """The second request on a connection is read and then the connection is cut: it may have been processed."""

    async def cut_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        if await read_request(reader, wire) is None:
            return
        writer.write(STATUS)
        await read_request(reader, wire)
        if reset:
            writer.transport.abort()

    async with raw_server(cut_the_second) as wire, opened(wire.url) as account:
        await account.track()
        assert type(await account.failure("track")) is Unavailable
        assert (wire.methods, wire.connections) == (["GET", "GET"], 1)


async def test_a_creation_does_not_use_a_kept_connection_that_is_about_to_close() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        head = await read_request(reader, wire)
        if head is not None:
            writer.write(CREATED if head.startswith(b"POST") else STATUS)
            await writer.drain()  # and closes, without having said that it would

    async with raw_server(once) as wire, opened(wire.url) as account:
        for _ in range(5):
            with suppress(Unavailable):  # a question may well meet the connection that is closing
                await account.track()
            assert (await account.create()).carrier_ref == "9RET1"
        assert wire.methods.count("POST") == 5


ANSWERS: list[tuple[str, bytes, type[CarrierError]]] = [
    ("nothing", b"", Unavailable),
    ("no http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Unavailable),
    ("binary", bytes(range(256)) * 10, Unavailable),
    ("half a status line", b"HTTP/1.1 20", Unavailable),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le", Unavailable),
    ("half a body", http(b'{"status": "Created"}')[:-5], Unavailable),
    ("bad chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", Unavailable),
    ("cut chunks", b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"', Unavailable),
    ("endless head", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, Unintelligible),
    ("many headers", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60_000 + b"\r\n", Unintelligible),
    ("no gzip", http(b"not gzip at all", "Content-Encoding: gzip"), Unavailable),
    ("unknown encoding", http(b"x", "Content-Encoding: br"), Unavailable),
    ("the key in a broken header", f"HTTP/1.1 200 OK\r\nEcho {KEY}\r\n\r\n".encode(), Unavailable),
    ("the key in a broken status", f"HTTP/1.1 {KEY} x\r\n\r\n".encode(), Unavailable),
    ("the key in a broken header name", f"HTTP/1.1 200 OK\r\n{KEY}\x00\x1b[31m: x\r\n\r\n".encode(), Unavailable),
    ("too large", http(b" " * (MAX_JSON_BYTES + 1)), Unintelligible),
    ("huge announced", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b" " * 2_000_000, Unintelligible),
    ("gzip bomb", http(gzip.compress(b" " * 30_000_000), "Content-Encoding: gzip"), Unintelligible),
    ("html", http(b"<html>", "Content-Type: text/html"), Unavailable),
]


@pytest.mark.parametrize(("answer", "kind"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
async def test_no_answer_can_break_the_worker_or_bring_a_second_request(
    answer: bytes, kind: type[CarrierError]
) -> None:
    async with raw_server(sends(answer)) as wire, opened(wire.url) as account:
        asked, made = await account.failure("track"), await account.failure("create")
    # what is not even HTTP may count as either, as long as the question may be asked again
    assert type(asked) is kind
    assert type(made) is OutcomeUnknown
    assert wire.methods == ["GET", "POST"]
    for error in (asked, made):
        said = error.message + (error.raw or "")
        assert "s3cret" not in said
        assert "\x00" not in said
        said.encode()


async def test_an_answer_at_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    def padded(size: int) -> bytes:
        body = b'{"status": "Created"}'
        return http(body + b" " * (size - len(body)))

    async with raw_server(sends(padded(MAX_JSON_BYTES))) as wire, opened(wire.url) as account:
        assert (await account.track()).carrier_status == "Created"
    async with raw_server(sends(padded(MAX_JSON_BYTES + 1))) as wire, opened(wire.url) as account:
        assert type(await account.failure("track")) is Unintelligible


async def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(b'{"status": "Created"}')
    async with raw_server(sends(http(body, "Content-Encoding: gzip"))) as wire, opened(wire.url) as account:
        assert (await account.track()).carrier_status == "Created"


async def test_cookies_are_not_kept() -> None:
    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while await read_request(reader, wire) is not None:
            writer.write(http(b'{"status": "Created"}', "Set-Cookie: a=b; Path=/"))

    async with raw_server(keep) as wire, opened(wire.url) as account:
        await account.track()
        await account.track()
        assert not any(b"cookie" in head.lower() for head in wire.heads)


async def test_a_key_stays_at_its_origin_when_the_carrier_redirects() -> None:
    async with raw_server(sends(STATUS)) as elsewhere, Simulator(api_key=KEY) as simulator:
        simulator.inject("status", faults.redirect(f"{elsewhere.url}/x"), times=None)
        simulator.inject("create", faults.redirect(f"{elsewhere.url}/x"), times=None)
        async with opened(simulator.url) as account:
            assert type(await account.failure("track")) is Unavailable
            assert type(await account.failure("create")) is OutcomeUnknown
        assert elsewhere.connections == 0
        assert len(simulator.ledger) == 2


async def test_a_question_follows_a_redirect_of_its_own_carrier() -> None:
    async with Simulator(api_key=KEY, stage_seconds=1000) as simulator, opened(simulator.url) as account:
        number = (await account.create()).carrier_ref
        simulator.inject("status", faults.redirect(f"/shipment/{number}"), times=3)
        assert (await account.track(number)).carrier_status == "Created"
        assert len(simulator.requests("status")) == 4


async def test_a_wrong_key_is_told_from_a_wrong_return() -> None:
    async with Simulator(api_key="another") as simulator, opened(simulator.url) as account:
        for operation in ("create", "track", "label"):
            assert type(await account.failure(operation)) is Unauthorized


async def test_a_changed_key_is_used_at_once() -> None:
    keys = ["old", KEY]
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url, key=lambda: keys[0]) as account:
        assert type(await account.failure("create")) is Unauthorized
        del keys[0]
        await account.create()
        assert len(simulator.orders) == 1


async def test_many_requests_at_once_do_not_mix_their_answers() -> None:
    async with Simulator(api_key=KEY, stage_seconds=1000) as simulator, opened(simulator.url) as account:
        created = await asyncio.gather(*(account.create() for _ in range(40)))
        numbers = [each.carrier_ref for each in created]
        assert sorted(numbers) == sorted(simulator.orders)
        documents = await asyncio.gather(*(account.label(number) for number in numbers))
        assert all(number in text_of(each.content) for number, each in zip(numbers, documents, strict=True))


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url) as account:
        simulator.inject("status", faults.hang())
        task = asyncio.create_task(account.track())
        async with asyncio.timeout(5):
            while not simulator.requests("status"):  # noqa: ASYNC110 - the ledger has no event to wait for
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await account.create()).carrier_ref in simulator.orders


async def test_an_account_that_was_never_used_can_be_closed() -> None:
    async with opened() as account:
        assert isinstance(account, Account)


@pytest.mark.parametrize("words", ["sim:lost-answer", "sim:no-number", "sim:server-error"])
async def test_the_simulators_scripted_doubts_are_doubts(words: str) -> None:
    from tests.carriers.wire import PAYLOAD, order

    payload: dict[str, Any] = PAYLOAD | {"description": f"345 {words}"}
    async with Simulator(api_key=KEY) as simulator, opened(simulator.url) as account:
        with pytest.raises(OutcomeUnknown):
            await account.carrier.create(account.carrier.prepare(order(payload)))
        assert len(simulator.requests("create")) == 1
