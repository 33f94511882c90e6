"""Ticks that go on at their intervals, whatever the wall clock says."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from worker.runtime.scheduler import Ticks, _Every, _Steady

SECOND = timedelta(seconds=1)


async def test_ticks_go_by_the_monotonic_clock() -> None:
    """All that APScheduler asks is what time it is in its zone, and that does not depend on the wall clock."""
    zone = _Steady()
    before, now, after = datetime.now(zone), zone.fromutc(datetime(1970, 1, 1, tzinfo=UTC)), datetime.now(zone)
    assert before <= now <= after
    assert now.tzinfo is zone and after - before < 10 * SECOND
    count, enough = 0, asyncio.Event()

    def tick() -> None:
        nonlocal count
        count += 1
        if count == 5:
            enough.set()

    ticks = Ticks()
    ticks.every(0.01, "often", tick)
    ticks.start()
    await asyncio.wait_for(enough.wait(), 10)
    await ticks.stop()


@pytest.mark.parametrize("late", [timedelta(0), 2.5 * SECOND, timedelta(days=365)])
def test_what_was_missed_is_left_out_and_not_worked_out_one_by_one(late: timedelta) -> None:
    zone = _Steady()
    due = datetime.now(zone)
    following = _Every(1.0).get_next_fire_time(due, due + late)
    assert due + late < following <= due + late + SECOND
