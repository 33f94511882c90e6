"""Real workers whose clock is set while they work, by libfaketime: ahead by a day, 70 days and a year, back by an hour.

Only the time of day is faked (https://github.com/wolfcw/libfaketime, DONT_FAKE_MONOTONIC): the monotonic clock and
CLOCK_BOOTTIME go on, as they do where somebody sets a machine's clock. The file that says how far is read again each
second; SQLite's `now` is faked with it.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.process.nursery import Nursery
from tests.process.running import KEY, PILOT_PAYLOAD, TOKEN, RunningWorker, slowness, until
from tests.process.shop import Shop, let_the_database_be_ahead
from worker.simulator import Simulator
from worker.simulator.faults import hang

Start = Callable[[], RunningWorker]


class WallClock:
    """The time of day as the workers under test see it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set("+0d")

    def set(self, offset: str) -> None:
        """So far from the true time, as libfaketime spells it: +70d, -1h."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.rename(self._file)


@pytest.fixture(scope="module")
def faked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nursery, Path]]:
    """Starts workers under libfaketime, and the file that says what time it is for them."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so*"))
    if not libraries:
        pytest.skip("needs libfaketime (Debian: libfaketime)")
    file = tmp_path_factory.mktemp("clock") / "faketime"
    file.write_text("+0d\n")
    nursery = Nursery(
        {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it each hand-over of the GIL costs milliseconds
        }
    )
    yield nursery, file
    nursery.close()


@pytest.fixture
def clock(faked: tuple[Nursery, Path]) -> WallClock:
    return WallClock(faked[1])


@pytest.fixture
def start(config: Path, tmp_path: Path, faked: tuple[Nursery, Path], clock: WallClock) -> Iterator[Start]:
    workers: list[RunningWorker] = []

    def start_worker() -> RunningWorker:
        workers.append(RunningWorker(config, tmp_path / f"worker-{len(workers)}.log", born_of=faked[0]))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.kill()


@pytest.fixture
async def carrier() -> AsyncIterator[Simulator]:
    """One at which nothing moves on by itself."""
    async with Simulator(api_key=KEY, stage_seconds=86_400, token=TOKEN, rate_limit=0) as simulator:
        yield simulator


async def _states(shop: Shop) -> list[str]:
    return [row["state"] for row in await shop.execute("SELECT DISTINCT state FROM return_order ORDER BY state")]


async def _followed(shop: Shop, count: int) -> None:
    """Returns at either carrier, all of them followed."""
    for number in range(count):
        await shop.insert(f"I-{number}")
        await shop.insert(f"P-{number}", PILOT_PAYLOAD, "pilot")

    async def all_are() -> bool:
        return await _states(shop) == ["tracking"]

    await until(all_are, 20)


async def _notices(worker: RunningWorker, times: int) -> None:
    """That the clock differs has been said so often."""

    def said() -> bool:
        return [line["event"] for line in worker.events].count("clock_differs") >= times

    await until(said, 10, lambda: worker.log_text)


async def _polls(worker: RunningWorker) -> float:
    _, text = await worker.get("/metrics")
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if "steps_total{" in line and "track" in line
    )


async def _polled(worker: RunningWorker, times: int) -> None:
    """So many polls from now on."""
    enough = await _polls(worker) + times

    async def have_been() -> bool:
        return await _polls(worker) >= enough

    await until(have_been, 15, lambda: worker.log_text)


async def test_under_a_clock_70_days_ahead_no_return_expires_and_no_link_runs_out(
    start: Start, clock: WallClock, shop: Shop
) -> None:
    """On PostgreSQL the worker's own clock is the wrong one, by which a customer's link would have run out."""
    worker = await start().ready()
    await _followed(shop, 2)
    clock.set("+70d")
    await _notices(worker, 1)
    await _polled(worker, 12)
    clock.set("+0d")
    assert await _states(shop) == ["tracking"]
    assert await worker.stopped() == 0


@on_sqlite
async def test_a_worker_that_starts_under_a_clock_70_days_ahead_expires_nothing_either(
    start: Start, clock: WallClock, shop: Shop
) -> None:
    worker = await start().ready()
    await _followed(shop, 2)
    assert await worker.stopped() == 0
    clock.set("+70d")
    for _ in range(2):  # nor after one more start, when the wrong clock has been seen before
        worker = await start().ready()
        await _polled(worker, 8)
        assert await worker.stopped() == 0
    assert await _states(shop) == ["tracking"]


@on_postgresql
@pytest.mark.usefixtures("own_database")
async def test_while_the_database_s_clock_is_70_days_ahead_no_return_expires(start: Start, shop: Shop) -> None:
    await let_the_database_be_ahead(shop, "0 s")
    worker = await start().ready()
    await _followed(shop, 2)
    await let_the_database_be_ahead(shop, "70 days")
    await _notices(worker, 1)
    await _polled(worker, 12)
    assert await _states(shop) == ["tracking"]


@on_sqlite
async def test_a_year_ahead_and_an_hour_back_silence_nothing(start: Start, clock: WallClock, shop: Shop) -> None:
    worker = await start().ready()
    before = _memory(worker)
    for number, offset in enumerate(("+365d", "-1h"), 1):
        clock.set(offset)
        began = time.monotonic()
        assert (await worker.get("/livez"))[0] == 200
        assert time.monotonic() - began < 2 * slowness()
        await shop.insert(f"R-{number}")

        async def shown(count: int = number) -> bool:
            return await worker.metric('returns_worker_orders{account="default",state="tracking"}') == count

        await until(shown, 10, lambda: worker.log_text)
        await _notices(worker, number)
    assert _memory(worker) < before + 50_000_000


def _memory(worker: RunningWorker) -> int:
    """Bytes that the process has."""
    pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@on_sqlite
async def test_what_a_worker_held_that_was_killed_under_a_clock_a_day_ahead_is_taken_up_at_once(
    start: Start, clock: WallClock, shop: Shop, config: Path, carrier: Simulator
) -> None:
    config.write_text(config.read_text().replace("rate_per_minute = 0", "rate_per_minute = 600"))
    clock.set("+1d")
    worker = await start().ready()
    carrier.inject("create", hang())
    await shop.insert("R-1")

    async def is_sent() -> bool:
        return (await shop.order("R-1"))["create_started_at"] is not None

    await until(is_sent, 10, lambda: worker.log_text)
    worker.kill()
    carrier.clear_faults()
    clock.set("+0d")
    worker = await start().ready()
    await until(lambda: shop.is_in("R-1", "needs_attention"), 10, lambda: worker.log_text)
    assert worker.saw("leases_ended")
    await shop.insert("R-2")  # the pace was spent a day ahead
    await until(lambda: shop.is_in("R-2", "tracking"), 10, lambda: worker.log_text)
