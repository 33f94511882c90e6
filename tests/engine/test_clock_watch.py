"""What a worker makes of a clock that jumped: it is said once, kept for the next start, and ages wait."""

from datetime import timedelta
from pathlib import Path

from structlog.testing import capture_logs

from tests.engine.scripted import ScriptedCarrier, make_loop
from worker.domain.clocks import STEADY, Clock
from worker.engine.clock_watch import ClockWatch
from worker.engine.gauges import Gauges
from worker.engine.starting import take_over
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.database_clock import keep_clock, read_clock

DAY = timedelta(days=1)


async def test_a_jump_is_said_once_and_the_next_start_knows_of_it(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    (account,) = loop.accounts.values()
    watch, now = loop.tools.watch, await database_now(database)
    watch.begin(Clock(now), now)
    assert account.policy.judges_ages
    with capture_logs() as lines:
        assert watch.note(now + 70 * DAY, loop.now[0])
        assert not watch.note(now + 70 * DAY, loop.now[0])
    assert [line["problem"] for line in lines] == ["the clock jumped 70d ahead: is it right?"]
    assert not account.policy.judges_ages and watch.now() is None
    await Gauges(loop.tools, dict).refresh()
    assert await read_clock(database) == watch.clock
    after = ClockWatch(lambda: loop.now[0], loop.accounts)
    await take_over(database, after)
    assert not after.is_believed


async def test_ages_are_judged_again_once_the_clock_has_gone_steadily(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    (account,) = loop.accounts.values()
    watch, now = loop.tools.watch, await database_now(database)
    await keep_clock(database, Clock(now - 2 * STEADY, now - STEADY - timedelta(minutes=1)))
    await take_over(database, watch)
    assert watch.is_believed
    assert account.policy.judges_ages
    assert watch.now() is not None


async def test_a_database_whose_clock_is_another_than_ours_is_not_believed_as_long_as_that_lasts(
    database: Database, tmp_path: Path
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    (account,) = loop.accounts.values()
    now = await database_now(database)
    for off, judged in ((2, False), (0.5, True), (-2, False), (0, True)):
        ours = ClockWatch(lambda: loop.now[0], loop.accounts)
        ours.note(now + off * timedelta(minutes=1), loop.now[0])
        assert account.policy.judges_ages is judged
