"""What a sweep promises: few requests for many returns, none missed, none taken for gone, and creations before all."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.carriers.pilot import PAYLOAD, document, listed, shipment
from tests.carriers.wire import answered_by
from tests.process.running import until
from tests.steps.scripted import Loop, make_loop
from worker.carriers import open_carrier
from worker.carriers.port import Carrier
from worker.carriers.registry import AccountConfig
from worker.domain.pacing import Pace
from worker.steps.meter import Meter
from worker.store.database import Database

PAGE = 50


class ListedCarrier:
    """A ReturnPilot that is a list in memory; what happens between two requests is a test's to say."""

    def __init__(self, numbers: range) -> None:
        self.orders = [document(id=number, reference=f"R{number}") for number in reversed(numbers)]  # newest first
        self.requests: list[httpx.Request] = []
        self.before_page: Callable[[int], None] = lambda page: None
        self.while_answering: Callable[[], Awaitable[None]] | None = None
        self.answer: Callable[[httpx.Request], httpx.Response | None] = lambda request: None

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.while_answering is not None:
            await self.while_answering()
        if (answer := self.answer(request)) is not None:
            return answer
        if request.method == "POST":
            number = self.orders[0]["id"] + 1 if self.orders else 1
            self.orders.insert(0, document(id=number, reference=json.loads(request.content)["reference"], shipments=[]))
            return httpx.Response(201, json={"id": number, "return_url": "https://x.test/"})
        if request.url.path.endswith("/orders"):
            page = int(request.url.params["page"])
            self.before_page(page)
            shown = self.orders[(page - 1) * PAGE : page * PAGE]
            more = page * PAGE < len(self.orders)
            return httpx.Response(200, json=listed(*shown, next_page=page + 1 if more else None, page=page))
        number = int(request.url.path.rpartition("/")[2])
        found = [order for order in self.orders if order["id"] == number]
        return httpx.Response(200, json={"data": found[0]}) if found else httpx.Response(404, json={})

    def count(self, kind: str) -> int:
        return sum(self._kind(request) == kind for request in self.requests)

    def _kind(self, request: httpx.Request) -> str:
        if request.method == "POST":
            return "create"
        return "list" if request.url.path.endswith("/orders") else "show"


async def looped(database: Database, folder: Path, carrier: ListedCarrier, **options: Any) -> Loop:
    def open_with(meter: Meter) -> Carrier:
        return open_carrier(
            AccountConfig(carrier="returnpilot", key=lambda: "token", base_url="https://carrier.test/api/v1"),
            lambda operation, outcome, seconds: None,
            answered_by(carrier),
            meter,
        )

    return await make_loop(database, folder, {"default": open_with}, **options)


async def followed(loop: Loop, numbers: range, *, due: str = "due") -> None:
    """Rows that the carrier has, whose labels are stored, due since a while or only in an hour."""
    hour = timedelta(hours=1)
    moment = datetime.now(UTC) + (hour if due == "later" else -hour)
    await loop.insert_followed([f"{number}" for number in numbers], moment)


async def polled(loop: Loop) -> set[str]:
    """The references whose status has been seen."""
    return {row["reference"] for row in await loop.rows("reference, carrier_status") if row["carrier_status"]}


async def run_until_quiet(loop: Loop, turns: int = 200) -> None:
    for _ in range(turns):
        await loop.turn()
        if not await loop.due_now():
            return
    raise AssertionError("there is still something due")


async def test_3000_open_returns_are_polled_once_in_about_60_requests(database: Database, tmp_path: Path) -> None:
    numbers = range(1, 3001)
    carrier = ListedCarrier(numbers)
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, numbers)
    await run_until_quiet(loop)
    assert await polled(loop) == {f"{number}" for number in numbers}
    assert len(carrier.requests) <= 65, len(carrier.requests)
    assert carrier.count("list") == 60
    assert {row["lease_token"] for row in await loop.rows("lease_token")} == {1}  # each was taken exactly once
    assert {row["lease_owner"] for row in await loop.rows("lease_owner")} == {None}


async def test_a_list_that_grows_and_shrinks_under_a_sweep_hides_no_return_and_loses_none(
    database: Database, tmp_path: Path
) -> None:
    numbers = range(1, 501)
    carrier = ListedCarrier(numbers)

    def shift(page: int) -> None:
        if page % 2:  # somebody deletes orders that were on pages already read: what follows moves up, unseen
            del carrier.orders[5:12]
        else:  # customers come: what was seen moves down, and is shown again
            newest = carrier.orders[0]["id"]
            carrier.orders[0:0] = [document(id=newest + n, reference="new") for n in (3, 2, 1)]

    loop = await looped(database, tmp_path, carrier)
    await followed(loop, numbers)
    carrier.before_page = shift
    await loop.turn()
    await loop.settle()
    carrier.before_page = lambda page: None
    there = {order["id"] for order in carrier.orders}
    for _ in range(200):
        await loop.turn()
        seen = await polled(loop)
        if seen >= {f"{number}" for number in numbers if number in there}:
            break
    rows = await loop.rows("reference, state, tracking_status, error_code")
    for row in rows:
        gone = int(row["reference"]) not in there
        assert row["state"] == "tracking"
        assert row["tracking_status"] == "in_transit" or gone
        # What is gone was asked for by its number; that one answer says nothing for good.
        assert row["error_code"] in ((None, "carrier_lost_it") if gone else (None,))


