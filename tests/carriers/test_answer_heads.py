"""Long headers: what a front adds to an answer never costs the answer, up to a bound of our own that is said."""

import aiohttp.client_proto
import pytest
from aiohttp.http_parser import HttpResponseParserPy

from tests.carriers.wire import http, opened, raw_server, sends
from worker.carriers.port import OutcomeUnknown, Unintelligible
from worker.http.connections import MAX_HEAD_BYTES

CREATED = b'{"orderNumber": "9RET1", "packages": []}'
STATUS = b'{"status": "Created"}'
POLICY = "Content-Security-Policy: " + "https://cdn.example.net " * 500  # 12 kB

LONG = {
    "one of 12 kB": [POLICY],
    "150 lines": [f"X-Trace-{number}: {number}" for number in range(150)],
    "60 kB of cookies": [f"Set-Cookie: a{number}={'x' * 990}" for number in range(60)],
    "a name of 12 kB": ["X-" + "n" * 12_000 + ": 1"],
    "two thousand empty ones": ["X:"] * 2000,
}
TOO_LONG = {
    "one of 70 kB": ["Content-Security-Policy: " + "x" * 70_000],
    "one of 3 MB": ["Content-Security-Policy: " + "x" * 3_000_000],
    "10,000 lines": ["X-Trace: 0123456789"] * 10_000,
    "a name of 70 kB": ["n" * 70_000 + ": 1"],
}


@pytest.fixture(params=["C", "Python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp has two; where no wheel fits the machine it is the slower one."""
    if request.param == "Python":
        monkeypatch.setattr(aiohttp.client_proto, "HttpResponseParser", HttpResponseParserPy)
    else:
        assert aiohttp.client_proto.HttpResponseParser is not HttpResponseParserPy


@pytest.mark.parametrize("headers", LONG.values(), ids=LONG)
async def test_long_headers_cost_no_answer(headers: list[str]) -> None:
    async with raw_server(sends(http(CREATED, *headers))) as wire, opened(wire.url) as account:
        assert (await account.create()).carrier_ref == "9RET1"
    async with raw_server(sends(http(STATUS, *headers))) as wire, opened(wire.url) as account:
        assert (await account.track()).carrier_status == "Created"


@pytest.mark.parametrize("headers", TOO_LONG.values(), ids=TOO_LONG)
async def test_headers_beyond_the_bound_are_said_and_a_creation_is_in_doubt(headers: list[str]) -> None:
    async with raw_server(sends(http(CREATED, *headers))) as wire, opened(wire.url) as account:
        asked, made = await account.failure("track"), await account.failure("create")
        assert (type(asked), type(made)) == (Unintelligible, OutcomeUnknown)
        for error in (asked, made):
            assert "headers" in error.message
            assert f"{MAX_HEAD_BYTES} bytes are read" in error.message
            assert len(error.message) < 300
        assert account.observed == [("track", "unintelligible"), ("create", "unintelligible")]
        assert wire.methods == ["GET", "POST"]


@pytest.mark.parametrize("over", [0, 1], ids=["at the bound", "beyond it"])
async def test_the_bound_is_exact_and_the_longest_header_is_named(over: int) -> None:
    head = http(CREATED, "X-Padding: ").index(b"\r\n\r\n") + 4
    padding = "X-Padding: " + "x" * (MAX_HEAD_BYTES - head + over)
    # as much body as comes in one piece with the head does not count
    async with raw_server(sends(http(CREATED, padding))) as wire, opened(wire.url) as account:
        if not over:
            assert (await account.create()).carrier_ref == "9RET1"
        else:
            message = (await account.failure("create")).message
            assert message == (
                f"the answer (200) has {MAX_HEAD_BYTES + 1} bytes of headers, the longest is X-Padding; "
                f"{MAX_HEAD_BYTES} bytes are read"
            )


async def test_no_answer_behind_a_refused_one_is_taken_for_it() -> None:
    both = http(CREATED, TOO_LONG["one of 70 kB"][0]) + http(b'{"orderNumber": "9RET2"}')
    async with raw_server(sends(both)) as wire, opened(wire.url) as account:
        assert "the longest is Content-Security-Policy" in (await account.failure("create")).message
    reason = http(CREATED, status="200 " + "x" * 70_000)
    async with raw_server(sends(reason)) as wire, opened(wire.url) as account:
        assert "bytes of headers" in (await account.failure("create")).message


async def test_a_long_body_is_no_long_head() -> None:
    body = STATUS[:-1] + b" " * 900_000 + b"}"
    async with raw_server(sends(http(body, POLICY))) as wire, opened(wire.url) as account:
        assert (await account.track()).carrier_status == "Created"
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in STATUS + b" " * 20_000) + b"0\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    async with raw_server(sends(chunked)) as wire, opened(wire.url) as account:
        assert (await account.track()).carrier_status == "Created"


async def test_what_brings_neither_head_nor_body_is_bounded() -> None:
    """A chunk's extension without an end: nothing of it is kept, and nothing comes of it either."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 10_000_000
    async with raw_server(sends(chunked, then_hang=True)) as wire, opened(wire.url) as account:
        assert type(await account.failure("create")) is OutcomeUnknown


async def test_a_key_in_a_header_s_name_is_not_shown() -> None:
    key = "IZI-s3cret"
    answer = http(b"", f"{key}: {'x' * 70_000}")
    async with raw_server(sends(answer)) as wire, opened(wire.url, key=lambda: key) as account:
        assert key not in (await account.failure("create")).message
