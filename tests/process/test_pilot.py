"""ReturnPilot with the real process: the link, later shipments, lost creations, withdrawals, the rate limit."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.databases import on_postgresql, on_sqlite
from tests.process.running import PILOT_PAYLOAD, TOKEN, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import cut, hang

Start = Callable[..., RunningWorker]

# What does not depend on the kind of database is shown on one of them; each of these takes seconds.


async def insert(shop: Shop, reference: str, **changes: Any) -> None:
    await shop.insert(reference, {**PILOT_PAYLOAD, **changes}, account="pilot")


@on_sqlite
async def test_a_return_is_created_its_link_shown_its_shipment_labelled_and_followed_to_its_end(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await insert(shop, "ORD-1")
    await insert(shop, "sim:two-parcels")
    await until(lambda: shop.is_in("ORD-1", "completed"), 20, lambda: worker.log_text)
    order = await shop.order("ORD-1")
    (number,) = (each.id for each in carrier.pilot_orders.values() if each.reference == "ORD-1")
    assert (order["carrier_ref"], order["tracking_status"], order["carrier_status"]) == (str(number), "delivered", "3")
    assert order["return_url"].endswith(f"/return/{number}")
    walk = [row["new_value"] for row in await shop.history("ORD-1") if row["field"] == "tracking_status"]
    assert walk == ["pending", "pre_transit", "in_transit", "delivered"]
    of_it = f"WHERE return_order_id = {order['id']}"
    (label,) = await shop.execute(f"SELECT * FROM label {of_it}")
    assert (label["media_type"], label["position"]) == ("application/pdf", 1)
    (package,) = await shop.execute(f"SELECT * FROM package {of_it}")
    assert package["tracking_number"] == f"EX{number}1"

    # Each parcel of the other one has its own label.
    await until(lambda: shop.is_in("sim:two-parcels", "completed"), 20, lambda: worker.log_text)
    of_other = f"WHERE return_order_id <> {order['id']} ORDER BY position"
    for table in ("label", "package"):
        assert await shop.execute(f"SELECT position FROM {table} {of_other}") == [{"position": 1}, {"position": 2}]
    assert await worker.stopped() == 0
    assert TOKEN not in worker.log_text


@on_sqlite
async def test_a_creation_whose_answer_is_lost_is_found_and_adopted_and_never_sent_twice(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    carrier.inject("rp_create", cut(process=True))
    await insert(shop, "ORD-1")
    await until(lambda: shop.is_in("ORD-1", "completed"), 20, lambda: worker.log_text)
    assert len(carrier.requests("rp_create")) == len(carrier.pilot_orders) == 1
    reasons = [row["reason"] for row in await shop.history("ORD-1")]
    assert "found at the carrier by its reference, and adopted" in reasons


@on_postgresql
async def test_a_creation_of_a_worker_that_was_killed_is_found_by_the_next_one(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    first = await start().ready()
    carrier.inject("rp_create", hang(process=True))
    await insert(shop, "ORD-1")
    await until(lambda: carrier.requests("rp_create"), 10, lambda: first.log_text)
    first.send(signal.SIGKILL)
    await first.ended()
    second = await start().ready()
    await until(lambda: shop.is_in("ORD-1", "completed"), 25, lambda: second.log_text)
    assert len(carrier.requests("rp_create")) == len(carrier.pilot_orders) == 1


@on_sqlite
async def test_a_creation_that_never_arrived_is_sent_again_after_two_look_ups_that_nobody_can_outrun(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    carrier.inject("rp_create", cut())
    await insert(shop, "ORD-1")
    await until(lambda: shop.is_in("ORD-1", "completed"), 30, lambda: worker.log_text)
    lost, sent = carrier.requests("rp_create")
    assert sent.at - lost.at >= 5 + 2  # lease and time limit
    looked_up = [request for request in carrier.requests("rp_orders") if lost.at < request.at < sent.at]
    assert len(looked_up) == 2
    assert len(carrier.pilot_orders) == 1


@on_sqlite
async def test_a_withdrawal_deletes_the_order_at_the_carrier(start: Start, shop: Shop, carrier: Simulator) -> None:
    worker = await start().ready()
    await insert(shop, "sim:stuck-1")
    await until(lambda: shop.is_in("sim:stuck-1", "tracking"), 10, lambda: worker.log_text)
    await shop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    await until(lambda: shop.is_in("sim:stuck-1", "cancelled"), 10, lambda: worker.log_text)
    assert not carrier.pilot_orders
    assert (await shop.history("sim:stuck-1"))[-1]["reason"] == "withdrawn; the carrier deleted it"
    counted = 'returns_worker_steps_total{account="pilot",outcome="cancelled",step="cancel"}'
    await until(lambda: worker.metric(counted), 5)  # counted once the record is committed, a moment after it is seen
    assert await worker.metric(counted) == 1


@on_sqlite
async def test_a_withdrawal_that_comes_too_late_is_refused_and_the_return_followed_on(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await insert(shop, "ORD-1")
    await until(lambda: carrier.pilot_orders, 10, lambda: worker.log_text)
    (order,) = carrier.pilot_orders.values()
    order.stage = 1
    await until(lambda: shop.execute("SELECT id FROM label"), 10, lambda: worker.log_text)
    await shop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    await until(lambda: carrier.requests("rp_delete"), 10, lambda: worker.log_text)
    order.stage = 3
    await until(lambda: shop.is_in("ORD-1", "completed"), 10, lambda: worker.log_text)
    reasons = [row["reason"] or "" for row in await shop.history("ORD-1")]
    assert any("the carrier refuses the withdrawal" in reason for reason in reasons)
    assert len(carrier.requests("rp_delete")) == 1


@on_sqlite
async def test_a_withdrawal_asked_for_while_the_creation_is_in_doubt_waits_for_the_look_up(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    carrier.inject("rp_create", hang(process=True))
    await insert(shop, "sim:stuck-1")
    await until(lambda: carrier.requests("rp_create"), 10, lambda: worker.log_text)
    await shop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    await until(lambda: shop.is_in("sim:stuck-1", "cancelled"), 20, lambda: worker.log_text)
    assert not carrier.pilot_orders
    assert len(carrier.requests("rp_create")) == 1


@on_sqlite
async def test_the_pace_is_kept_at_the_carrier_whatever_there_is_to_do(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    paced = re.sub(r'(carrier = "returnpilot"(?:\n.*)*?\nrate_per_minute = )0', r"\g<1>120", config.read_text())
    config.write_text(paced)
    worker = await start().ready()
    for number in range(16):
        await insert(shop, f"ORD-{number}")
    await until(lambda: len(carrier.pilot_orders) == 16, 20, lambda: worker.log_text)
    at = [request.at for request in carrier.ledger if request.operation.startswith("rp_")]
    interval = 65.065 / (120 - 12 + 1)
    for first in range(len(at)):
        for last in range(first, len(at)):
            allowed = 12 + (at[last] - at[first] + 0.5) / interval
            assert last - first + 1 <= allowed, f"{last - first + 1} requests in {at[last] - at[first]:.1f} s"


@on_sqlite
async def test_many_due_returns_are_followed_by_the_list(start: Start, shop: Shop, carrier: Simulator) -> None:
    worker = await start().ready()
    for number in range(40):
        carrier.add_pilot_order(f"OLD-{number}").stage = 2
    rows = ", ".join(
        f"('pilot', 'OLD-{number}', '{{}}', 'tracking', 'track', '{number}', 'pending')"
        for number in carrier.pilot_orders
    )
    await shop.execute(  # all at once, else the first ones are asked for alone before the others are there
        "INSERT INTO return_order (account, reference, payload, state, next_step, carrier_ref, tracking_status)"
        f" VALUES {rows}"
    )
    await until(lambda: worker.saw("list_swept"), 15, lambda: worker.log_text)
    in_transit = "SELECT id FROM return_order WHERE tracking_status = 'in_transit'"
    await until(lambda: _count(shop, in_transit, 40), 15, lambda: worker.log_text)
    swept = 'returns_worker_carrier_requests_total{account="pilot",operation="sweep",outcome="ok"}'
    assert await worker.metric(swept) >= 1


async def _count(shop: Shop, statement: str, count: int) -> bool:
    return len(await shop.execute(statement)) == count