async def test_a_sweep_ends_where_a_page_brings_one_due_return_and_asks_for_the_rest_one_by_one(
    database: Database, tmp_path: Path
) -> None:
    carrier = ListedCarrier(range(1, 1001))
    loop = await looped(database, tmp_path, carrier)
    # The newest 100 are due; behind them on page 3 one; and 15 at the end of the list.
    await followed(loop, range(901, 1001))
    await followed(loop, range(851, 852))
    await followed(loop, range(1, 16))
    await run_until_quiet(loop)
    assert carrier.count("list") == 3
    assert carrier.count("show") == 15
    assert len(await polled(loop)) == 116


async def test_a_sweep_that_brought_little_is_not_made_again_at_once(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 1001))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 61))
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (1, 60)


async def test_a_few_due_returns_are_asked_for_one_by_one(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 101))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 11))
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (0, 10)


async def test_a_return_seen_in_a_sweep_counts_as_polled(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 51))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 21))
    await followed(loop, range(21, 51), due="later")
    before = {row["reference"]: row["due_at"] for row in await loop.rows("reference, due_at")}
    await run_until_quiet(loop)
    assert len(await polled(loop)) == 50
    after = {row["reference"]: row["due_at"] for row in await loop.rows("reference, due_at")}
    assert all(after[reference] != before[reference] for reference in before)
    assert len(carrier.requests) == 1


async def test_a_misshapen_order_in_a_page_touches_no_other(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 51))
    carrier.orders[3]["shipments"] = [{"id": None}]
    carrier.orders[4]["shipments"] = "none"
    carrier.orders[5] = None  # type: ignore[call-overload]
    carrier.orders[6]["shipments"] = [shipment(status=None)]
    del carrier.orders[7]["line_items"], carrier.orders[7]["link_expires_at"]
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 51))
    await loop.turn()
    rows = {int(row["reference"]): row for row in await loop.rows("reference, tracking_status, error_code, state")}
    troubled = {47: "unintelligible_answer", 46: "unintelligible_answer"}
    for number, row in rows.items():
        assert row["state"] == "tracking"
        if number in troubled:
            assert row["error_code"] == troubled[number]
        elif number == 44:
            assert row["tracking_status"] == "pre_transit"
        elif number != 45:
            assert (row["tracking_status"], row["error_code"]) == ("in_transit", None)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"{}", b'{"data": {}}', b'{"data": [], "links": 7}', b"[]"], ids=lambda raw: raw.decode()
)
async def test_a_page_without_sense_ends_the_sweep_and_touches_nobody(
    database: Database, tmp_path: Path, answer: bytes
) -> None:
    carrier = ListedCarrier(range(1, 51))
    carrier.answer = lambda request: (
        httpx.Response(200, content=answer) if request.url.path.endswith("/orders") else None
    )
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 31))
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (1, 30)
    assert len(await polled(loop)) == 30


async def test_a_sweep_that_is_turned_away_holds_the_account(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 51))
    carrier.answer = lambda request: httpx.Response(429, headers={"Retry-After": "300"})
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 31))
    for _ in range(3):
        await loop.turn()
    assert len(carrier.requests) == 1
    assert {(row["attempts"], row["error_code"]) for row in await loop.rows("attempts, error_code")} == {(0, None)}


async def test_rows_that_are_held_asked_something_of_or_recorded_since_are_left_alone(
    database: Database, tmp_path: Path
) -> None:
    carrier = ListedCarrier(range(1, 51))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 41))
    later = "datetime('now', '+1 hour')" if database.dialect == "sqlite" else "now() + interval '1 hour'"
    held = f"lease_owner = 'another', lease_until = {later}, lease_token = 7"
    await loop.execute(f"UPDATE return_order SET {held} WHERE reference = '1'")
    await loop.execute("UPDATE return_order SET claims = 1 WHERE reference = '2'")
    await loop.execute("UPDATE return_order SET cancel_requested_at = created_at WHERE reference = '5'")
    ago = "datetime('now', '-1 hour')" if database.dialect == "sqlite" else "now() - interval '1 hour'"
    await loop.execute(f"UPDATE return_order SET updated_at = {ago}")
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if database.dialect == "sqlite" else "now()"

    async def record_meanwhile() -> None:
        """Another worker asks for this one alone, a moment after the page was made, and hears of its arrival."""
        carrier.while_answering = None
        news = f"carrier_status = '3', updated_at = {now}"
        await loop.execute(f"UPDATE return_order SET {news} WHERE reference = '4'")

    carrier.while_answering = record_meanwhile
    await loop.advance.turn()
    await until(lambda: not loop.accounts["default"].sweeping, 10)
    await loop.recorder.flush()
    rows = {row["reference"]: row for row in await loop.rows("reference, carrier_status, lease_token, claims")}
    assert rows["1"]["lease_token"] == 7
    assert rows["1"]["carrier_status"] is None
    assert (rows["2"]["carrier_status"], rows["2"]["claims"]) == (None, 1)  # what killed a worker is tried alone
    assert rows["3"]["carrier_status"] == "2"
    assert rows["4"]["carrier_status"] == "3"  # the page is older than that
    assert rows["5"]["carrier_status"] is None  # a withdrawal is not for a sweep to settle


async def test_a_sweep_leaves_requests_for_creations(database: Database, tmp_path: Path) -> None:
    numbers = range(1, 1001)
    carrier, pace = ListedCarrier(numbers), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace)
    await followed(loop, numbers)
    await loop.advance.turn()
    await until(lambda: len(carrier.requests) == pace.burst - 2, 5)
    await loop.insert("NEW-1", "NEW-2")
    await loop.execute(f"UPDATE return_order SET payload = '{json.dumps(PAYLOAD)}' WHERE state = 'pending'")
    await loop.advance.turn()
    await until(lambda: carrier.count("create") == 2, 5)
    assert carrier.count("list") <= pace.burst - 1  # what has grown back since
    await loop.advance.drain()
