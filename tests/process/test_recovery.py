"""How soon work goes on, and who does it: after a kill, after a database's restart, and among many workers."""

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_postgresql
from tests.postgres import PostgresServer
from tests.process.running import PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import hang, trickle

Start = Callable[..., RunningWorker]
LEASE, TICK = 3.0, 0.2
A_START = 1.0  # seconds from the start of a process to its first look


@pytest.fixture
def quick(config: Path) -> None:
    """Shorter leases than the other tests have."""
    text = config.read_text().replace('timeout = "2s"', 'timeout = "1s"').replace('lease = "5s"', f'lease = "{LEASE}s"')
    config.write_text(text)


async def test_what_a_killed_worker_held_is_taken_up_within_a_lease_and_a_tick(
    quick: None, start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    for number in range(3):
        await shop.insert(f"R-{number}", {**PAYLOAD, "description": f"sim:stuck {number}"})
    await until(lambda: _tracked(shop, 3), 10, lambda: worker.log_text)
    carrier.inject("status", hang(), None)
    held = "SELECT id, lease_token FROM return_order WHERE lease_owner IS NOT NULL"
    await until(lambda: _count(shop, held, 3), 10, lambda: worker.log_text)
    before = {row["id"]: row["lease_token"] for row in await shop.execute(held)}
    worker.kill()
    killed_at = time.monotonic()
    carrier.clear_faults()
    other = start()

    async def all_taken() -> bool:
        rows = await shop.execute("SELECT id, lease_token FROM return_order")
        return all(row["lease_token"] > before[row["id"]] for row in rows)

    await until(all_taken, LEASE + TICK + A_START, lambda: other.log_text)
    if not shop.url.startswith("sqlite"):  # where nobody else can have the file
        assert time.monotonic() - killed_at > 1.0  # not by anybody who did not wait for the lease to end


@on_postgresql
async def test_work_goes_on_within_five_seconds_of_a_database_s_return(
    start: Start, shop: Shop, carrier: Simulator, postgres_server: PostgresServer
) -> None:
    workers = [await start().ready() for _ in range(2)]
    for number in range(10):
        await shop.insert(f"R-{number}", {**PAYLOAD, "description": f"sim:stuck {number}"})
    await until(lambda: _tracked(shop, 10), 10, lambda: workers[0].log_text)
    for _ in range(3):
        await asyncio.to_thread(postgres_server.restart_immediately)
        back_at = time.monotonic()
        await until(lambda at=back_at: carrier.ledger[-1].at > at, 5, lambda: workers[0].log_text)
    assert not any(worker.saw("step_crashed") for worker in workers)


@on_postgresql
async def test_many_workers_share_the_work(start: Start, shop: Shop, carrier: Simulator, config: Path) -> None:
    text = config.read_text().replace('timeout = "2s"', 'timeout = "20s"').replace('lease = "5s"', 'lease = "60s"')
    config.write_text(text.replace('grace = "5s"', 'grace = "30s"'))
    workers = [start() for _ in range(4)]
    for worker in workers:
        await worker.ready()
    carrier.inject("create", trickle(0.002), None)  # some 0.3 s for each creation
    total = 100
    await shop.execute(
        f"INSERT INTO return_order (reference, payload) SELECT 'R-' || n, ?1 FROM generate_series(1, {total}) n",
        PAYLOAD,
    )
    await until(lambda: _tracked(shop, total), 60, lambda: workers[0].log_text)
    created = 'returns_worker_steps_total{account="default",outcome="created",step="create"}'
    shares = [await worker.metric(created) for worker in workers]
    assert sum(shares) == total
    assert min(shares) > total / 4 / 3, shares


@on_postgresql
@pytest.mark.usefixtures("own_database")  # commits are counted
@pytest.mark.long  # what a turn costs is counted by tests/engine/test_costs.py each time
@pytest.mark.parametrize("count", [2, 16])
async def test_idle_workers_cost_little(
    count: int, start: Start, shop: Shop, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace('tick = "200ms"', 'tick = "1s"').replace('gauges = "200ms"', ""))
    workers = [start() for _ in range(count)]
    for worker in workers:
        await worker.ready()
    seconds = 14 if count == 2 else 20  # so that the median is of seconds at rest
    await until(lambda: _all_at_rest(workers), 20)  # what is done once at the start is done
    cpu, began, each_second = [_cpu_seconds(worker) for worker in workers], time.monotonic(), []
    for _ in range(seconds):
        before, at = await _commits(shop), time.monotonic()
        await asyncio.sleep(1)
        each_second.append((await _commits(shop) - before) / (time.monotonic() - at) / count)
    # A connection that rests tells the server what it did up to 10 s later (PGSTAT_IDLE_INTERVAL): of the start, too.
    commits, passed = statistics.median(each_second), time.monotonic() - began
    used = max(_cpu_seconds(worker) - start for worker, start in zip(workers, cpu, strict=True)) / passed
    with capsys.disabled():
        print(f"\n{count} idle workers: {commits:.1f} transactions a second each, at most {used:.1%} of a core")
    assert commits < 4  # 2 is usual
    assert used < 0.1


async def _tracked(shop: Shop, count: int) -> bool:
    return await _count(shop, "SELECT id FROM return_order WHERE state IN ('tracking', 'completed')", count)


async def _count(shop: Shop, statement: str, count: int) -> bool:
    return len(await shop.execute(statement)) == count


async def _commits(shop: Shop) -> int:
    (row,) = await shop.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return int(row["xact_commit"])


async def _all_at_rest(workers: list[RunningWorker]) -> bool:
    """Whether none of them used a tenth of a second of CPU within one."""
    before = [_cpu_seconds(worker) for worker in workers]
    await asyncio.sleep(1)
    return all(_cpu_seconds(worker) - used < 0.1 for worker, used in zip(workers, before, strict=True))


def _cpu_seconds(worker: RunningWorker) -> float:
    user, system = Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
