"""Lost creations at a carrier whose list cannot be trusted, with the real process: never twice, never another's."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.databases import on_sqlite
from tests.process.running import PILOT_PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import changed_references, cut, empty_list, lagging_list

Start = Callable[..., RunningWorker]
CUSTOMER: dict[str, Any] = PILOT_PAYLOAD["customer"]


async def insert(shop: Shop, reference: str, account: str = "pilot", email: str | None = None) -> None:
    customer = {**CUSTOMER, **({"email": email, "name": email} if email else {})}
    await shop.insert(reference, {**PILOT_PAYLOAD, "customer": customer}, account=account)


@pytest.mark.parametrize(
    ("reference", "change"),
    [
        ("00123", "number"),
        ("A&B-1", "entities"),
        ("2024/7", "separator"),
        ("ORDER-2024-000123", "cut"),
        ("Bestélling-7", "dropped"),
        ("ORD-7", "replaced"),
    ],
)
@on_sqlite
async def test_a_lost_creation_whose_reference_the_list_changed_is_a_person_s_and_never_sent_again(
    start: Start, shop: Shop, carrier: Simulator, reference: str, change: str
) -> None:
    worker = await start().ready()
    carrier.inject("rp_create", cut(process=True))
    carrier.inject("rp_orders", changed_references(change), times=None)
    await insert(shop, reference)
    await until(lambda: shop.is_in(reference, "needs_attention"), 20, lambda: worker.log_text)
    order = await shop.order(reference)
    assert order["error_code"] == "reference_not_unique"
    (number,) = carrier.pilot_orders
    assert str(number) in order["error_message"]
    assert len(carrier.requests("rp_create")) == 1


@pytest.mark.parametrize("fault", [empty_list(), lagging_list(3600)], ids=["empty", "lagging"])
async def test_a_list_that_hides_what_we_recorded_a_moment_ago_is_not_believed(
    start: Start, shop: Shop, carrier: Simulator, fault: Any
) -> None:
    worker = await start().ready()
    for number in range(5):
        await insert(shop, f"sim:stuck-{number}", email=f"customer-{number}@example.com")
    tracked = "SELECT id FROM return_order WHERE state = 'tracking'"
    await until(lambda: _count(shop, tracked, 5), 10, lambda: worker.log_text)
    carrier.inject("rp_orders", fault, times=None)
    carrier.inject("rp_create", cut(process=True))
    await insert(shop, "sim:stuck-lost", email="lost@example.com")
    failed = "SELECT id FROM return_order WHERE attempts >= 3 AND error_message LIKE '%does not show%'"
    await until(lambda: _count(shop, failed, 1), 20, lambda: worker.log_text)
    carrier.clear_faults()
    await until(lambda: shop.is_in("sim:stuck-lost", "tracking"), 20, lambda: worker.log_text)
    assert len(carrier.requests("rp_create")) == len(carrier.pilot_orders) == 6


@on_sqlite
async def test_a_list_that_never_shows_what_we_recorded_ends_at_a_person(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await insert(shop, "sim:stuck-1", email="first@example.com")
    await until(lambda: shop.is_in("sim:stuck-1", "tracking"), 10, lambda: worker.log_text)
    carrier.inject("rp_orders", empty_list(), times=None)
    carrier.inject("rp_create", cut())
    await insert(shop, "sim:stuck-2", email="second@example.com")
    await until(lambda: shop.is_in("sim:stuck-2", "needs_attention"), 30, lambda: worker.log_text)
    assert (await shop.order("sim:stuck-2"))["error_code"] == "create_outcome_unknown"
    assert len(carrier.requests("rp_create")) == 2


@pytest.mark.long  # the answer of the list is walked in tests/domain and tests/engine each time
@on_sqlite
async def test_what_we_withdrew_there_need_not_be_shown(start: Start, shop: Shop, carrier: Simulator) -> None:
    worker = await start().ready()
    await insert(shop, "sim:stuck-1", email="first@example.com")
    await until(lambda: shop.is_in("sim:stuck-1", "tracking"), 10, lambda: worker.log_text)
    await shop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    await until(lambda: shop.is_in("sim:stuck-1", "cancelled"), 10, lambda: worker.log_text)
    carrier.inject("rp_create", cut())
    await insert(shop, "sim:stuck-2", email="second@example.com")
    await until(lambda: shop.is_in("sim:stuck-2", "tracking"), 30, lambda: worker.log_text)
    assert len(carrier.requests("rp_create")) == 3


async def _count(shop: Shop, statement: str, count: int) -> bool:
    return len(await shop.execute(statement)) == count
