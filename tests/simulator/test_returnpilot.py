"""The simulated ReturnPilot keeps to its documentation, limits and headers included."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from tests.simulator.conftest import Clock
from worker.simulator import Simulator
from worker.simulator.faults import cut, throttled, truncated

ORDER: dict[str, Any] = {
    "reference": "ORD-12345",
    "link_expires_at": 30,
    "line_items": [{"product_id": 1}],
    "name": "Schaefer, Nolan and Wehner",
    "email": "dave45@gmail.com",
    "phone": "+12069536978",
    "line_1": "492 Quitzon Avenue Apt. 157",
    "city": "Gustside",
    "region": "Massachusetts",
    "post_code": "17594-7013",
    "country": 230,
}


@dataclass
class Caller:
    sim: Simulator
    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, token: str = "RP-simulator", **options: Any) -> tuple[int, Any, Any]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.request(method, self.sim.url + path, headers=headers, **options) as answer:
            content = await answer.read()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return answer.status, json.loads(content) if is_json and content else content, answer.headers

    async def create(self, **changes: Any) -> tuple[int, Any, Any]:
        return await self.call("POST", "/api/v1/orders", json={**ORDER, **changes})

    async def order(self, number: int) -> dict[str, Any]:
        status, body, _ = await self.call("GET", f"/api/v1/orders/{number}")
        assert status == 200
        return dict(body["data"])


@pytest.fixture
async def caller(sim: Simulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Caller(sim, session)


async def test_a_creation_is_answered_with_id_and_link_and_not_wrapped(caller: Caller) -> None:
    status, body, _ = await caller.create()
    assert status == 201
    assert body.keys() == {"id", "return_url"}
    assert body["id"] in caller.sim.pilot_orders


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"reference": "x"}, "reference"),
        ({"country": "US"}, "country"),
        ({"country": 244}, "country"),
        ({"link_expires_at": 9}, "link_expires_at"),
        ({"line_items": []}, "line_items"),
        ({"line_items": [{}]}, "line_items.0"),
        ({"line_items": [{"product": {"sku": "x"}}]}, "line_items.0.product.price"),
        ({"line_2": ""}, "line_2"),
        ({"phone": "0612345678"}, "phone"),
    ],
)
async def test_each_documented_limit_is_checked(caller: Caller, changes: dict[str, Any], path: str) -> None:
    status, body, _ = await caller.create(**changes)
    assert status == 422
    assert path in body["errors"]
    assert not caller.sim.pilot_orders


async def test_without_the_token_nothing_is_done(caller: Caller) -> None:
    for method, path in (("GET", "/api/v1/orders"), ("POST", "/api/v1/orders"), ("GET", "/labels/1/1")):
        assert (await caller.call(method, path, token="wrong"))[0] == 401
    assert not caller.sim.pilot_orders


async def test_shipments_appear_move_and_arrive_as_time_passes(caller: Caller, clock: Clock) -> None:
    number = (await caller.create())[1]["id"]
    seen = []
    for _ in range(4):
        order = await caller.order(number)
        seen.append(([each["status"] for each in order["shipments"]], order["line_items"][0]["reason"]))
        clock.now += 10
    assert seen == [([], None), ([1], 10), ([2], 10), ([3], 10)]


async def test_a_label_is_served_by_the_api_itself(caller: Caller, clock: Clock) -> None:
    kinds = {"sim:png": b"\x89PNG", "sim:zpl": b"^XA", "plain": b"%PDF-"}
    for word, start in kinds.items():
        number = (await caller.create(reference=f"{word}-1"))[1]["id"]
        caller.sim.pilot_orders[number].stage = 1
        url = (await caller.order(number))["shipments"][0]["label_url"]
        status, content, _ = await caller.call("GET", url.removeprefix(caller.sim.url))
        assert (status, content[: len(start)]) == (200, start)


async def test_the_words_ask_for_what_they_say(caller: Caller) -> None:
    sim = caller.sim
    two = sim.add_pilot_order("sim:two-parcels")
    two.stage = 2
    assert [each["status"] for each in (await caller.order(two.id))["shipments"]] == [2, 1]
    expired = sim.add_pilot_order("sim:expired-link-1")
    expired.stage = 9
    order = await caller.order(expired.id)
    assert order["shipments"] == []
    assert datetime.fromisoformat(order["link_expires_at"]).replace(tzinfo=UTC) < datetime.now(UTC)
    slow = sim.add_pilot_order("sim:slow-label")
    slow.stage = 1
    urls = [(await caller.order(slow.id))["shipments"][0]["label_url"] for _ in range(3)]
    assert urls[:2] == [None, None]
    assert urls[2]
    dead = sim.add_pilot_order("sim:dead-label")
    assert (await caller.call("GET", f"/labels/{dead.id}/{dead.id}1"))[0] == 404
    statuses = [(await caller.create(reference=word))[0] for word in ("sim:refuse", "sim:server-error")]
    assert statuses == [422, 500]
    assert [(await caller.create(reference="sim:busy-1"))[0] for _ in range(2)] == [503, 201]
    with pytest.raises(aiohttp.ClientError):
        await caller.create(reference="sim:lost-answer")
    assert [order.reference for order in sim.pilot_orders.values()].count("sim:lost-answer") == 1


async def test_the_list_is_paged_as_documented_the_newest_first(caller: Caller) -> None:
    for number in range(45):
        caller.sim.add_pilot_order(f"R-{number}")
    _, first, _ = await caller.call("GET", "/api/v1/orders")
    assert [order["reference"] for order in first["data"]] == [f"R-{number}" for number in range(44, 24, -1)]
    assert first["links"]["last"] is None
    assert first["links"]["next"].endswith("?page=2")
    _, last, _ = await caller.call("GET", "/api/v1/orders?page=3&limit=20")
    assert [order["reference"] for order in last["data"]] == [f"R-{number}" for number in range(4, -1, -1)]
    assert last["links"]["next"] is None
    _, none, _ = await caller.call("GET", "/api/v1/orders?page=9&limit=50")
    assert (none["data"], none["links"]["next"]) == ([], None)
    assert (await caller.call("GET", "/api/v1/orders?limit=51"))[0] == 422
    assert caller.sim.requests("rp_orders")[1].query == "page=3&limit=20"


async def test_an_order_is_deleted_unless_it_has_shipments(caller: Caller) -> None:
    fresh, scheduled = caller.sim.add_pilot_order("R-1"), caller.sim.add_pilot_order("R-2")
    scheduled.stage = 1
    assert (await caller.call("DELETE", f"/api/v1/orders/{fresh.id}"))[0] == 204
    assert (await caller.call("DELETE", f"/api/v1/orders/{fresh.id}"))[0] == 404
    assert (await caller.call("DELETE", f"/api/v1/orders/{scheduled.id}"))[0] == 409
    assert list(caller.sim.pilot_orders) == [scheduled.id]


async def test_60_requests_a_minute_are_answered_and_each_answer_says_how_many_are_left(
    caller: Caller, clock: Clock
) -> None:
    answers = [await caller.call("GET", "/api/v1/orders") for _ in range(61)]
    assert [status for status, _, _ in answers] == [200] * 60 + [429]
    assert [headers["X-RateLimit-Remaining"] for _, _, headers in answers] == [*map(str, range(59, -1, -1)), "0"]
    headers = answers[-1][2]
    assert 1 <= int(headers["Retry-After"]) <= 60
    assert "X-RateLimit-Reset" in headers
    assert "Retry-After" not in answers[0][2]
    clock.now += int(headers["Retry-After"])
    assert (await caller.call("GET", "/api/v1/orders"))[0] == 200


async def test_faults_and_controls_reach_it_too(caller: Caller) -> None:
    caller.sim.inject("rp_create", cut(process=True))
    with pytest.raises(aiohttp.ClientError):
        await caller.create()
    _, shown, _ = await caller.call("GET", "/simulator/orders?carrier=returnpilot")
    assert shown["total"] == 1
    assert [order["reference"] for order in shown["orders"].values()] == ["ORD-12345"]
    assert (await caller.call("GET", "/simulator/orders?carrier=other"))[0] == 400
    (request,) = caller.sim.requests("rp_create")
    assert request.headers["authorization"] == "***"


async def test_an_injected_fault_counts_against_the_limit_and_its_own_headers_win(caller: Caller) -> None:
    caller.sim.inject("rp_orders", throttled(7))
    status, _, headers = await caller.call("GET", "/api/v1/orders")
    assert (status, headers["Retry-After"], headers["X-RateLimit-Remaining"]) == (429, "7", "59")
    caller.sim.inject("rp_orders", truncated())
    with pytest.raises(aiohttp.ClientPayloadError):
        await caller.call("GET", "/api/v1/orders")
    assert (await caller.call("GET", "/api/v1/orders"))[2]["X-RateLimit-Remaining"] == "57"


async def test_a_wait_is_never_longer_than_the_window(caller: Caller, clock: Clock) -> None:
    clock.now = 1200.0  # a multiple of 60
    answers = [await caller.call("GET", "/api/v1/orders") for _ in range(61)]
    assert answers[-1][2]["Retry-After"] == "60"


async def test_neither_izipack_nor_the_controls_know_a_limit_and_zero_is_none(caller: Caller) -> None:
    for path in ("/shipment/9RET1", "/simulator"):
        assert "X-RateLimit-Limit" not in (await caller.call("GET", path))[2]
    async with Simulator(rate_limit=0) as unlimited:
        caller.sim = unlimited
        answers = [await caller.call("GET", "/api/v1/orders") for _ in range(61)]
    assert {status for status, _, _ in answers} == {200}
    assert not any("X-RateLimit-Limit" in headers for _, _, headers in answers)


async def test_a_word_counts_in_any_field_of_the_body(caller: Caller) -> None:
    assert (await caller.create(city="sim:refuse-3"))[0] == 422
    number = (await caller.create(line_2="sim:bad-label"))[1]["id"]
    caller.sim.pilot_orders[number].stage = 1
    _, content, headers = await caller.call("GET", f"/labels/{number}/{number}1")
    assert (headers["Content-Type"], content[:5]) == ("application/pdf", b"<!DOC")


async def test_there_is_no_label_without_its_shipment(caller: Caller) -> None:
    order = caller.sim.add_pilot_order("R-1", stage=0)
    assert (await caller.call("GET", f"/labels/{order.id}/{order.id}1"))[0] == 404
    order.stage = 1
    assert (await caller.call("GET", f"/labels/{order.id}/{order.id}1"))[0] == 200
    assert (await caller.call("GET", f"/labels/{order.id}/{order.id}2"))[0] == 404


async def test_an_order_made_by_a_test_is_as_the_test_wants_it(caller: Caller) -> None:
    made = datetime(2024, 12, 9, 15, 39, 37, tzinfo=UTC)
    end = datetime(2025, 1, 8, 15, 39, 37, tzinfo=UTC)
    made_order = caller.sim.add_pilot_order("R-1", stage=2, created_utc=made, link_expires_at=end, city="Gustside")
    order = await caller.order(made_order.id)
    assert (order["created_at"], order["link_expires_at"]) == ("2024-12-09 15:39:37", "2025-01-08 15:39:37")
    assert (order["origin_address"]["city"], order["shipments"][0]["status"]) == ("Gustside", 2)


async def test_a_document_has_the_fields_of_the_documented_sample_and_stays_the_same(caller: Caller) -> None:
    number = caller.sim.add_pilot_order("R-1", stage=3).id
    order = await caller.order(number)
    times = {"created_at", "updated_at"}
    measures = {"length", "width", "height", "weight"}
    (item,), (shipment,) = order["line_items"], order["shipments"]
    assert item["product"].keys() == {"id", "sku", "description", "category", "price", "returnable"} | measures | times
    links = {"tracking_number", "tracking_url", "label_url"}
    assert shipment.keys() == {"id", "status", "package"} | links | measures | times
    assert await caller.order(number) == order


async def test_a_body_too_large_is_refused_in_its_own_words(caller: Caller) -> None:
    status, body, headers = await caller.call("POST", "/api/v1/orders", data=io.BytesIO(b" " * 1_100_000))
    assert (status, body) == (413, {"message": "Content Too Large"})
    assert "X-RateLimit-Limit" in headers
