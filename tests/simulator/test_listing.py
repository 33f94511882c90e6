"""A list that can be told not to show the truth, so that a shop can try what its handling makes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from worker.simulator import Simulator
from worker.simulator.faults import changed_references, empty_list, lagging_list, server_error

HEADERS = {"Authorization": "Bearer RP-simulator"}


async def listed(sim: Simulator, query: str = "") -> dict[str, Any]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(f"{sim.returnpilot_url}/orders{query}", headers=HEADERS) as answer,
    ):
        return dict(await answer.json())


async def references(sim: Simulator) -> list[Any]:
    return [order["reference"] for order in (await listed(sim))["data"]]


@pytest.mark.parametrize(
    ("change", "reference", "shown"),
    [
        ("number", "00123", 123),
        ("number", "R-1", "R-1"),
        ("entities", "A&B", "A&amp;B"),
        ("separator", "A/B_1", "A-B-1"),
        ("cut", "ORDER-2024-000123", "ORDER-2024"),
        ("dropped", "Bestélling/7", "Bestlling7"),
        ("replaced", "ORD-7", "RMA-00000329"),
    ],
)
async def test_the_list_changes_references_for_as_long_as_it_is_told_to(
    sim: Simulator, change: str, reference: str, shown: Any
) -> None:
    sim.add_pilot_order(reference)
    sim.inject("rp_orders", changed_references(change))
    assert await references(sim) == [shown]
    assert await references(sim) == [reference]


async def test_the_list_lags_behind_or_is_empty(sim: Simulator) -> None:
    sim.add_pilot_order("old", created_utc=datetime.now(UTC) - timedelta(minutes=5))
    sim.add_pilot_order("new")
    sim.inject("rp_orders", lagging_list(60))
    sim.inject("rp_orders", empty_list())
    assert await references(sim) == ["old"]
    empty = await listed(sim, "?limit=1")
    assert (empty["data"], empty["links"]["next"]) == ([], None)
    assert await references(sim) == ["new", "old"]


async def test_they_can_be_ordered_over_http_and_what_makes_no_sense_is_refused(sim: Simulator) -> None:
    sim.add_pilot_order("00123")

    async def order(**wish: Any) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{sim.url}/simulator/faults", json={"operation": "rp_orders", **wish}) as answer,
        ):
            return answer.status, await answer.text()

    assert (await order(fault="changed_references", change="number"))[0] == 201
    assert await references(sim) == [123]
    assert (await order(fault="lagging_list", seconds=60))[0] == 201
    assert (await order(fault="empty_list"))[0] == 201
    status, said = await order(fault="changed_references", change="nonsense")
    assert (status, "change must be one of number" in said) == (400, True)
    assert (await order(fault="lagging_list", seconds=-1))[0] == 400


async def test_an_answer_that_is_no_list_stays_what_it_is(sim: Simulator) -> None:
    sim.inject("rp_create", empty_list())
    sim.inject("rp_orders", server_error())
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{sim.returnpilot_url}/orders", headers=HEADERS, data="no order") as answer,
    ):
        assert answer.status == 422
