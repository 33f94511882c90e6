"""One contract for every adapter: the same kind of answer comes to the same outcome, whoever the carrier is."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, cast

import httpx
import pytest

from tests.carriers import pilot, wire
from tests.carriers.pilot import NOW
from worker.carriers import open_carrier
from worker.carriers.edge import HttpEdge
from worker.carriers.port import (
    Cancelling,
    Carrier,
    CarrierError,
    Listing,
    NotFound,
    NoTimeLeft,
    NotSent,
    OutcomeUnknown,
    Refused,
    RequestOutcome,
    Searchable,
    Throttled,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unintelligible,
    WrongAddress,
)
from worker.carriers.registry import CARRIERS, AccountConfig
from worker.domain.decide import decide
from worker.domain.decision import StepOutcome
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.payload import InvalidPayload
from worker.domain.policy import Policy
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.http.transport import AnswerTooLarge
from worker.settings import AccountSettings

KEY = "a-s3cret-key"


@dataclass(frozen=True)
class Kind:
    """One carrier: a return of its own, and what it answers when all is well."""

    name: str
    order: ReturnOrder
    followed: ReturnOrder
    created: dict[str, Any]
    status: Callable[[str], dict[str, Any]]
    known_word: str


KINDS = [
    Kind(
        "izipack",
        wire.order(),
        wire.at_carrier(),
        {"orderNumber": "9RET326720205706", "packages": []},
        lambda word: {"status": word},
        "Created",
    ),
    Kind(
        "returnpilot",
        pilot.order(),
        pilot.at_carrier(),
        {"id": 10011, "return_url": "https://app.returnpilot.co/x"},
        lambda word: {"data": pilot.document(shipments=[pilot.shipment(status=word)])},
        "1",
    ),
]


class CountingPacer:
    """Says yes so many times."""

    def __init__(self, permits: int = 1000) -> None:
        self.permits = permits
        self.asked = 0
        self.remaining: list[int] = []

    async def permit(self, *, counted: bool = True) -> None:
        self.asked += 1
        if self.asked > self.permits:
            raise NoTimeLeft

    def check(self) -> None: ...

    def slow_down(self, remaining: int) -> None:
        self.remaining.append(remaining)


@dataclass
class Opened:
    kind: Kind
    carrier: Carrier
    requests: list[httpx.Request]
    observed: list[tuple[str, RequestOutcome]]
    pacer: CountingPacer

    async def create(self) -> Any:
        return await self.carrier.create(self.carrier.prepare(self.kind.order))

    async def track(self, order: ReturnOrder | None = None) -> Any:
        return await self.carrier.track(order or self.kind.followed)

    async def failure(self, operation: str) -> CarrierError:
        with pytest.raises(CarrierError) as caught:
            await getattr(self, operation)()
        return caught.value


Answer = httpx.Response | Exception


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def opened(request: pytest.FixtureRequest) -> Callable[..., Opened]:
    def open_with(answer: Answer | Callable[[Kind], Answer], permits: int = 1000, **config: Any) -> Opened:
        kind: Kind = request.param
        requests: list[httpx.Request] = []
        observed: list[tuple[str, RequestOutcome]] = []

        def handle(sent: httpx.Request) -> httpx.Response:
            requests.append(sent)
            result = answer(kind) if callable(answer) and not isinstance(answer, httpx.Response) else answer
            if isinstance(result, Exception):
                raise result
            assert isinstance(result, httpx.Response)
            return result

        pacer = CountingPacer(permits)
        carrier = open_carrier(
            AccountConfig(carrier=kind.name, key=lambda: KEY, base_url="https://carrier.test/base", **config),
            lambda operation, outcome, seconds: observed.append((operation, outcome)),
            wire.answered_by(handle),
            pacer,
        )
        return Opened(kind, carrier, requests, observed, pacer)

    return open_with


Open = Callable[..., Opened]


class Question(NamedTuple):
    """What comes instead of an answer to a question: as which error it ends, and how it is counted."""

    name: str
    answer: Answer
    error: type[CarrierError]
    counted: str


QUESTIONS = [
    Question("400", httpx.Response(400), error=Refused, counted="refused"),
    Question("401", httpx.Response(401), error=Unauthorized, counted="unauthorized"),
    Question("403", httpx.Response(403), error=Unauthorized, counted="unauthorized"),
    Question("404", httpx.Response(404), error=NotFound, counted="refused"),
    Question("410", httpx.Response(410), error=NotFound, counted="refused"),
    Question("429", httpx.Response(429, headers={"Retry-After": "7"}), error=Throttled, counted="throttled"),
    Question("500", httpx.Response(500), error=Unavailable, counted="server_error"),
    Question("503", httpx.Response(503), error=Unavailable, counted="server_error"),
    Question("503, wait", httpx.Response(503, headers={"Retry-After": "7"}), error=Throttled, counted="throttled"),
    Question("a page", httpx.Response(200, html="<html>Maintenance"), error=Unavailable, counted="server_error"),
    Question(
        "a page, as text", httpx.Response(200, text="\n<!doctype html>"), error=Unavailable, counted="server_error"
    ),
    Question("a page with 203", httpx.Response(203, html="<html>"), error=Unavailable, counted="server_error"),
    Question("a line of text", httpx.Response(200, text="Temporarily away"), error=Unavailable, counted="server_error"),
    Question(
        "half of it", httpx.Response(200, content=b'{"data": {"id": 10'), error=Unavailable, counted="server_error"
    ),
    Question("empty", httpx.Response(200), error=Unavailable, counted="server_error"),
    Question("blank", httpx.Response(200, content=b" \n"), error=Unavailable, counted="server_error"),
    Question("no content", httpx.Response(204), error=Unavailable, counted="server_error"),
    Question("a text in JSON", httpx.Response(200, json="away"), error=Unintelligible, counted="unintelligible"),
    Question("null", httpx.Response(200, content=b"null"), error=Unintelligible, counted="unintelligible"),
    Question("a list", httpx.Response(200, json=[]), error=Unintelligible, counted="unintelligible"),
    Question("an empty object", httpx.Response(200, json={}), error=Unintelligible, counted="unintelligible"),
    Question(
        "elsewhere",
        httpx.Response(302, headers={"Location": "https://x.test/"}),
        error=Unavailable,
        counted="server_error",
    ),
    Question("not reached", httpx.ConnectError("refused"), error=NotSent, counted="network"),
    Question("not reached in time", httpx.ConnectTimeout("slow"), error=NotSent, counted="network"),
    Question("no answer in time", httpx.ReadTimeout("slow"), error=TimedOut, counted="timeout"),
    Question("cut", httpx.ReadError("reset"), error=Unavailable, counted="network"),
    Question("too large", AnswerTooLarge("too large"), error=Unintelligible, counted="unintelligible"),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
async def test_a_question_ends_the_same_at_every_carrier(opened: Open, question: Question) -> None:
    account = opened(question.answer)
    failure = await account.failure("track")
    assert type(failure) is question.error
    assert account.observed == [("track", question.counted)]
    if question.error is Throttled:
        assert failure.retry_after == timedelta(seconds=7)


async def test_half_an_hour_of_maintenance_parks_no_return(opened: Open) -> None:
    """harvard-lil/perma#2649: the page came with 200, and each poll of it was a try of the return's own."""
    account = opened(httpx.Response(200, html="<!doctype html><title>Maintenance</title>"))
    order, began, now = account.kind.followed._replace(tracking_status=TrackingStatus.IN_TRANSIT), NOW, NOW
    for _ in range(40):
        failure = await account.failure("track")
        decision = decide(order, failure.failed, now, Policy(), 0.99)
        order, now = decision.order, decision.order.track_due_at or now
        assert (order.state, order.attempts, order.error_code) == (State.TRACKING, 0, ErrorCode.CARRIER_ERROR)
    assert now - began > timedelta(minutes=30)


