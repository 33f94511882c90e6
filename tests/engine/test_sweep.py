"""What a sweep promises: few requests for many returns, none missed, none taken for gone, and creations before all."""

import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.carriers.pilot import PAYLOAD, document, listed, shipment
from tests.carriers.wire import answered_by
from tests.engine.scripted import Loop, make_loop
from tests.process.running import until
from worker.carriers import open_carrier
from worker.carriers.port import Carrier
from worker.carriers.registry import AccountConfig
from worker.domain.circuits import Circuit, Health
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.kin import Kin, Shared
from worker.domain.pacing import Pace
from worker.domain.tracking import TrackingStatus
from worker.engine.meter import Meter
from worker.from_settings import policy_of
from worker.settings import AccountSettings, Settings
from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.holds import change_health, hold_account

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
        if request.method == "DELETE":
            self.orders = [order for order in self.orders if order["id"] != number]
            return httpx.Response(204)
        found = [order for order in self.orders if order["id"] == number]
        return httpx.Response(200, json={"data": found[0]}) if found else httpx.Response(404, json={})

    def count(self, kind: str) -> int:
        return sum(self._kind(request) == kind for request in self.requests)

    def _kind(self, request: httpx.Request) -> str:
        if request.method in ("POST", "DELETE"):
            return "create" if request.method == "POST" else "cancel"
        if request.url.host == "labels.test":
            return "label"
        return "list" if request.url.path.endswith("/orders") else "show"


async def looped(
    database: Database, folder: Path, carrier: ListedCarrier, *, names: Sequence[str] = ("default",), **options: Any
) -> Loop:
    def open_with(meter: Meter) -> Carrier:
        return open_carrier(
            AccountConfig(carrier="returnpilot", key=lambda: "token", base_url="https://carrier.test/api/v1"),
            lambda operation, outcome, seconds: None,
            answered_by(carrier),
            meter,
        )

    return await make_loop(database, folder, dict.fromkeys(names, open_with), **options)


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


@pytest.mark.long
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


async def test_a_sweep_reads_the_pages_that_are_worth_it_and_asks_for_the_rest_one_by_one(
    database: Database, tmp_path: Path
) -> None:
    carrier = ListedCarrier(range(1, 1001))
    loop = await looped(database, tmp_path, carrier)
    # The newest 100 are due; behind them on page 3 one; and 15 at the end of the list.
    await followed(loop, range(901, 1001))
    await followed(loop, range(851, 852))
    await followed(loop, range(1, 16))
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (3, 1)
    assert len(await polled(loop)) == 116


async def test_500_returns_that_were_made_together_cost_some_ten_pages_wherever_they_stand(
    database: Database, tmp_path: Path
) -> None:
    """What is newer than they are is not due: the newest page shows none of them."""
    carrier = ListedCarrier(range(1, 3001))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1401, 1901))
    await run_until_quiet(loop)
    assert len(await polled(loop)) == 500
    assert len(carrier.requests) <= 13


async def test_what_the_list_does_not_show_is_asked_for_alone_at_once_and_not_looked_for_again(
    database: Database, tmp_path: Path
) -> None:
    carrier = ListedCarrier(range(1, 201))
    del carrier.orders[60:120]
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 201))
    await loop.turn()
    await loop.turn()
    pages = carrier.count("list")
    assert (pages, carrier.count("show")) == (3, 6)  # a turn's worth of those that are gone
    for _ in range(12):
        loop.now[0] += 700.0  # it thinks about the list again
        await loop.turn()
        await loop.turn()
    assert (carrier.count("list"), carrier.count("show")) == (pages, 60)


async def test_what_a_list_did_not_show_once_is_looked_for_again_when_its_next_poll_is_due(
    database: Database, tmp_path: Path
) -> None:
    """They are due together every time, so that no sweep in between finds that they were polled."""
    numbers = range(1, 201)
    carrier = ListedCarrier(numbers)
    empty = httpx.Response(200, json=listed(page=1))
    carrier.answer = lambda request: empty if request.url.path.endswith("/orders") else None
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, numbers)
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (1, 200)
    carrier.answer = lambda request: None
    loop.now[0] += 700.0
    due = "datetime('now', '-1 minute')" if database.dialect == "sqlite" else "now() - interval '1 minute'"
    await loop.execute(f"UPDATE return_order SET due_at = {due}, track_due_at = {due}")
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (5, 200)


