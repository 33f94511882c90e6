"""What the gauges and the log say of an account: how far it runs behind, what it waits for."""

import math
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.databases import on_postgresql
from tests.engine.scripted import POLICY, Loop, ScriptedCarrier, make_loop
from worker.domain.circuits import Circuit, Health
from worker.domain.demand import polls_per_minute
from worker.domain.pacing import Pace
from worker.engine import housekeeping
from worker.engine.clock_watch import ClockWatch
from worker.engine.housekeeping import Housekeeping, warn_of_risks
from worker.labels import FileLabelStore, LabelMissing, LabelName, aside
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.holds import change_health, hold_by_hand, hold_creations
from worker.store.queries import Backlog

MINUTE = timedelta(minutes=1)


def _value(loop: Loop, name: str, **labels: str) -> float:
    value = loop.metrics.registry.get_sample_value(f"returns_worker_{name}", {"account": "default"} | labels)
    assert value is not None, name
    return value


async def _made(database: Database, folder: Path, pace: Pace | None = None) -> tuple[Loop, Housekeeping]:
    loop = await make_loop(database, folder, {"default": ScriptedCarrier()}, pace=pace)
    return loop, Housekeeping(
        database, FileLabelStore(folder), loop.metrics, loop.accounts, dict, time.monotonic, loop.engine._watch
    )


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
    loop, housekeeping = await _made(database, tmp_path, Pace(1))
    await _due(loop, 700, 20 * MINUTE)
    with capture_logs() as lines:
        for _ in range(3):
            await housekeeping.refresh_gauges()
    (line,) = [line for line in lines if line["event"] == "account_behind"]
    assert (line["account"], line["due"], line["rate_per_minute"]) == ("default", 700, 1)
    assert line["minutes"] > 700 and line["polls_per_minute"] > 1
    assert "raise rate_per_minute" in line["hint"] and "polling.cap" in line["hint"]


async def test_what_came_at_once_is_not_put_down_to_the_polls(database: Database, tmp_path: Path) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await _due(loop, 3, 20 * MINUTE)
    with capture_logs() as lines:
        await housekeeping.refresh_gauges()
    (line,) = lines
    assert (line["due"], line["minutes"]) == (3, 20)
    assert "much came at once" in line["hint"] and "polling" not in line["hint"]


async def test_what_waits_for_a_hold_is_not_called_behind(database: Database, tmp_path: Path) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await _due(loop, 3, 20 * MINUTE)
    await hold_by_hand(database, "default", None, "by anna")
    await loop.turn()
    with capture_logs() as lines:
        await housekeeping.refresh_gauges()
    assert [line["event"] for line in lines] == ["account_waits"]


async def test_what_waits_for_a_sick_carrier_is_not_called_behind(database: Database, tmp_path: Path) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await _due(loop, 3, 20 * MINUTE)
    await change_health(database, "default", lambda _, now: Health(Circuit(5, now)))
    with capture_logs() as lines:
        await housekeeping.refresh_gauges()
    assert lines == []


@pytest.mark.parametrize("by_hand", [True, False], ids=["held by a person", "left alone"])
async def test_creations_that_are_kept_do_not_count_as_behind_and_late_polls_do(
    database: Database, tmp_path: Path, by_hand: bool
) -> None:
    loop, housekeeping = await _made(database, tmp_path, Pace(60))
    await loop.insert("C1", "C2")
    await loop.execute("UPDATE return_order SET due_at = '2020-01-01 00:00:00'")
    if by_hand:
        await hold_creations(database, "default", "by anna")
    else:
        await change_health(database, "default", lambda _, now: Health(creations=Circuit(5, now)))
    await housekeeping.refresh_gauges()
    assert _value(loop, "account_shortfall_seconds") == 0
    await _due(loop, 3, 20 * MINUTE)
    with capture_logs() as lines:
        await housekeeping.refresh_gauges()
    assert [(line["event"], line["due"]) for line in lines] == [("account_behind", 3)]


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


