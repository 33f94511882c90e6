"""What the gauges and the log say of an account: how far it runs behind, what it waits for."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.steps.scripted import POLICY, Loop, ScriptedCarrier, make_loop
from worker.domain.forecast import polls_per_minute
from worker.domain.health import Circuit, Health
from worker.domain.pacing import Pace
from worker.labels import FileLabelStore
from worker.steps.housekeeping import Housekeeping
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.holds import change_health, hold_by_hand, hold_creations

MINUTE = timedelta(minutes=1)


def _value(loop: Loop, name: str, **labels: str) -> float:
    value = loop.metrics.registry.get_sample_value(f"returns_worker_{name}", {"account": "default"} | labels)
    assert value is not None, name
    return value


async def _made(database: Database, folder: Path, pace: Pace | None = None) -> tuple[Loop, Housekeeping]:
    loop = await make_loop(database, folder, {"default": ScriptedCarrier()}, pace=pace)
    return loop, Housekeeping(database, FileLabelStore(folder), loop.metrics, loop.accounts, list)


async def _due(loop: Loop, count: int, ago: timedelta) -> None:
    since = await database_now(loop.database) - ago
    await loop.insert_followed([f"T{number}" for number in range(count)], since)


@pytest.mark.parametrize(
    ("rate", "due", "age", "seconds"),
    [(60, 0, 0, 0), (60, 30, 0, 35.4), (60, 30, 5, 300), (10, 30, 1, 195), (0, 30, 2, 120)],
)
async def test_the_shortfall_is_how_late_the_latest_is_or_what_all_of_it_takes_at_the_limit(
    database: Database, tmp_path: Path, rate: int, due: int, age: int, seconds: float
) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(rate) if rate else None)
    if due:
        await _due(loop, due, age * MINUTE)
    await housekeeping.refresh_gauges()
    assert seconds <= _value(loop, "account_shortfall_seconds") < seconds + 5
    assert _value(loop, "account_rate_limit_requests_per_minute") == rate
    assert _value(loop, "account_poll_demand_requests_per_minute") == pytest.approx(
        due * polls_per_minute(POLICY.default_ladder)
    )


async def test_an_account_that_runs_behind_says_so_once_an_hour_and_what_to_change(
    database: Database, tmp_path: Path
) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await _due(loop, 3, 20 * MINUTE)
    with capture_logs() as lines:
        for _ in range(3):
            await housekeeping.refresh_gauges()
    (line,) = [line for line in lines if line["event"] == "account_behind"]
    assert (line["account"], line["due"], line["minutes"], line["rate_per_minute"]) == ("default", 3, 20, 60)
    assert "raise rate_per_minute" in line["hint"] and "polling.cap" in line["hint"]


async def test_what_waits_for_a_hold_is_not_called_behind(database: Database, tmp_path: Path) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await _due(loop, 3, 20 * MINUTE)
    await hold_by_hand(database, "default", None, "by anna")
    await loop.turn()
    with capture_logs() as lines:
        await housekeeping.refresh_gauges()
    assert [line["event"] for line in lines] == ["account_waits"]


@pytest.mark.parametrize("sick", [Health(Circuit(5)), Health(creations=Circuit(5))])
async def test_what_waits_for_a_sick_carrier_is_not_called_behind(
    database: Database, tmp_path: Path, sick: Health
) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await _due(loop, 3, 20 * MINUTE)
    now = await database_now(database)
    opened = Health(
        *(replace(each, open_until=now) if each.failures else each for each in (sick.account, sick.creations))
    )
    await change_health(database, "default", lambda *_: opened)
    with capture_logs() as lines:
        await housekeeping.refresh_gauges()
    assert lines == []


async def test_the_gauges_say_what_an_account_waits_for(database: Database, tmp_path: Path) -> None:
    loop, housekeeping = await _made(database, tmp_path)
    await housekeeping.refresh_gauges()
    names = ("account_held_until_timestamp_seconds", "account_creations_held")
    assert [_value(loop, name) for name in names] == [0, 0]
    circuit = "account_circuit_open_until_timestamp_seconds"
    assert [_value(loop, circuit, circuit=name) for name in ("account", "creations")] == [0, 0]
    now = await database_now(database)
    await hold_by_hand(database, "default", None, "by anna")
    await hold_creations(database, "default", "by anna")
    await change_health(database, "default", lambda *_: Health(Circuit(5, now), Circuit(5, now + MINUTE)))
    await housekeeping.refresh_gauges()
    assert [_value(loop, name) for name in names] == [float("inf"), 1]
    open_until = [_value(loop, circuit, circuit=name) for name in ("account", "creations")]
    assert open_until == pytest.approx([now.timestamp(), (now + MINUTE).timestamp()], abs=0.01)