async def test_returns_that_are_spread_thinly_are_asked_for_one_by_one(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 5001))
    loop = await looped(database, tmp_path, carrier)
    for number in range(100, 5000, 250):
        await followed(loop, range(number, number + 1))
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (1, 20)


async def test_a_sweep_that_was_not_worth_it_keeps_nothing_that_falls_due_later_from_one(
    database: Database, tmp_path: Path
) -> None:
    carrier = ListedCarrier(range(1, 5001))
    loop = await looped(database, tmp_path, carrier)
    for number in range(100, 5000, 250):
        await followed(loop, range(number, number + 1))
    await run_until_quiet(loop)
    before = len(carrier.requests)
    loop.now[0] += 15.0
    await followed(loop, range(4001, 4050))
    await run_until_quiet(loop)
    assert len(carrier.requests) - before <= 3


async def test_a_week_of_sweeps_in_vain_makes_the_next_wait_no_longer_than_ten_minutes(
    database: Database, tmp_path: Path
) -> None:
    carrier = ListedCarrier(range(1, 5001))
    loop = await looped(database, tmp_path, carrier)
    for number in range(100, 5000, 250):
        await followed(loop, range(number, number + 1))
    sweeps = loop.engine._sweeps
    sweeps._known["default"].in_vain = 2000
    await sweeps.sweep(loop.accounts["default"], lambda: False)
    assert carrier.count("list") == 1
    assert sweeps._known["default"].not_before == loop.now[0] + 600


async def test_a_few_due_returns_are_asked_for_one_by_one(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 101))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 5))
    await run_until_quiet(loop)
    assert (carrier.count("list"), carrier.count("show")) == (0, 4)


async def test_what_another_worker_is_sweeping_is_left_to_it(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 501))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 501))
    later = "datetime('now', '+1 hour')" if database.dialect == "sqlite" else "now() + interval '1 hour'"

    async def be_faster() -> None:
        """Another worker has this page a moment before us."""
        carrier.while_answering = None
        await loop.execute(f"UPDATE return_order SET due_at = {later}, track_due_at = {later} WHERE id > 400")

    carrier.while_answering = be_faster
    looks = iter([False, False, True])
    account = loop.accounts["default"]
    await loop.engine._sweeps.sweep(account, lambda: next(looks))
    assert len(carrier.requests) == 1