async def test_what_cannot_be_read_for_minutes_is_not_told_as_if_it_were_so(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, _ = await _made(database, tmp_path)
    await _due(loop, 3, MINUTE)
    clock = [0.0]
    reading = Housekeeping(
        database, FileLabelStore(tmp_path), loop.metrics, loop.accounts, dict, lambda: clock[0], loop.engine._watch
    )
    await reading.refresh_gauges()
    assert _value(loop, "orders_due") == 3

    async def away(*_: object) -> None:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr(housekeeping, "read_backlog", away)
    clock[0] = 119.0
    await reading.refresh_gauges()
    assert _value(loop, "orders_due") == 3, "a moment's outage resets no alert"
    clock[0] = 121.0
    await reading.refresh_gauges()
    for name in ("orders_due", "oldest_due_timestamp_seconds", "account_held_until_timestamp_seconds"):
        assert math.isnan(_value(loop, name))
    assert math.isnan(_value(loop, "orders", state="tracking"))
    monkeypatch.undo()
    await reading.refresh_gauges()
    assert (_value(loop, "orders_due"), _value(loop, "orders", state="tracking")) == (3, 3)


async def test_the_gauges_tell_their_own_age_while_they_cannot_be_read_and_while_they_are_not_counted(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, _ = await _made(database, tmp_path)
    clock = [0.0]
    watch = ClockWatch(lambda: clock[0], {})
    reading = Housekeeping(
        database, FileLabelStore(tmp_path), loop.metrics, loop.accounts, dict, lambda: clock[0], watch
    )

    def age() -> float:
        read_at = loop.metrics.registry.get_sample_value("returns_worker_gauges_read_timestamp_seconds")
        assert read_at is not None
        return time.time() - read_at

    assert age() > 10**9  # never
    await reading.refresh_gauges()
    assert age() == pytest.approx(0, abs=5)

    read = housekeeping.read_backlog

    async def many(of: Database, longest: timedelta) -> list[Backlog]:
        return [Backlog("default", "tracking", "in_transit", 100_000, 0, None, 0), *await read(of, longest)]

    monkeypatch.setattr(housekeeping, "read_backlog", many)
    clock[0] = 15.0
    await reading.refresh_gauges()
    clock[0] = 75.0
    await reading.refresh_gauges()
    assert age() == pytest.approx(60, abs=5), "so many are counted each 90 seconds"

    async def away(_: Database) -> None:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr(housekeeping, "read_accounts", away)
    clock[0] = 1000.0
    before = age()
    await reading.refresh_gauges()
    assert age() == pytest.approx(before, abs=5), "it is older, and no NaN"


async def test_the_more_returns_are_open_the_less_often_they_are_counted(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, _ = await _made(database, tmp_path)
    now, counts, read = [0.0], [0], housekeeping.read_backlog

    async def counting(of: Database, longest: timedelta) -> list[Backlog]:
        counts[0] += 1
        return [replace(row, count=row.count * open_returns) for row in await read(of, longest)]

    monkeypatch.setattr(housekeeping, "read_backlog", counting)
    await _due(loop, 1, MINUTE)
    for open_returns, expected in ((1, 40), (19_999, 40), (50_000, 14), (100_000, 7), (10_000_000, 7)):
        paced = Housekeeping(
            database, FileLabelStore(tmp_path), loop.metrics, loop.accounts, dict, lambda: now[0], loop.engine._watch
        )
        counts[0] = 0
        for _ in range(40):  # ten minutes
            now[0] += 15
            await paced.refresh_gauges()
        assert counts[0] == expected
        assert _value(loop, "orders", state="tracking") == open_returns


async def test_refused_labels_are_tidied_once_an_hour_and_a_store_that_fails_in_it_wakes_nobody(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now, name = FileLabelStore(tmp_path / "labels"), [1000.0], LabelName("default", "1", 1)
    loop, _ = await _made(database, tmp_path)
    watch = ClockWatch(lambda: now[0], {})
    housekeeping = Housekeeping(database, store, loop.metrics, loop.accounts, dict, lambda: now[0], watch)
    monkeypatch.setattr(aside, "LONGEST", timedelta(seconds=-60))
    await store.keep_aside(name, b"<html>")
    await housekeeping.tidy()
    with pytest.raises(LabelMissing):
        await store.aside(name)
    await store.keep_aside(name, b"<html>")
    now[0] += 3599
    await housekeeping.tidy()
    assert await store.aside(name) == b"<html>"
    kept = tmp_path / "labels" / "refused-labels" / "default" / "1-1"
    kept.unlink()
    kept.mkdir()
    now[0] += 1
    with capture_logs() as logged:
        await housekeeping.tidy()
    assert [line["event"] for line in logged] == ["refused_labels_not_tidied"]
    assert not loop.metrics.registry.get_sample_value("returns_worker_storage_errors_total", {"operation": "labels"})


@on_postgresql
async def test_a_start_says_what_the_server_may_forget(database: Database) -> None:
    """The tests' own server does without fsync."""
    setting = text("SELECT current_setting('fsync') = 'off'")
    off = await database.reading(lambda connection: connection.execute(setting).scalar_one())
    with capture_logs() as lines:
        await warn_of_risks(database)
    assert any(line["event"] == "database_may_forget" and "fsync is off" in line["risk"] for line in lines) == off