CREATIONS: list[tuple[str, Answer, type[CarrierError]]] = [
    ("400", httpx.Response(400), Refused),
    ("422", httpx.Response(422), Refused),
    ("401", httpx.Response(401), Unauthorized),
    ("403", httpx.Response(403), Unauthorized),
    ("404", httpx.Response(404), WrongAddress),
    ("405", httpx.Response(405), WrongAddress),
    ("406", httpx.Response(406), OutcomeUnknown),
    ("407", httpx.Response(407), OutcomeUnknown),
    ("499", httpx.Response(499), OutcomeUnknown),
    ("409", httpx.Response(409), OutcomeUnknown),
    ("408", httpx.Response(408), OutcomeUnknown),
    ("429", httpx.Response(429), Throttled),
    ("500", httpx.Response(500), OutcomeUnknown),
    ("502", httpx.Response(502), OutcomeUnknown),
    ("503", httpx.Response(503), OutcomeUnknown),
    ("redirect", httpx.Response(307, headers={"Location": "https://carrier.test/x"}), OutcomeUnknown),
    ("success without JSON", httpx.Response(201, content=b"ok"), OutcomeUnknown),
    ("success without a number", httpx.Response(201, json={}), OutcomeUnknown),
    ("not reached", httpx.ConnectError("refused"), NotSent),
    ("not reached in time", httpx.ConnectTimeout("slow"), NotSent),
    ("no answer in time", httpx.ReadTimeout("slow"), OutcomeUnknown),
    ("cut", httpx.ReadError("reset"), OutcomeUnknown),
    ("broken answer", httpx.RemoteProtocolError("broken"), OutcomeUnknown),
    ("too large", AnswerTooLarge("too large"), OutcomeUnknown),
]


