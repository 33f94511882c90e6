"""A front before the carrier that passes a creation on and answers for itself, with the real process."""

from collections.abc import Callable

import pytest

from tests.databases import on_sqlite
from tests.process.running import PAYLOAD, PILOT_PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import reply

Start = Callable[..., RunningWorker]
OPEN_FOR_LONG = {"RETURNS_WORKER_CIRCUIT__FIRST": "30s", "RETURNS_WORKER_CIRCUIT__CAP": "30s"}
pytestmark = on_sqlite  # what is asked of the carrier does not depend on the database


async def _all_looked_at(shop: Shop) -> bool:
    return not await shop.execute("SELECT id FROM return_order WHERE error_code IS NULL AND state = 'pending'")


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_a_front_that_passes_a_creation_on_and_answers_404_gets_one(
    start: Start, shop: Shop, carrier: Simulator, status: int
) -> None:
    worker = await start(**OPEN_FOR_LONG).ready()
    carrier.inject("create", reply(status, process=True), None)
    carrier.inject("rp_create", reply(status, process=True), None)
    for number in range(16):
        await shop.insert(f"I-{number}", PAYLOAD)
        await shop.insert(f"P-{number}", PILOT_PAYLOAD, account="pilot")
    await until(lambda: _all_looked_at(shop), 20, lambda: worker.log_text)
    assert (len(carrier.orders), len(carrier.pilot_orders)) == (1, 1)
    stopped = [line["account"] for line in worker.events if line["event"] == "account_sending_stopped"]
    assert sorted(stopped) == ["default", "pilot"]
    # Found by its reference at the one, a person's at the other; nothing became of the rest.
    await until(lambda: _count(shop, "pilot", "tracking", 1), 20, lambda: worker.log_text)
    assert await _count(shop, "default", "needs_attention", 1)
    for account in ("default", "pilot"):
        assert await _count(shop, account, "pending", 15)
    assert (len(carrier.requests("create")), len(carrier.requests("rp_create"))) == (1, 1)

    async def told() -> bool:
        return await worker.metric('returns_worker_account_sending_stopped{account="default"}') == 1

    await until(told, 5)
    assert '"ready": true' in (await worker.get("/readyz"))[1]


@pytest.mark.parametrize("status", [406, 407, 424, 499])
async def test_an_answer_that_proves_nothing_costs_one_return_and_a_retry_makes_no_second_one(
    start: Start, shop: Shop, carrier: Simulator, status: int
) -> None:
    worker = await start(**OPEN_FOR_LONG).ready()
    carrier.inject("create", reply(status, process=True), None)
    for number in range(16):
        await shop.insert(f"I-{number}", PAYLOAD)
    await until(lambda: _count(shop, "default", "needs_attention", 1), 20, lambda: worker.log_text)
    await until(lambda: worker.saw("circuit_opened"), 5, lambda: worker.log_text)
    assert (len(carrier.orders), len(carrier.requests("create"))) == (1, 1)
    assert await _count(shop, "default", "pending", 15)


@pytest.mark.parametrize("warm", [False, True])
async def test_a_carrier_that_breaks_costs_at_most_what_is_in_flight(
    start: Start, shop: Shop, carrier: Simulator, warm: bool
) -> None:
    """Broken when the worker starts: one return. Breaking at full speed: eight, as many as there are places."""
    worker = await start(**OPEN_FOR_LONG).ready()
    if warm:
        for number in range(30):
            await shop.insert(f"WELL-{number}", PAYLOAD)
        await until(lambda: len(carrier.orders) == 30, 20, lambda: worker.log_text)
    known = len(carrier.orders)
    carrier.inject("create", reply(200, {"Content-Type": "application/json"}, "{}", process=True), None)
    values = ", ".join(f"('LOST-{number}', ?1)" for number in range(100))
    await shop.execute(f"INSERT INTO return_order (reference, payload) VALUES {values}", PAYLOAD)
    await until(lambda: worker.saw("circuit_opened"), 20, lambda: worker.log_text)
    await until(lambda: _nothing_in_flight(worker), 5)
    lost = len(carrier.orders) - known
    assert 1 <= lost <= (8 if warm else 1), worker.log_text
    await until(lambda: _count(shop, "default", "needs_attention", lost), 10, lambda: worker.log_text)


async def _nothing_in_flight(worker: RunningWorker) -> bool:
    return await worker.metric('returns_worker_in_flight{account="default"}') == 0


async def _count(shop: Shop, account: str, state: str, count: int) -> bool:
    rows = await shop.execute("SELECT id FROM return_order WHERE account = ?1 AND state = ?2", account, state)
    return len(rows) >= count if state == "tracking" else len(rows) == count
