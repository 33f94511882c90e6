"""An answer belongs to its question: what a connection may carry, against a server that sends what nobody asked for."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
import uvloop

from tests.carriers.pilot import Pilot, document, listed, piloting, shipment
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
from worker.carriers.port import NotSent, OutcomeUnknown, TimedOut, Unavailable, Unintelligible
from worker.http.transport import AiohttpTransport
from worker.simulator import Simulator, faults

CREATED = http(b'{"orderNumber": "9RET1", "packages": []}')
PATIENCE = 5  # seconds; what is waited for comes in milliseconds, or never

Work = Coroutine[Any, Any, None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Work], None]:
    """Runs a test in each event loop that the worker may run in."""

    def run(work: Work) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(work, 4 * PATIENCE))

    return run


def about(head: bytes) -> bytes:
    """A status that names the order that was asked for, so that a test sees whose answer it was given."""
    number = head.split(b" ", 2)[1].split(b"/")[2].decode()
    return http(f'{{"status": "Of {number}"}}'.encode())


async def said(account: Account, number: str) -> str:
    return str((await account.track(number)).carrier_status)


class Twice:
    """Answers each request on a connection, then once more when `go` is set; `shut` when the client has closed it."""

    def __init__(self) -> None:
        self.go, self.shut = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            writer.write(about(head))
            await self.go.wait()
            writer.write(about(head))
            self.go.clear()
        self.shut.set()


def test_an_answer_that_nobody_asked_for_closes_its_connection_at_once(on_loop: Callable[[Work], None]) -> None:
    async def work() -> None:
        twice = Twice()
        async with raw_server(twice) as wire, opened(wire.url) as account:
            assert await said(account, "A") == "Of A"
            twice.go.set()
            async with asyncio.timeout(PATIENCE):
                await twice.shut.wait()
            assert await said(account, "B") == "Of B"
            assert wire.connections == 2

    on_loop(work())


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"HTTP/1.1 2", b"PHP Warning: oops"], ids=repr)
def test_an_answer_that_came_twice_in_one_piece_is_taken_once(on_loop: Callable[[Work], None], rest: bytes) -> None:
    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            writer.write(about(head) * 2 + rest)

    async def work() -> None:
        async with raw_server(both) as wire, opened(wire.url) as account:
            for number in ("A", "B", "C"):
                if rest.startswith(b"PHP"):  # what is no HTTP takes the answer before it along
                    assert type(await account.failure("track")) is Unavailable
                else:
                    assert await said(account, number) == f"Of {number}"
            assert wire.connections == 3

    on_loop(work())


def test_a_body_longer_than_its_length_is_not_the_beginning_of_the_next_answer(
    on_loop: Callable[[Work], None],
) -> None:
    """Such as a length that counts characters where bytes are meant."""

    async def work() -> None:
        go, shut = asyncio.Event(), asyncio.Event()

        async def longer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
            while (head := await read_request(reader, wire)) is not None:
                writer.write(about(head))
                await go.wait()
                go.clear()
                writer.write(b"} \r\n")
            shut.set()

        async with raw_server(longer) as wire, opened(wire.url) as account:
            assert await said(account, "A") == "Of A"
            go.set()
            async with asyncio.timeout(PATIENCE):
                await shut.wait()
            assert await said(account, "B") == "Of B"
            assert wire.connections == 2

    on_loop(work())


@contextmanager
def blocking_server(after: Callable[[socket.socket, bytes], None]) -> Iterator[tuple[str, threading.Event, Any]]:
    """A server in a thread: what it sends is in the client's socket while the client's loop has not run.

    Answers the first request of each of two connections; once told to, does `after` with the first one.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    go, done = threading.Event(), threading.Event()

    def serve() -> None:
        with suppress(OSError):  # it is closed when the test is over
            first, _ = listening.accept()
            with first:
                head = first.recv(65536)
                first.sendall(about(head))
                go.wait(PATIENCE)
                after(first, head)
                done.set()
                second, _ = listening.accept()
                with second:
                    second.sendall(about(second.recv(65536)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", go, done
    finally:
        go.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.mark.parametrize(
    "after",
    [lambda connection, head: connection.sendall(about(head)), lambda connection, head: connection.close()],
    ids=["late answer", "closed"],
)
def test_no_request_is_written_where_unread_input_waits(on_loop: Callable[[Work], None], after: Any) -> None:
    """The bytes, or the end, are in the system's buffer, and the loop has not come round to reading them."""

    async def work() -> None:
        with blocking_server(after) as (url, go, done):
            async with opened(url) as account:
                assert await said(account, "A") == "Of A"
                go.set()
                assert done.wait(PATIENCE)  # the loop stands still meanwhile
                assert await said(account, "B") == "Of B"

    on_loop(work())


def test_with_each_answer_sent_twice_no_label_is_another_return_s(on_loop: Callable[[Work], None]) -> None:
    async def work() -> None:
        async with Simulator(api_key=KEY) as simulator, opened(simulator.url) as account:
            numbers = [(await account.create()).carrier_ref for _ in range(20)]
            for operation in ("label", "status"):
                simulator.inject(operation, faults.twice(), times=None)
            for number in numbers:
                await account.track(number)
                assert number in text_of((await account.label(number)).content)
            labels = await asyncio.gather(*(account.label(number) for number in numbers))
            assert all(number in text_of(each.content) for number, each in zip(numbers, labels, strict=True))

    on_loop(work())


def test_the_answer_to_a_question_that_was_given_up_is_no_answer_to_the_next(on_loop: Callable[[Work], None]) -> None:
    late = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        first = wire.connections == 1
        while (head := await read_request(reader, wire)) is not None:
            if first:
                await late.wait()
            writer.write(about(head))

    async def work() -> None:
        async with raw_server(slow) as wire, opened(wire.url, seconds=TIMEOUT) as account:
            with pytest.raises(TimedOut):
                await account.track("A")
            late.set()
            assert await said(account, "B") == "Of B"
            assert wire.connections == 2

    on_loop(work())


def keeping(answer: Callable[[bytes], bytes]) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            writer.write(answer(head))

    return handler


CLOSING = {
    "connection: close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\n",
}


@pytest.mark.parametrize("head", CLOSING.values(), ids=CLOSING)
async def test_a_connection_that_the_carrier_means_to_close_is_not_used_again(head: bytes) -> None:
    async with raw_server(keeping(lambda _: head + b'{"status":1')) as wire, opened(wire.url) as account:
        for _ in range(3):
            assert type(await account.failure("track")) is Unavailable
        assert wire.connections == 3


async def test_interim_answers_are_no_answers() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with raw_server(keeping(lambda head: interim + about(head))) as wire, opened(wire.url) as account:
        assert [await said(account, number) for number in "ABC"] == ["Of A", "Of B", "Of C"]
        assert wire.connections == 1


async def test_interim_answers_without_end_are_cut_off() -> None:
    async with raw_server(sends(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)) as wire, opened(wire.url) as account:
        assert "without an end" in (await account.failure("track")).message
        assert type(await account.failure("create")) is OutcomeUnknown


async def test_a_switch_of_protocols_is_no_answer() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    async with raw_server(sends(switch + CREATED)) as wire, opened(wire.url) as account:
        assert type(await account.failure("create")) is OutcomeUnknown
        assert wire.methods == ["POST"]


async def test_trailers_are_read_over_within_the_bound() -> None:
    body = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n{"status":"Created"\r\n1\r\n}\r\n0\r\n'

    def chunked(trailers: bytes) -> Handler:
        return keeping(lambda _: body + trailers + b"\r\n")

    async with raw_server(chunked(b"X-Checksum: 1\r\n" * 100)) as wire, opened(wire.url) as account:
        assert await said(account, "A") == "Created"
        assert await said(account, "B") == "Created"
        assert wire.connections == 1
    async with raw_server(chunked(b"X-Checksum: 1\r\n" * 100_000)) as wire, opened(wire.url) as account:
        assert "65536 bytes are read" in (await account.failure("track")).message


@pytest.mark.parametrize(("greeting", "did"), [(CREATED, "answered"), (b"", "closed the connection")])
async def test_what_is_sent_before_anything_is_asked_is_no_answer(greeting: bytes, did: str) -> None:
    """A server that turns clients away at the door, or another protocol's greeting: nothing was sent to it."""
    greeted = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        writer.write(greeting)
        await writer.drain()
        greeted.set()
        if greeting:
            await read_request(reader, wire)

    async with raw_server(greet) as wire, opened(wire.url) as account:
        transport: Any = account.carrier.edge._transport
        session = transport._session(fresh=True, guarded=False)
        connect = type(session.connector)._create_connection

        async def and_wait(self: Any, *args: Any) -> Any:
            protocol = await connect(self, *args)
            await greeted.wait()
            while not protocol.should_close:  # noqa: ASYNC110 - until the loop has read it, of which nothing tells
                await asyncio.sleep(0)
            return protocol

        session.connector._create_connection = and_wait.__get__(session.connector)
        error = await account.failure("create")
        assert type(error) is NotSent
        assert f"the server {did} before it was asked" in error.message
        assert wire.heads == []


async def test_each_label_has_a_connection_that_has_answered_nothing_yet() -> None:
    def answer(head: bytes) -> bytes:
        return http(b"%PDF-1.4 whose") if b"/label " in head else about(head)

    async with raw_server(keeping(answer)) as wire, opened(wire.url) as account:
        await account.track()
        assert wire.connections == 1
        for opened_so_far in (2, 3):
            assert (await account.label()).content == b"%PDF-1.4 whose"
            assert wire.connections == opened_so_far
        await account.track()
        assert wire.connections == 3


@asynccontextmanager
async def pilot_on_the_wire(url: str) -> AsyncIterator[Pilot]:
    async with piloting(base_url=url, transport=AiohttpTransport(timeout=5.0)) as pilot:
        yield pilot


async def test_what_decides_for_good_at_returnpilot_has_a_connection_that_has_answered_nothing_yet() -> None:
    """A look-up decides about a second creation, a deletion about the first; a label is somebody's."""
    urls: list[str] = []

    def answer(head: bytes) -> bytes:
        if b"/labels/" in head:
            return http(b"%PDF-1.4")
        if b"?page=" in head:
            return http(json.dumps(listed()).encode())
        if head.startswith(b"DELETE"):
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        return http(json.dumps({"data": document(shipments=[shipment(label_url=f"{urls[0]}/labels/1")])}).encode())

    async with raw_server(keeping(answer)) as wire, pilot_on_the_wire(wire.url) as pilot:
        urls.append(wire.url)
        await pilot.track()
        await pilot.track()
        assert wire.connections == 1
        await pilot.label()
        assert wire.connections == 2  # the document; the poll, which says whose it is, named its address
        await pilot.label()
        assert wire.connections == 4  # the order that names the address, and the document
        await pilot.look_up()
        assert wire.connections == 5
        await pilot.cancel()
        assert wire.connections == 6
        await pilot.track()
        assert wire.connections == 6


async def test_a_label_is_not_fetched_by_another_order_s_address() -> None:
    other = {"data": document(id=10012, shipments=[shipment(label_url="http://127.0.0.1:9/x")])}
    async with raw_server(sends(http(json.dumps(other).encode()))) as wire, pilot_on_the_wire(wire.url) as pilot:
        error = await pilot.failure("label")
        assert (type(error), error.message) == (Unintelligible, "the answer is about another order")
        assert len(wire.heads) == 1


async def test_proxies_and_passwords_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password hidden\n")
    netrc.chmod(0o600)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(netrc))
    async with raw_server(keeping(about)) as wire, opened(wire.url) as account:
        assert await said(account, "A") == "Of A"
        assert b"authorization" not in wire.heads[0].lower()
