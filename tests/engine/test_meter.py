"""What the meter promises: no request without a token and time, whoever asks, and nobody waits on when it is to end."""

import asyncio
from datetime import UTC, datetime

import pytest

from worker.carriers.port import NoTimeLeft, Stopping
from worker.domain.kin import Shared
from worker.domain.pacing import Pace
from worker.engine.meter import Allowance, Meter
from worker.store.accounts import register_accounts
from worker.store.database import Database


async def meter_of(database: Database, pace: Pace | None, now: list[float]) -> Meter:
    await register_accounts(database, ["default"])
    return Meter(database, "default", pace, lambda: now[0])


async def test_a_steps_first_request_uses_its_own_token_and_a_further_one_pays_again(database: Database) -> None:
    now, pace = [1000.0], Pace(60)
    meter = await meter_of(database, pace, now)
    assert (await meter.prepare(1))[0] == 1
    with meter.spending(Allowance(now[0] + 60, meter.take())):
        await meter.permit()
        await meter.permit()
    assert (await meter.prepare(100))[0] == pace.burst - 2


async def test_a_token_that_a_step_did_not_need_goes_to_another(database: Database) -> None:
    now, pace = [1000.0], Pace(60)
    meter = await meter_of(database, pace, now)
    await meter.prepare(pace.burst)
    with meter.spending(Allowance(None, meter.take())):
        pass
    assert (await meter.prepare(pace.burst))[0] == pace.burst


async def test_no_request_begins_that_could_not_be_recorded_within_the_lease(database: Database) -> None:
    for pace in (None, Pace(60)):
        now = [1000.0]
        meter = await meter_of(database, pace, now)
        with meter.spending(Allowance(1010.0, 1003.0)):
            await meter.permit()
            now[0] = 1010.1
            with pytest.raises(NoTimeLeft):
                await meter.permit()
            with pytest.raises(NoTimeLeft):
                await meter.permit(counted=False)


async def test_nobody_waits_for_a_token_that_would_come_too_late(database: Database) -> None:
    now, pace = [1000.0], Pace(1)
    meter = await meter_of(database, pace, now)
    with meter.spending(Allowance(1010.0)):
        await meter.permit()
        with pytest.raises(NoTimeLeft):
            await meter.permit()


async def test_a_stop_ends_every_wait(database: Database) -> None:
    meter = await meter_of(database, Pace(1), [1000.0])
    await meter.permit()
    waiting = asyncio.create_task(meter.permit())
    await asyncio.sleep(0)
    meter.stop()
    with pytest.raises(Stopping):
        await asyncio.wait_for(waiting, 5)


async def test_a_carrier_that_says_few_are_left_slows_every_worker_down(database: Database) -> None:
    now, pace = [1000.0], Pace(60)
    here, elsewhere = await meter_of(database, pace, now), await meter_of(database, pace, now)
    await here.prepare(3)
    here.slow_down(9)
    assert (await here.prepare(3))[0] == 3
    here.slow_down(1)
    allowed, next_at = await here.prepare(3)
    assert allowed == 0
    assert next_at is not None
    assert 25 <= (next_at - datetime.now(UTC)).total_seconds() <= 35
    assert (await elsewhere.prepare(3))[0] == 0


async def test_an_account_without_a_limit_touches_no_row(database: Database) -> None:
    meter = Meter(database, "never registered", None, lambda: 1000.0)
    meter.slow_down(0)
    await meter.permit()
    assert await meter.prepare(7) == (7, None)


async def test_accounts_that_share_a_key_draw_from_one_row_at_one_pace_and_from_their_own_when_it_changes(
    database: Database,
) -> None:
    await register_accounts(database, ["first", "second"])
    pace, now = Pace(60), [1000.0]
    row = ["first"]
    first = Meter(database, "first", pace, lambda: now[0], lambda: Shared("first", pace))
    second = Meter(database, "second", None, lambda: now[0], lambda: Shared(row[0], pace))
    assert second.limited
    await first.prepare(pace.burst - 1)
    assert (await second.prepare(pace.burst))[0] == 1
    with second.spending(Allowance(now[0] + 60)):
        assert (await first.prepare(pace.burst + 5))[0] == pace.burst - 1
    row[0] = "second"  # its key is another one by now
    assert (await second.prepare(pace.burst + 1))[0] == pace.burst + 1