@pytest.mark.parametrize("returns", [100, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_returns_that_were_created_within_a_minute_are_polled_three_times_for_less_than_a_third_of_a_request_each(
    database: Database, tmp_path: Path, returns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Creations and downloads of labels aside. With the second poll each has a shipment, and its label is fetched."""
    carrier = ListedCarrier(range(1, 3 * PAGE))  # orders that are over
    carrier.answer = lambda request: (
        httpx.Response(200, content=b"^XA^FO9,9^FDlabel^FS^XZ") if request.url.host == "labels.test" else None
    )
    loop = await looped(database, tmp_path, carrier, max_in_flight=50)
    loop.accounts["default"].policy = policy_of(
        Settings(accounts={"default": AccountSettings(carrier="returnpilot")}), "default", timedelta(seconds=7)
    )
    await created(loop, returns)
    for order in carrier.orders:
        order["link_expires_at"] = "2100-01-01 00:00:00"
    for status, unchanged in (("pending", 1), ("pre_transit", 0), ("pre_transit", 1)):
        if (status, unchanged) == ("pre_transit", 0):
            for order in carrier.orders[:returns]:
                order["shipments"] = [shipment(order["id"], status=1, label_url="https://labels.test/l?signed=1")]
        polled = (status, unchanged)
        while {(row["tracking_status"], row["unchanged_polls"]) for row in await loop.rows()} != {polled}:
            await pass_to_next_due(loop)
            await run_until_quiet(loop)
    assert carrier.count("create") == carrier.count("label") == returns
    labels = text("SELECT count(*) FROM label")
    assert await loop.database.reading(lambda connection: connection.execute(labels).scalar_one()) == returns
    with capsys.disabled():
        print(
            f"\n{returns} polled three times: {carrier.count('list')} pages + {carrier.count('show')} single requests"
        )
    assert carrier.count("list") + carrier.count("show") <= 0.3 * returns


async def created(loop: Loop, returns: int) -> None:
    """So many, made one after the other within a minute that ends now."""
    await loop.insert(*(f"R-{number}" for number in range(returns)))
    as_json = "CAST('{}' AS jsonb)" if loop.database.dialect == "postgresql" else "'{}'"
    payload = as_json.replace("{}", json.dumps(PAYLOAD).replace("'", "''"))
    await loop.execute(f"UPDATE return_order SET payload = {payload}")
    while {row["state"] for row in await loop.rows("state")} != {"tracking"}:
        await loop.turn()
    ladder, now = loop.accounts["default"].policy.ladder(TrackingStatus.PENDING), datetime.now(UTC)
    by_moment: dict[datetime, list[str]] = {}
    for index, row in enumerate(await loop.rows("id")):
        born = now - timedelta(minutes=1 - index / returns)
        by_moment.setdefault(ladder.next_at(born, 0, 0.5), []).append(str(row["id"]))
    for moment, ids in by_moment.items():
        at = f"'{moment.replace(tzinfo=None).isoformat(' ', 'milliseconds')}'"
        at = at if loop.database.dialect == "sqlite" else f"timestamptz {at[:-1]}+00'"
        await loop.execute(f"UPDATE return_order SET due_at = {at}, track_due_at = {at} WHERE id IN ({', '.join(ids)})")


async def pass_to_next_due(loop: Loop) -> None:
    """Let time pass until what is due next is due, by moving what the rows say so much earlier."""
    first = min(read_moment(row["due_at"]) for row in await loop.rows("due_at"))
    seconds = (first - datetime.now(UTC)).total_seconds() + 0.01
    loop.now[0] += seconds
    for name in ("due_at", "track_due_at"):
        if loop.database.dialect == "sqlite":
            moved = f"strftime('%Y-%m-%d %H:%M:%f', {name}, '{-seconds:+.3f} seconds')"
        else:
            moved = f"{name} - interval '{seconds:.3f} seconds'"
        await loop.execute(f"UPDATE return_order SET {name} = {moved}")


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
        if carrier.requests[-1].method == "DELETE":
            return
        carrier.while_answering = None
        news = f"carrier_status = '3', updated_at = {now}"
        await loop.execute(f"UPDATE return_order SET {news} WHERE reference = '4'")

    carrier.while_answering = record_meanwhile
    await loop.engine.turn()
    await until(lambda: not loop.accounts["default"].sweeping, 10)
    await loop.recorder.flush()
    rows = {row["reference"]: row for row in await loop.rows("reference, carrier_status, lease_token, claims")}
    assert rows["1"]["lease_token"] == 7
    assert rows["1"]["carrier_status"] is None
    assert (rows["2"]["carrier_status"], rows["2"]["claims"]) == (None, 1)  # what killed a worker is tried alone
    assert rows["3"]["carrier_status"] == "2"
    assert rows["4"]["carrier_status"] == "3"  # the page is older than that
    assert rows["5"]["carrier_status"] is None  # a withdrawal is not for a sweep to settle


async def new(loop: Loop, count: int) -> None:
    """So many returns that are to be created."""
    await loop.insert(*(f"NEW-{number}" for number in range(count)))
    await loop.execute(f"UPDATE return_order SET payload = '{json.dumps(PAYLOAD)}' WHERE state = 'pending'")


async def withdrawn(loop: Loop, numbers: range) -> None:
    """The shop asks for it, as it does by SQL: they are due from now on."""
    refs = ", ".join(f"'{number}'" for number in numbers)
    await loop.execute(f"UPDATE return_order SET cancel_requested_at = created_at WHERE carrier_ref IN ({refs})")


async def turn_once(loop: Loop) -> None:
    """A turn, until what it sent is answered and written; a sweep goes on."""
    await loop.engine.turn()
    await until(lambda: not any(account.in_hand for account in loop.accounts.values()), 5)
    await loop.recorder.flush()


async def let_requests_grow(loop: Loop, pace: Pace, requests: int) -> None:
    """Time passes for the pace alone."""
    seconds = requests * pace.interval.total_seconds()
    if loop.database.dialect == "sqlite":
        earlier = f"strftime('%Y-%m-%d %H:%M:%f', spent_until, '{-seconds:+.3f} seconds')"
    else:
        earlier = f"spent_until - interval '{seconds:.3f} seconds'"
    await loop.execute(f"UPDATE carrier_account SET spent_until = {earlier} WHERE spent_until IS NOT NULL")


async def test_withdrawals_go_out_beside_a_backlog_of_creations_and_of_polls(
    database: Database, tmp_path: Path
) -> None:
    """20 of them at 50 requests a minute; the sweep that so many polls ask for would wait in vain."""
    carrier, pace = ListedCarrier(range(1, 301)), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace, chance=random.Random(18).random)
    await followed(loop, range(1, 301))
    await new(loop, 200)
    await withdrawn(loop, range(271, 291))
    await loop.execute(  # the label of some is sought first
        "UPDATE return_order SET next_step = 'label', label_due_at = track_due_at, label_sought_since = track_due_at"
        " WHERE carrier_ref IN ('271', '272', '273')"
    )
    for _ in range(60):
        await turn_once(loop)
        if carrier.count("cancel") == 20:
            break
        await let_requests_grow(loop, pace, 1)
    assert carrier.count("cancel") == 20, [carrier.count(kind) for kind in ("cancel", "create", "show", "list")]
    assert len(carrier.requests) <= 60
    assert carrier.count("create") > 0  # in one turn of four they come first
    assert carrier.count("list") == 0
    states = {row["carrier_ref"]: row["state"] for row in await loop.rows("carrier_ref, state")}
    assert {states[f"{number}"] for number in range(271, 291)} == {"cancelled"}
    await loop.engine.drain()


async def test_a_withdrawal_may_find_out_whether_a_carrier_is_well_again(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 11))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 3))
    await withdrawn(loop, range(1, 3))

    def half_open(health: Health, now: datetime) -> Health:
        return replace(health, account=Circuit(5, now - timedelta(seconds=1)))

    await change_health(database, "default", half_open)
    await loop.turn()
    assert carrier.count("cancel") == 1
    await loop.turn()
    assert carrier.count("cancel") == 2


async def test_a_withdrawal_does_not_wait_for_another_workers_sweep(database: Database, tmp_path: Path) -> None:
    carrier = ListedCarrier(range(1, 501))
    loop = await looped(database, tmp_path, carrier)
    await followed(loop, range(1, 501))
    later = "datetime('now', '+1 hour')" if database.dialect == "sqlite" else "now() + interval '1 hour'"

    async def be_faster() -> None:
        """Another worker has this page a moment before us."""
        carrier.while_answering = None
        await loop.execute(f"UPDATE return_order SET due_at = {later}, track_due_at = {later} WHERE id > 400")

    carrier.while_answering = be_faster
    await turn_once(loop)
    await until(lambda: carrier.count("list") == 1, 5)
    await withdrawn(loop, range(1, 3))
    await turn_once(loop)
    assert (carrier.count("cancel"), loop.accounts["default"].sweeping) == (2, True)
    await loop.engine.drain()


async def test_polls_take_their_turns_one_by_one_where_creations_leave_no_request_for_a_page(
    database: Database, tmp_path: Path
) -> None:
    carrier, pace = ListedCarrier(range(1, 101)), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace, max_in_flight=8, chance=lambda: 0.05)
    await followed(loop, range(1, 101))
    await new(loop, 20)
    await turn_once(loop)
    await until(lambda: not loop.accounts["default"].sweeping, 1)
    assert (carrier.count("create"), carrier.count("show")) == (pace.burst, 0)
    await let_requests_grow(loop, pace, 3)
    await turn_once(loop)  # by that chance polls come first
    assert carrier.count("show") >= 3
    assert carrier.count("list") == 0
    await loop.engine.drain()


async def test_a_sweep_gives_up_at_once_where_creations_wait_and_tells_of_no_page(
    database: Database, tmp_path: Path
) -> None:
    carrier, pace = ListedCarrier(range(1, 101)), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace, max_in_flight=8)
    await followed(loop, range(1, 101))
    await new(loop, 20)
    account = loop.accounts["default"]
    with capture_logs() as logs:
        await turn_once(loop)
        await until(lambda: not account.sweeping, 1)
        assert (carrier.count("create"), len(carrier.requests)) == (pace.burst, pace.burst)
        for _ in range(3):
            await turn_once(loop)
            assert not account.sweeping  # none is begun while they wait
        assert "list_swept" not in {entry["event"] for entry in logs}
        await loop.execute("DELETE FROM return_order WHERE state = 'pending'")
        await let_requests_grow(loop, pace, pace.burst)
        loop.now[0] += 6.0  # and it is thought of again soon
        await turn_once(loop)
        await loop.engine.turn()
        await until(lambda: any(entry["event"] == "list_swept" for entry in logs), 5)
    (swept,) = [entry for entry in logs if entry["event"] == "list_swept"]
    assert (swept["pages"], swept["due_seen"]) == (carrier.count("list"), len(await polled(loop)))
    await loop.engine.drain()


async def test_a_sweep_ends_when_creations_begin_to_wait_and_tells_what_it_read(
    database: Database, tmp_path: Path
) -> None:
    carrier, pace = ListedCarrier(range(1, 1001)), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace)
    await followed(loop, range(1, 1001))
    account = loop.accounts["default"]
    with capture_logs() as logs:
        await loop.engine.turn()
        await until(lambda: carrier.count("list") == pace.burst - 2, 5)
        await new(loop, 10)
        await turn_once(loop)
        await until(lambda: not account.sweeping, 1)
    (swept,) = [entry for entry in logs if entry["event"] == "list_swept"]
    assert (swept["pages"], swept["due_seen"]) == (pace.burst - 2, (pace.burst - 2) * PAGE)
    await loop.engine.drain()


async def test_a_sweep_gives_way_to_creations_of_every_account_with_its_key(database: Database, tmp_path: Path) -> None:
    carrier, pace = ListedCarrier(range(1, 101)), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace, names=("default", "other"))
    for account in loop.accounts.values():
        account.beside = lambda: Kin(("default", "other"), ("default", "other"))
        account.meter._shared = lambda: Shared("default", pace)
    await followed(loop, range(1, 101))
    await new(loop, 20)
    await loop.execute("UPDATE return_order SET account = 'other' WHERE state = 'pending'")
    for _ in range(3):
        await turn_once(loop)
    await until(lambda: not loop.accounts["default"].sweeping, 1)
    pages = carrier.count("list")
    hold = Hold(datetime.now(UTC) + timedelta(hours=1), ErrorCode.CARRIER_BUSY, "wait")
    await hold_account(database, "other", hold, None)  # what is held takes no requests from anybody
    loop.now[0] += 6.0
    for _ in range(2):
        await let_requests_grow(loop, pace, pace.burst)
        await turn_once(loop)
    await let_requests_grow(loop, pace, pace.burst)
    await until(lambda: carrier.count("list") > pages, 5)
    await loop.engine.drain()


async def test_a_sweep_leaves_requests_for_creations(database: Database, tmp_path: Path) -> None:
    numbers = range(1, 1001)
    carrier, pace = ListedCarrier(numbers), Pace(50)
    loop = await looped(database, tmp_path, carrier, pace=pace)
    await followed(loop, numbers)
    await loop.engine.turn()
    await until(lambda: len(carrier.requests) == pace.burst - 2, 5)
    await new(loop, 2)
    await loop.engine.turn()
    await until(lambda: carrier.count("create") == 2, 5)
    assert carrier.count("list") <= pace.burst - 1  # what has grown back since
    await loop.engine.drain()
