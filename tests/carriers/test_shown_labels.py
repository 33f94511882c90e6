"""A label whose address was just shown is fetched by it, without asking for the order once more."""

from datetime import timedelta

import httpx
import pytest

from tests.carriers.pilot import NOW, at_carrier, document, listed, piloting, shipment
from worker.carriers.port import Throttled, Unintelligible
from worker.carriers.returnpilot.links import ShownLinks

LABEL = httpx.Response(200, content=b"%PDF-1.4 ...")
ORDER = "GET /api/v1/orders/10011"


def answering(*labels: httpx.Response, shipments: int = 1, **order: object) -> "Answer":
    """An order with so many labels, at addresses that are new each time it is shown; they bring these, the last on."""
    return Answer(list(labels) or [LABEL], shipments, order)


class Answer:
    def __init__(self, labels: list[httpx.Response], shipments: int, order: dict[str, object]) -> None:
        self.labels, self.shipments, self.order, self.shown = labels, shipments, order, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "provider.com":
            answer = self.labels.pop(0) if len(self.labels) > 1 else self.labels[0]
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        self.shown += 1
        parts = [
            shipment(number, label_url=f"https://provider.com/{number}?signed={self.shown}")
            for number in range(1, self.shipments + 1)
        ]
        if request.url.path.endswith("/orders"):
            return httpx.Response(200, json=listed(document(shipments=parts, **self.order)))
        return httpx.Response(200, json={"data": document(shipments=parts, **self.order)})


async def test_after_a_poll_a_label_costs_one_request() -> None:
    async with piloting(answering()) as pilot:
        await pilot.track()
        label = await pilot.label()
    assert pilot.sent == [ORDER, "GET /1?signed=1"]
    assert (label.position, label.content, label.more) == (1, LABEL.content, False)
    assert [operation for operation, _ in pilot.observed] == ["track", "label"]


async def test_after_a_sweep_a_label_costs_one_request() -> None:
    async with piloting(answering()) as pilot:
        page = await pilot.carrier.page(1)
        pilot.carrier.read(at_carrier(), page.sightings["10011"])
        await pilot.label()
    assert pilot.sent == ["GET /api/v1/orders?page=1&limit=50", "GET /1?signed=1"]


async def test_an_address_is_used_once() -> None:
    async with piloting(answering()) as pilot:
        await pilot.track()
        await pilot.label()
        await pilot.label()
    assert pilot.sent == [ORDER, "GET /1?signed=1", ORDER, "GET /1?signed=2"]


async def test_each_of_several_labels_is_fetched_by_what_one_poll_showed() -> None:
    async with piloting(answering(shipments=3)) as pilot:
        await pilot.track()
        first = await pilot.label()
        second = await pilot.label(labels=frozenset({1}))
        third = await pilot.label(labels=frozenset({1, 2}))
    assert pilot.sent == [ORDER, "GET /1?signed=1", "GET /2?signed=1", "GET /3?signed=1"]
    assert [(label.position, label.more) for label in (first, second, third)] == [(1, True), (2, True), (3, False)]


async def test_of_what_is_stored_already_no_address_is_kept() -> None:
    async with piloting(answering(shipments=2)) as pilot:
        await pilot.track(labels=frozenset({1}))
        assert (await pilot.label(labels=frozenset({1}))).position == 2
        await pilot.track(labels=frozenset({1, 2}))
        assert pilot.carrier.shown._shown == {}


@pytest.mark.parametrize("status", [403, 404, 410, 503])
async def test_an_address_that_works_no_more_costs_one_request_and_no_failure(status: int) -> None:
    async with piloting(answering(httpx.Response(status), LABEL)) as pilot:
        await pilot.track()
        label = await pilot.label()
    assert label.content == LABEL.content
    assert pilot.sent == [ORDER, "GET /1?signed=1", ORDER, "GET /1?signed=2"]


@pytest.mark.parametrize(("minutes", "requests"), [(5, 2), (5.1, 3)])
async def test_an_address_is_kept_for_some_minutes(minutes: float, requests: int) -> None:
    async with piloting(answering()) as pilot:
        await pilot.track()
        object.__setattr__(pilot.carrier, "clock", lambda: NOW + timedelta(minutes=minutes))
        await pilot.label()
    assert len(pilot.requests) == requests


async def test_a_carrier_that_turns_us_away_is_heard_at_a_kept_address_too() -> None:
    busy = httpx.Response(429, headers={"Retry-After": "60"})
    async with piloting(answering(busy), base_url="https://provider.com") as pilot:
        pilot.carrier.shown.keep(at_carrier(), {1: "https://provider.com/1"}, NOW)
        with pytest.raises(Throttled):
            await pilot.label()
    assert pilot.sent == ["GET /1"]


async def test_an_address_in_another_order_s_document_is_never_kept() -> None:
    async with piloting(answering(id=10012)) as pilot:
        assert isinstance(await pilot.failure("track"), Unintelligible)
        with pytest.raises(Unintelligible):
            pilot.carrier.read(at_carrier(), document(id=10012))
        assert pilot.carrier.shown._shown == {}


def test_no_more_addresses_are_kept_than_there_is_room_for() -> None:
    links = ShownLinks()
    for number in range(1, 1501):
        links.keep(at_carrier(carrier_ref=f"{number}"), {1: "https://provider.com/1"}, NOW)
    assert len(links._shown) == 1000
    links.keep(at_carrier(carrier_ref="2000"), {1: "https://provider.com/1"}, NOW + timedelta(minutes=6))
    assert list(links._shown) == ["2000"]
    links.keep(at_carrier(carrier_ref="2001"), {1: "https://provider.com/" + "x" * 5000}, NOW + timedelta(minutes=6))
    assert list(links._shown) == ["2000"]


async def test_a_kept_address_is_in_nothing_that_may_be_logged() -> None:
    async with piloting(answering()) as pilot:
        await pilot.track()
        assert "signed" not in repr(pilot.carrier) + repr(pilot.carrier.shown)
