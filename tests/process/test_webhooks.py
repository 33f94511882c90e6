"""Worker processes that are killed tell a webhook of everything all the same, in order, each repeat with its id."""

import asyncio
import itertools
import random
import time
from pathlib import Path

import pytest
from aiohttp import web

from tests.news.receiver import SECRET, receiving
from tests.process.running import CONFIG, KEY, TOKEN, RunningWorker, until
from tests.store.shop import Shop

NEWS = """
[news.shop]
kind = "webhook"
url = "{url}"
secret = "{secret}"
private = true
timeout = "2s"
max_in_flight = 8
"""


def configured(folder: Path, database_url: str, url: str) -> Path:
    for name, key in (("izipack", KEY), ("pilot", TOKEN)):
        (folder / f"{name}.key").write_text(key)
    config = folder / "worker.toml"
    text = CONFIG.format(database_url=database_url, carrier_url="http://127.0.0.1:1", folder=folder)
    config.write_text(text + NEWS.format(url=url, secret=SECRET))
    return config


async def happen(shop: Shop, returns: int, events: int) -> None:
    """The events of many returns in one statement for each position."""
    numbers = (
        f"WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {returns}) SELECT n FROM r"
        if shop.sqlite
        else f"SELECT n FROM generate_series(1, {returns}) AS n"
    )
    for position in range(1, events + 1):
        await shop.run(
            f"""INSERT INTO webhook_event (subscriber, type, account, reference, return_order_id, position, source,
                  source_id, observed_at, old_value, new_value)
                SELECT 'shop', 'state.tracking', 'default', 'R-' || n, n, {position}, 'transition',
                       n * 1000 + {position}, {shop.moment()}, 'pending', 'tracking' FROM ({numbers}) AS numbers"""
        )


async def delivered_while_killed(
    url: str, tmp_path: Path, workers: int, returns: int, events: int, kills: int, pause: float
) -> None:
    logs = itertools.count()
    refused = random.Random(1)
    async with receiving() as receiver, Shop.at(url) as shop:
        receiver.answer = lambda data, repeat: web.Response(status=503 if refused.random() < 0.05 else 200)
        config = configured(tmp_path, url, receiver.url)

        async def begun() -> RunningWorker:
            return await RunningWorker(config, tmp_path / f"{next(logs)}.log").ready()

        running = [await begun() for _ in range(workers)]
        await happen(shop, returns, events)
        began = time.monotonic()
        for number in range(kills):
            await asyncio.sleep(pause)
            victim = running.pop(number % len(running))
            victim.process.kill()
            await victim.ended()
            running.append(await begun())

        async with asyncio.timeout(240):
            while await shop.value("SELECT count(*) AS n FROM webhook_event"):
                # What was refused need not wait for its schedule here.
                await shop.run(f"UPDATE webhook_event SET due_at = {shop.moment()} WHERE attempts > 0")
                await asyncio.sleep(1)
        took = time.monotonic() - began
        assert [await worker.stopped() for worker in running] == [0] * workers
        assert "whsec" not in "".join(worker.log_text for worker in running)
    receiver.check()
    repeats = len(receiver.accepted) - len({each.id for each in receiver.accepted})
    print(f"{returns * events} events, {kills} kills, {repeats} repeats, {took:.0f} s")
    assert all(sorted(set(receiver.of(f"R-{n}"))) == list(range(1, events + 1)) for n in range(1, returns + 1))


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_all_events_arrive_in_order_while_workers_are_killed_twenty_times(
    migrated_url: str, kind: str, tmp_path: Path
) -> None:
    workers = 1 if kind == "sqlite" else 3
    await delivered_while_killed(migrated_url, tmp_path, workers, returns=1000, events=6, kills=20, pause=0.5)


async def test_a_webhook_is_told_by_a_process_and_its_drain_leaves_nothing_behind(
    migrated_url: str, tmp_path: Path
) -> None:
    async with receiving() as receiver, Shop.at(migrated_url) as shop:
        await happen(shop, returns=3, events=2)
        worker = await RunningWorker(configured(tmp_path, migrated_url, receiver.url), tmp_path / "worker.log").ready()
        await until(lambda: len(receiver.accepted) == 6, 20, lambda: worker.log_text)
        assert await worker.stopped() == 0
        assert await shop.value("SELECT count(*) AS n FROM webhook_event") == 0
        assert await shop.value("SELECT count(*) AS n FROM news_subscriber WHERE lease_owner IS NOT NULL") == 0
    receiver.check()
    assert "whsec" not in worker.log_text
