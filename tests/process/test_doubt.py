"""A front before the carrier that passes a creation on and answers for itself, with the real process."""

from collections.abc import Callable

import pytest

from tests.databases import on_sqlite
from tests.process.running import PAYLOAD, PILOT_PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import reply

Start = Callable[..., RunningWorker]
pytestmark = on_sqlite  # what is asked of the carrier does not depend on the database


async def _all_looked_at(shop: Shop) -> bool:
    return not await shop.execute("SELECT id FROM return_order WHERE error_code IS NULL AND state = 'pending'")


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_a_front_that_passes_a_creation_on_and_answers_404_gets_one(
    start: Start, shop: Shop, carrier: Simulator, status: int
) -> None:
    worker = await start().ready()
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
    worker = await start().ready()
    carrier.inject("create", reply(status, process=True), None)
    for number in range(16):
        await shop.insert(f"I-{number}", PAYLOAD)
    await until(lambda: _count(shop, "default", "needs_attention", 1), 20, lambda: worker.log_text)
    await until(lambda: worker.saw("circuit_opened"), 5, lambda: worker.log_text)
    assert (len(carrier.orders), len(carrier.requests("create"))) == (1, 1)
    assert await _count(shop, "default", "pending", 15)


async def _count(shop: Shop, account: str, state: str, count: int) -> bool:
    rows = await shop.execute("SELECT id FROM return_order WHERE account = ?1 AND state = ?2", account, state)
    return len(rows) >= count if state == "tracking" else len(rows) == count
