"""The HTTP edge as tables: what each answer means to a question, and what to a creation."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

import httpx
import pytest

from tests.carriers.wire import KEY, Account, answering
from worker.carriers import open_carrier
from worker.carriers.edge import MAX_JSON_BYTES
from worker.carriers.port import (
    CarrierError,
    NotFound,
    NotSent,
    OutcomeUnknown,
    Refused,
    Throttled,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unintelligible,
    WrongAddress,
)
from worker.carriers.registry import AccountConfig
from worker.carriers.replies import EXCERPT, MAX_RAW, without_secret
from worker.domain.outcomes import FailureKind

WAIT = {"Retry-After": "7"}


class Answer(NamedTuple):
    """An answer, and the error that it is to a question and to a creation, each with what the metric says."""

    status: int
    headers: dict[str, str]
    asked: type[CarrierError]
    asked_as: str
    made: type[CarrierError]
    made_as: str


TABLE = [
    Answer(300, {}, Unavailable, "server_error", OutcomeUnknown, "unintelligible"),
    Answer(302, {"Location": "/x"}, Unavailable, "server_error", OutcomeUnknown, "unintelligible"),
    Answer(304, {}, Unavailable, "server_error", OutcomeUnknown, "unintelligible"),
    Answer(307, {"Location": "/x"}, Unavailable, "server_error", OutcomeUnknown, "unintelligible"),
    Answer(400, {}, Refused, "refused", Refused, "refused"),
    Answer(401, {}, Unauthorized, "unauthorized", Unauthorized, "unauthorized"),
    Answer(401, WAIT, Unauthorized, "unauthorized", Unauthorized, "unauthorized"),
    Answer(402, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(403, {}, Unauthorized, "unauthorized", Unauthorized, "unauthorized"),
    Answer(404, {}, NotFound, "refused", WrongAddress, "refused"),
    Answer(405, {}, Refused, "refused", WrongAddress, "refused"),
    Answer(407, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(408, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(409, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(410, {}, NotFound, "refused", WrongAddress, "refused"),
    Answer(406, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(413, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(415, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(424, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(425, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(431, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(444, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(449, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(451, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(460, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(499, {}, Refused, "refused", OutcomeUnknown, "refused"),
    Answer(422, {}, Refused, "refused", Refused, "refused"),
    Answer(429, {}, Throttled, "throttled", Throttled, "throttled"),
    Answer(429, WAIT, Throttled, "throttled", Throttled, "throttled"),
    Answer(500, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(500, WAIT, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(501, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(502, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(503, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(503, {"Retry-After": "soon"}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(503, WAIT, Throttled, "throttled", Throttled, "throttled"),
    Answer(504, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
    Answer(599, {}, Unavailable, "server_error", OutcomeUnknown, "server_error"),
]


def _answer(row: Answer) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(row.status, headers=row.headers, text="no <b>thanks</b>")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.status} {''.join(row.headers.values())}")
@pytest.mark.parametrize("operation", ["track", "label"])
async def test_an_answer_to_a_question_means_what_the_table_says(row: Answer, operation: str) -> None:
    async with answering(_answer(row)) as account:
        if row.asked is NotFound and operation == "label":
            return  # LabelNotReady, see test_izipack
        error = await account.failure(operation)
    assert (type(error), account.observed) == (row.asked, [(operation, row.asked_as)])
    assert error.retry_after == (
        timedelta(seconds=7) if "7" in row.headers.values() and row.asked is Throttled else None
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.status} {''.join(row.headers.values())}")
async def test_an_answer_to_a_creation_means_what_the_table_says(row: Answer) -> None:
    async with answering(_answer(row)) as account:
        error = await account.failure("create")
    assert (type(error), account.observed) == (row.made, [("create", row.made_as)])


PROOFS = {400, 401, 403, 422, 429}


async def test_a_creation_happened_unless_one_of_few_answers_proves_that_it_did_not() -> None:
    for status in range(300, 600):
        async with answering(lambda request, status=status: httpx.Response(status, text="no")) as account:
            error = await account.failure("create")
        assert isinstance(error, OutcomeUnknown) == (status not in PROOFS), status
        assert isinstance(error, WrongAddress) == (status in {404, 405, 410}), status


class Broken(NamedTuple):
    """What the transport raises: as which error a question and a creation end, and how both are counted."""

    raised: httpx.TransportError
    asked: type[CarrierError]
    made: type[CarrierError]
    counted: str


BROKEN = [
    Broken(httpx.ConnectError("x"), asked=NotSent, made=NotSent, counted="network"),
    Broken(httpx.ConnectTimeout("x"), asked=NotSent, made=NotSent, counted="network"),
    Broken(httpx.ProxyError("x"), asked=NotSent, made=NotSent, counted="network"),
    Broken(httpx.UnsupportedProtocol("x"), asked=NotSent, made=NotSent, counted="network"),
    Broken(httpx.ReadTimeout("x"), asked=TimedOut, made=OutcomeUnknown, counted="timeout"),
    Broken(httpx.WriteTimeout("x"), asked=TimedOut, made=OutcomeUnknown, counted="timeout"),
    Broken(httpx.ReadError("x"), asked=Unavailable, made=OutcomeUnknown, counted="network"),
    Broken(httpx.WriteError("x"), asked=Unavailable, made=OutcomeUnknown, counted="network"),
    Broken(httpx.CloseError("x"), asked=Unavailable, made=OutcomeUnknown, counted="network"),
    Broken(httpx.RemoteProtocolError("x"), asked=Unavailable, made=OutcomeUnknown, counted="network"),
    Broken(httpx.LocalProtocolError("x"), asked=Unavailable, made=OutcomeUnknown, counted="network"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: type(broken.raised).__name__)
async def test_no_answer_means_what_the_table_says(broken: Broken) -> None:
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        raise broken.raised

    async with answering(answer) as account:
        assert type(await account.failure("track")) is broken.asked
        assert type(await account.failure("create")) is broken.made
    assert account.observed == [("track", broken.counted), ("create", broken.counted)]
    assert calls == ["GET", "POST"]


def test_every_error_has_its_own_kind() -> None:
    from worker.carriers import port

    errors = [
        NotSent, Throttled, Unauthorized, Refused, NotFound, Unavailable, TimedOut, Unintelligible, OutcomeUnknown,
    ]  # fmt: skip
    assert {error.kind for error in errors} == set(FailureKind)
    assert all(error.__name__ in (port.__doc__ or "") for error in errors if error is not TimedOut)


NOW = datetime.now(UTC).replace(microsecond=0)
THEN = datetime(2001, 1, 1, tzinfo=UTC)


def stamp(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


RETRY_AFTER: list[tuple[str, str | None, timedelta | None]] = [
    ("0", None, timedelta(0)),
    ("120", None, timedelta(seconds=120)),
    (" 120 ", None, timedelta(seconds=120)),
    ("31536000", None, timedelta(days=365)),
    ("9" * 4000, None, timedelta(days=3650)),
    (stamp(THEN + timedelta(minutes=5)), stamp(THEN), timedelta(minutes=5)),
    (stamp(THEN - timedelta(minutes=5)), stamp(THEN), timedelta(0)),
    (stamp(THEN), None, timedelta(0)),
    (stamp(THEN + timedelta(days=365)), stamp(THEN), timedelta(days=365)),
    ("Fri, 31 Dec 9999 23:59:59 GMT", stamp(THEN), timedelta(days=3650)),
    ("Monday, 01-Jan-01 00:05:00 GMT", stamp(THEN), timedelta(minutes=5)),
    *(
        (nonsense, None, None)
        for nonsense in (
            *("", " ", "soon", "-5", "+5", "1.5", "1e3", "5 s", "0x10", "٣", "Mon, 32 Jan 2024 00:00:00 GMT"),
            *("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +99999999999999"),
            *("99999999999999999 Jan 2024 00:00:00", "Mon, 01 Jan 10000 00:00:00 GMT"),
        )
    ),
]


@pytest.mark.parametrize(("value", "date", "wait"), RETRY_AFTER, ids=[row[0][:40] for row in RETRY_AFTER])
@pytest.mark.parametrize("operation", ["track", "create"])
async def test_retry_after_is_read_in_both_forms(
    value: str, date: str | None, wait: timedelta | None, operation: str
) -> None:
    headers = [("Retry-After", value.encode()), *([("Date", date)] if date else [])]
    async with answering(httpx.Response(429, headers=headers)) as account:
        error = await account.failure(operation)
    assert type(error) is Throttled
    assert error.retry_after == wait


@pytest.mark.parametrize("date", [None, "nonsense", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
async def test_without_a_readable_date_our_own_clock_is_compared_with(date: str | None) -> None:
    headers = {"Retry-After": stamp(datetime.now(UTC) + timedelta(hours=1))} | ({"Date": date} if date else {})
    async with answering(httpx.Response(429, headers=headers)) as account:
        error = await account.failure("track")
    assert error.retry_after is not None
    assert timedelta(minutes=55) < error.retry_after <= timedelta(hours=1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("hops", "followed"), [(1, True), (3, True), (4, False), (50, False)])
async def test_a_question_follows_three_redirects_within_its_origin(status: int, hops: int, followed: bool) -> None:
    calls: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        if len(calls) <= hops:
            return httpx.Response(status, headers={"Location": f"/moved/{len(calls)}"})
        return httpx.Response(200, json={"status": "Created"})

    async with answering(answer) as account:
        if followed:
            assert (await account.track()).carrier_status == "Created"
        else:
            assert type(await account.failure("track")) is Unavailable
    assert len(calls) == min(hops, 3) + 1
    assert all((call.method, call.headers["x-api-key"]) == ("GET", KEY) for call in calls)
    assert {call.url.host for call in calls} == {"carrier.test"}


@pytest.mark.parametrize(
    "location",
    [
        *("https://evil.test/shipment", "//evil.test/x", "http://carrier.test/x", "https://carrier.test:444/x"),
        *("https://carrier.test.evil.test/", "https://key@carrier.test/", "https://carrier.test@evil.test/"),
        *("http://[::1", "http://[", "https://carrier.test:99999999/", "javascript:alert(1)", "file:///etc/passwd"),
        *("\\\\evil.test\\x", "https:\\\\evil.test", "https:///evil.test/x", "", "https://carrier.test\\@evil.test/"),
        *("ftp://carrier.test/", "https://carrier.test:443x/"),
    ],
)
async def test_the_key_is_never_sent_to_another_origin(location: str) -> None:
    calls: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        assert len(calls) < 9
        return httpx.Response(302, headers={"Location": location})

    async with answering(answer) as account:
        error = await account.failure("track")
    assert type(error) is Unavailable
    assert {(call.url.scheme, call.url.host, call.url.port) for call in calls} == {("https", "carrier.test", None)}
    assert KEY not in error.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "https://carrier.test/elsewhere", "https://evil.test/"])
async def test_a_creation_never_follows_a_redirect(status: int, location: str) -> None:
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        return httpx.Response(status, headers={"Location": location})

    async with answering(answer) as account:
        assert type(await account.failure("create")) is OutcomeUnknown
    assert calls == ["POST"]


UPPER, LOWER = "X", "x"


def _escaped(key: str, case: str = UPPER) -> str:
    """As .NET writes JSON: `+` and others as escapes."""
    return "".join(char if char.isalnum() else f"\\u{ord(char):04{case}}" for char in key)


ECHOES = [
    KEY,
    f"your key {KEY} is bad, {KEY}!",
    json.dumps({"title": f"bad key {KEY}", "errors": {KEY: [KEY, {KEY: KEY}], "x": KEY}}),
    json.dumps({"title": KEY}).replace("/", "\\/"),
    f'{{"title": "{_escaped(KEY)}", "errors": {{"{_escaped(KEY, "x")}": ["{_escaped(KEY)}"]}}}}',
    json.dumps({"status": KEY, "orderNumber": f"9/{KEY}"}),
    " " * (EXCERPT - 5) + KEY,
    json.dumps({"status": "x" * (MAX_RAW - 30) + KEY}),
]


async def _everything_said(account: Account, operation: str) -> str:
    try:
        answer = await getattr(account, operation)()
    except CarrierError as error:
        return "\n".join([error.message, error.raw or "", repr(error), str(error), repr(error.args)])
    return repr(answer)


@pytest.mark.parametrize("echo", ECHOES, ids=range(len(ECHOES)))
@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 409, 422, 429, 500, 503])
@pytest.mark.parametrize("operation", ["create", "track"])
async def test_a_key_that_the_carrier_echoes_is_never_passed_on(echo: str, status: int, operation: str) -> None:
    headers = {"Retry-After": KEY, "Location": f"https://evil.test/{KEY}", "X-Echo": KEY}
    async with answering(httpx.Response(status, text=echo, headers=headers)) as account:
        said = await _everything_said(account, operation)
    assert KEY not in said
    assert KEY not in json.dumps(said).replace("\\/", "/")
    assert "s3cret" not in said


async def test_the_halves_of_a_basic_key_are_masked_however_a_carrier_quotes_them() -> None:
    pair = base64.b64encode(b"webshop-7:s3cret-half").decode()
    for quoted in ("webshop-7 may not", "s3cret-half", pair, "webshop-7:s3cret-half"):
        async with answering(httpx.Response(400, text=quoted), key=lambda: f"Basic {pair}") as account:
            said = await _everything_said(account, "track")
        assert "webshop-7" not in said
        assert "s3cret-half" not in said
        assert pair not in said


async def test_a_key_that_is_replaced_while_it_is_under_way_is_masked_all_the_same() -> None:
    keys = iter([KEY, *["the-new-key"] * 9])
    async with answering(httpx.Response(400, text=f"bad {KEY}"), key=lambda: next(keys)) as account:
        assert "s3cret" not in await _everything_said(account, "track")


async def test_an_error_of_the_transport_that_quotes_the_carrier_is_masked_and_cleaned() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.RemoteProtocolError(f"bad header: b'echo: {KEY}\x00\x1b[31m\ud800'")

    async with answering(answer) as account:
        for operation in ("track", "create"):
            said = (await account.failure(operation)).message
            assert "s3cret" not in said
            assert "\x00" not in said
            assert "\x1b" not in said
            said.encode()


def test_a_configuration_does_not_hold_the_key_itself() -> None:
    assert KEY not in repr(AccountConfig(carrier="izipack", key=lambda: KEY))


def test_nothing_is_masked_where_there_is_no_key() -> None:
    assert without_secret(b"abc", "") == b"abc"
    assert without_secret(b"abc", "b") == b"a********c"


@pytest.mark.parametrize(
    "body",
    [
        '{"title": "a\\u0000b\\ud800", "errors": {"\\ud800": ["\\u0000", 1, null, {"a": NaN}], "x": {"y": 1}}}',
        '{"title": 5, "detail": [], "message": {}, "errors": []}',
        '{"title": "", "errors": {}}',
        '{"errors": {"x": ' + "[" * 900 + "]" * 900 + "}}",
        '{"errors": {"x": [' + '{"a":' * 450 + "1" + "}" * 450 + "]}}",
        '{"title": "' + "x" * 100_000 + '"}',
        "\x1b[31mred\x00",
        "[" * 100_000,
        "",
    ],
    ids=range(9),
)
@pytest.mark.parametrize("status", [400, 409, 500])
@pytest.mark.parametrize("operation", ["create", "track"])
async def test_a_refusal_in_any_shape_can_be_stored(body: str, status: int, operation: str) -> None:
    async with answering(httpx.Response(status, text=body)) as account:
        error = await account.failure(operation)
    for text in (error.message, error.raw or "{}"):
        text.encode()
        assert "\x00" not in text
        assert "\x1b" not in text
    assert len(error.message) < 1200
    json.loads(error.raw or "{}", parse_constant=pytest.fail)


async def test_a_refusal_says_what_the_carrier_said() -> None:
    problem = {
        "title": "One or more validation errors occurred.",
        "detail": "See errors.",
        "errors": {"sender.address.zipCode": ["is required", "is odd"], "packages": "none"},
    }
    async with answering(httpx.Response(400, json=problem)) as account:
        error = await account.failure("create")
    assert type(error) is Refused
    assert error.message == (
        "the carrier answered 400: One or more validation errors occurred.; See errors.; "
        "sender.address.zipCode: is required, is odd; packages: none"
    )
    assert json.loads(error.raw or "") == problem


async def test_json_has_a_limit_of_its_own() -> None:
    seen: list[object] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["call"].max_bytes)
        return httpx.Response(200, json={"status": "Created", "orderNumber": "9RET1"})

    async with answering(answer, max_label_bytes=1234) as account:
        await account.track("9RET1")
        await account.label()
        await account.create()
    assert seen == [MAX_JSON_BYTES, 1234, MAX_JSON_BYTES]


def test_an_unknown_carrier_is_no_carrier() -> None:
    with pytest.raises(KeyError):
        open_carrier(AccountConfig(carrier="nobody", key=lambda: KEY), lambda *_: None)