@pytest.mark.parametrize(("answer", "error"), [row[1:] for row in CREATIONS], ids=[row[0] for row in CREATIONS])
async def test_a_creation_ends_the_same_at_every_carrier_and_is_sent_once(
    opened: Open, answer: Answer, error: type[CarrierError]
) -> None:
    account = opened(answer)
    assert type(await account.failure("create")) is error
    assert [request.method for request in account.requests] == ["POST"]


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_any_success_with_a_number_is_a_creation(opened: Open, status: int) -> None:
    account = opened(lambda kind: httpx.Response(status, json=kind.created))
    created = await account.create()
    assert created.carrier_ref in json.dumps(account.kind.created)
    assert account.observed == [("create", RequestOutcome.OK)]


@pytest.mark.parametrize("nothing", [None, "", " \t"], ids=repr)
async def test_a_return_without_a_status_is_no_trouble_and_no_news(opened: Open, nothing: Any) -> None:
    """Shopify/active_shipping#420: a carrier has the shipment and has not said a word of it yet."""
    silent = opened(lambda kind: httpx.Response(200, json=kind.status(nothing)))
    decision = decide(silent.kind.followed, await silent.track(), NOW, Policy(), 0.5)
    assert (decision.order.tracking_status, decision.order.carrier_status) == (TrackingStatus.PRE_TRANSIT, None)
    assert silent.observed == [("track", RequestOutcome.OK)]
    # When it had said something before
    told = silent.kind.followed._replace(
        packages=(PackageInfo(1, "1"),),
        tracking_status=TrackingStatus.IN_TRANSIT,
        carrier_status="Onderweg",
        attempts=3,
    )
    words = {"onderweg": TrackingStatus.IN_TRANSIT}
    moving = opened(lambda kind: httpx.Response(200, json=kind.status(nothing)), status_map=words)
    decision = decide(told, await moving.track(told), NOW, Policy(), 0.5)
    # Then that stays, and nothing is wrong with it
    assert (decision.outcome, decision.transitions) == (StepOutcome.UNCHANGED, ())
    order = decision.order
    assert (order.tracking_status, order.carrier_status) == (TrackingStatus.IN_TRANSIT, "Onderweg")
    assert (order.attempts, order.error_code, order.unchanged_polls) == (0, None, 1)


@pytest.mark.parametrize("nonsense", [True, [], {}, ["Created"], {"name": "Created"}, 1.5], ids=repr)
async def test_a_status_that_is_no_word_has_no_sense(opened: Open, nonsense: Any) -> None:
    account = opened(lambda kind: httpx.Response(200, json=kind.status(nonsense)))
    failure = await account.failure("track")
    assert type(failure) is Unintelligible
    assert "no word" in failure.message
    assert account.observed == [("track", RequestOutcome.UNINTELLIGIBLE)]


