"""The main job, with the real process: inserted by SQL, created, labelled, followed to its end."""

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.databases import on_sqlite
from tests.process.running import KEY, PAYLOAD, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import busy, hang

Start = Callable[..., RunningWorker]


async def test_a_return_inserted_by_sql_is_created_labelled_and_followed_to_delivered(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await shop.insert("R-1001")
    await until(lambda: carrier.requests("create"), 1, lambda: worker.log_text)
    await until(lambda: shop.is_in("R-1001", "completed"), 15, lambda: worker.log_text)
    served = "SELECT name FROM worker_serves WHERE kind = 'account' ORDER BY name"
    assert await shop.execute(served) == [{"name": "default"}, {"name": "pilot"}]

    order = await shop.order("R-1001")
    assert order["tracking_status"] == "delivered"
    assert order["carrier_status"] == "Delivered"
    assert order["carrier_ref"] in carrier.orders
    assert (order["error_code"], order["attempts"], order["due_at"], order["lease_owner"]) == (None, 0, None, None)
    history = await shop.history("R-1001")
    assert [(row["field"], row["old_value"], row["new_value"]) for row in history if row["field"] == "state"] == [
        ("state", "pending", "tracking"),
        ("state", "tracking", "completed"),
    ]
    words = [row["carrier_status"] for row in history if row["field"] == "tracking_status" and row["carrier_status"]]
    assert words == sorted(set(words), key=["Created", "PickedUp", "InTransit", "Delivered"].index)
    assert words[-1] == "Delivered"
    assert await worker.stopped() == 0
    assert await shop.execute(served) == []
    assert KEY not in worker.log_text


@on_sqlite
async def test_the_label_is_on_disk_as_the_label_row_says_and_has_a_page_for_each_package(
    start: Start, shop: Shop
) -> None:
    worker = await start().ready()
    await shop.insert("R-1")
    await until(lambda: shop.execute("SELECT id FROM label"), 10, lambda: worker.log_text)
    (label,) = await shop.execute("SELECT * FROM label")
    content = Path(unquote(urlsplit(label["location"]).path)).read_bytes()

    assert content.startswith(b"%PDF-")
    assert label["sha256"] == hashlib.sha256(content).hexdigest()
    assert (label["byte_count"], label["page_count"], label["media_type"]) == (len(content), 2, "application/pdf")
    packages = await shop.execute("SELECT position, label_code, description FROM package ORDER BY position")
    assert [(row["position"], row["description"]) for row in packages] == [(1, "package 1"), (2, "package 2")]


@on_sqlite
async def test_an_invalid_payload_is_rejected_with_every_path_named_and_can_be_mended(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    worker = await start().ready()
    wrong = {**PAYLOAD, "packages": [{"height": -1, "width": "5.000"}], "customer": {"name": ""}}
    await shop.insert("R-1", wrong)
    await until(lambda: shop.is_in("R-1", "rejected"), 10, lambda: worker.log_text)
    order = await shop.order("R-1")

    assert order["error_code"] == "invalid_payload"
    for path in ("customer.name", "customer.address.city", "packages[0].height", "packages[0].weight"):
        assert path in order["error_message"]
    (config.parent / "returns.json").write_text(json.dumps({"reference": "R-2", "payload": wrong}))
    await typed(config, "add", str(config.parent / "returns.json"))
    await until(lambda: shop.is_in("R-2", "rejected"), 10, lambda: worker.log_text)
    assert (await shop.order("R-2"))["error_message"] == order["error_message"]
    assert not carrier.requests("create")

    await shop.execute("UPDATE return_order SET payload = ?1 WHERE reference = 'R-1'", PAYLOAD)
    await shop.execute("UPDATE return_order SET retry_requested_at = created_at WHERE reference = 'R-1'")
    await until(lambda: shop.is_in("R-1", "completed"), 15, lambda: worker.log_text)
    assert len(carrier.requests("create")) == 1

    (rejected,) = [line for line in await shop.history("R-1") if line["new_value"] == "rejected"]
    assert rejected["reason"] == f"invalid_payload: {order['error_message']}"
    assert (await shop.order("R-1"))["error_message"] is None
    _, shown, _ = await typed(config, "show", "R-1")
    assert order["error_message"] in shown


@on_sqlite
async def test_a_lost_answer_is_never_sent_again_and_goes_to_a_person(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await shop.insert("R-1 sim:lost-answer")
    await until(lambda: shop.is_in("R-1 sim:lost-answer", "needs_attention"), 10, lambda: worker.log_text)
    await shop.insert("R-2")
    await until(lambda: shop.is_in("R-2", "completed"), 15, lambda: worker.log_text)

    assert (await shop.order("R-1 sim:lost-answer"))["error_code"] == "create_outcome_unknown"
    assert len(carrier.requests("create")) == 2


async def test_a_worker_killed_during_a_creation_does_not_make_the_next_one_send_it_again(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    first = await start().ready()
    carrier.inject("create", hang(process=True))
    await shop.insert("R-1")
    await until(lambda: carrier.requests("create"), 10, lambda: first.log_text)
    first.send(signal.SIGKILL)
    await first.ended()

    second = await start().ready()
    await until(lambda: shop.is_in("R-1", "needs_attention"), 15, lambda: second.log_text)
    assert (await shop.order("R-1"))["error_code"] == "create_outcome_unknown"
    assert len(carrier.requests("create")) == 1


@on_sqlite
async def test_a_stop_lets_a_creation_in_flight_finish_and_records_it(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    carrier.inject("create", busy(retry_after=1))
    await shop.insert("R-1")
    await until(lambda: carrier.requests("create"), 10)
    assert await worker.stopped() == 0
    order = await shop.order("R-1")
    assert (order["state"], order["create_started_at"], order["lease_owner"]) == ("pending", None, None)


@on_sqlite
async def test_a_second_signal_ends_it_at_once(start: Start, shop: Shop, carrier: Simulator) -> None:
    worker = await start().ready()
    carrier.inject("create", hang())
    await shop.insert("R-1")
    await until(lambda: carrier.requests("create"), 10)
    worker.send(signal.SIGTERM)
    await until(lambda: worker.saw("stopping"), 5)
    worker.send(signal.SIGTERM)
    assert await worker.ended(2) == 128 + signal.SIGTERM


@on_sqlite
async def test_a_withdrawal_stops_the_following_and_says_that_the_carrier_was_not_told(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await shop.insert("R-1 sim:stuck")
    await until(lambda: shop.is_in("R-1 sim:stuck", "tracking"), 10, lambda: worker.log_text)
    await shop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    await until(lambda: shop.is_in("R-1 sim:stuck", "cancelled"), 10, lambda: worker.log_text)

    last = (await shop.history("R-1 sim:stuck"))[-1]
    assert (last["old_value"], last["new_value"]) == ("tracking", "cancelled")
    assert "was not told" in last["reason"]