async def test_a_known_word_is_read_and_an_unknown_one_is_kept(opened: Open) -> None:
    known = opened(lambda kind: httpx.Response(200, json=kind.status(kind.known_word)))
    assert (await known.track()).update.status is TrackingStatus.PRE_TRANSIT
    unknown = opened(lambda kind: httpx.Response(200, json=kind.status("AtDepot7")))
    update = (await unknown.track()).update
    assert (update.status, update.carrier_status) == (TrackingStatus.UNKNOWN, "AtDepot7")


@pytest.mark.parametrize("payload", ["", "{}", "[]", "null", '{"customer": []}', '{"items": 7, "packages": 7}'])
async def test_a_payload_without_sense_is_refused_with_its_paths_and_nothing_is_sent(
    opened: Open, payload: str
) -> None:
    account = opened(httpx.Response(500))
    order = wire.order() if account.kind.name == "izipack" else pilot.order()
    with pytest.raises(InvalidPayload) as caught:
        account.carrier.prepare(ReturnOrder(id=order.id, account="a", reference="345", payload=payload))
    assert all(": " in problem for problem in caught.value.problems)
    assert account.requests == []


async def test_the_key_is_in_a_header_and_nowhere_else(opened: Open) -> None:
    account = opened(httpx.Response(400, json={"message": f"bad key {KEY}"}))
    failure = await account.failure("track")
    (request,) = account.requests
    assert any(KEY in value for value in request.headers.values())
    assert KEY not in str(request.url)
    assert KEY not in failure.message + (failure.raw or "")


async def test_nothing_is_sent_without_a_permit(opened: Open) -> None:
    account = opened(httpx.Response(200), permits=0)
    for call in (
        account.create,
        account.track,
        account.carrier.ping,
        lambda: account.carrier.label(account.kind.followed),
    ):
        with pytest.raises(NoTimeLeft):
            await call()
    assert account.requests == []
    assert account.observed == []


async def test_a_redirect_needs_a_permit_of_its_own(opened: Open) -> None:
    account = opened(httpx.Response(302, headers={"Location": "/elsewhere"}), permits=2)
    with pytest.raises(NoTimeLeft):
        await account.track()
    assert len(account.requests) == 2


async def test_every_answer_says_how_many_requests_are_left(opened: Open) -> None:
    account = opened(lambda kind: httpx.Response(200, headers={"X-RateLimit-Remaining": "2"}, json=kind.status("1")))
    await account.track()
    assert account.pacer.remaining == [2]
    silent = opened(lambda kind: httpx.Response(200, headers={"X-RateLimit-Remaining": "-"}, json=kind.status("1")))
    await silent.track()
    assert silent.pacer.remaining == []


async def test_each_carrier_says_what_else_it_can(opened: Open) -> None:
    account = opened(httpx.Response(500))
    carrier, can = account.carrier, account.kind.name == "returnpilot"
    assert isinstance(carrier, Searchable) == isinstance(carrier, Listing) == isinstance(carrier, Cancelling) == can
    assert {"create", "label", "track"} <= set(CARRIERS[account.kind.name].operations)


def test_the_settings_that_one_carrier_alone_has_are_those_that_its_adapter_alone_is_opened_with() -> None:
    read: dict[str, set[str]] = {}

    class Watched:
        def __getattr__(self, name: str) -> Any:
            read[carrier].add(name)
            return getattr(AccountConfig(carrier=carrier, key=lambda: ""), name)

    for carrier, kind in CARRIERS.items():
        read[carrier] = set()
        kind.open(cast(AccountConfig, Watched()), cast(HttpEdge, None), kind.statuses)
    of_all = set.intersection(*read.values())
    settings = AccountSettings.model_fields.keys() - of_all
    assert {carrier: names & settings for carrier, names in read.items()} == {
        carrier: kind.own_settings for carrier, kind in CARRIERS.items()
    }


def test_every_carrier_stands_in_the_contract() -> None:
    assert {kind.name for kind in KINDS} == set(CARRIERS)
