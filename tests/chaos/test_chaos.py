"""Never twice, never lost: workers killed at any instant, with everything else going wrong as well.

The short form is part of every run. The long form, `pytest -m chaos`, kills 1,000 workers on each database; it prints
the table that README.md shows. RETURNS_WORKER_TEST_CHAOS_KILLS sets another number, RETURNS_WORKER_TEST_CHAOS_SEED
repeats a run as far as a race can be repeated.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.chaos.books import Orders, asked_about, lost, second_posts, untrue_histories
from tests.chaos.recovery import Recovery
from tests.chaos.storm import Storm, Trouble, sqlite_troubles
from tests.postgres import PostgresServer
from tests.process.nursery import nursery
from tests.process.running import CONFIG, KEY, TOKEN, RunningWorker, until
from tests.process.shop import Shop
from tests.proxy import Proxy
from worker.simulator import Simulator

LONG, SHORT = int(os.environ.get("RETURNS_WORKER_TEST_CHAOS_KILLS", "1000")), 6
LEASE, TICK = 3.0, 0.2
HEADER = (
    f"{'database':10} {'workers':>7} {'kills':>6} {'returns':>8} {'creations':>10} {'duplicates':>11} {'asked':>6}"
    f" {'lost':>5} {'worst recovery after a kill':>28} {'after a database restart':>25}"
)


@dataclass
class Scene:
    """Everything a storm needs, on one kind of database."""

    storm: Storm
    shop: Shop
    carrier: Simulator
    recovery: Recovery
    config: Path
    kind: str


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def scene(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    seed = int(os.environ.get("RETURNS_WORKER_TEST_CHAOS_SEED", str(random.randrange(2**32))))
    chance = random.Random(seed)
    print(f"RETURNS_WORKER_TEST_CHAOS_SEED={seed}")
    workers: list[RunningWorker] = []
    async with (
        Simulator(api_key=KEY, token=TOKEN, rate_limit=0, stage_seconds=0.4, label_seconds=0.2) as carrier,
        Proxy("127.0.0.1", int(carrier.url.rsplit(":", 1)[1])) as to_carrier,
        _database(kind, tmp_path, request, chance) as (direct, used, troubles, restarted),
    ):
        config = _configure(tmp_path, used, f"http://127.0.0.1:{to_carrier.port}")
        shop = Shop(direct)
        recovery = Recovery(shop)
        restarted.append(recovery)

        def start() -> RunningWorker:
            workers.append(RunningWorker(config, tmp_path / f"worker-{len(workers) % 50}.log"))
            return workers[-1]

        (await start().ready()).kill()  # it makes the tables
        count = 1 if kind == "sqlite" else 4

        async def release(account: str) -> None:
            said = config.with_name("release.log")
            child = nursery().start("--config", str(config), "accounts", "release", account, errors=said)
            await asyncio.to_thread(child.wait)  # with the database away it fails, and is tried again

        storm = Storm(shop, carrier, recovery, start, count, chance, to_carrier, troubles, release, LEASE)
        try:
            yield Scene(storm, shop, carrier, recovery, config, kind)
        finally:
            for worker in workers:
                worker.kill()


@asynccontextmanager
async def _database(
    kind: str, folder: Path, request: pytest.FixtureRequest, chance: random.Random
) -> AsyncIterator[tuple[str, str, dict[str, Trouble], list[Recovery]]]:
    """Its URL for the shop, its URL for workers, what can happen to it, and where to tell of its returns."""
    restarted: list[Recovery] = []
    if kind == "sqlite":
        url = f"sqlite:///{folder}/returns.db"
        yield url, url, sqlite_troubles(folder / "returns.db", chance), restarted
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = request.getfixturevalue("postgres_url")
    parts = urlsplit(url)
    assert parts.port is not None
    async with Proxy("127.0.0.1", parts.port) as proxy:

        async def crash() -> None:
            await asyncio.to_thread(server.restart_immediately)
            await restarted[0].returned()

        async def freeze() -> None:
            proxy.freeze()
            try:
                await asyncio.sleep(chance.uniform(0.2, 1.5 * LEASE))
            finally:
                proxy.thaw()

        async def cut() -> None:
            proxy.cut()

        async def terminate() -> None:
            await Shop(url).execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'returns-worker' AND random() < 0.7"
            )

        troubles: dict[str, Trouble] = {
            "database crashed": crash,
            "database half open": freeze,
            "database cut": cut,
            "backends terminated": terminate,
        }
        yield url, url.replace(f":{parts.port}/", f":{proxy.port}/"), troubles, restarted


def _configure(folder: Path, database_url: str, carrier_url: str) -> Path:
    (folder / "izipack.key").write_text(KEY)
    (folder / "pilot.key").write_text(TOKEN)
    text = CONFIG.format(database_url=database_url, carrier_url=carrier_url, folder=folder)
    for old, new in (
        ('timeout = "2s"', 'timeout = "1s"'),
        ('lease = "5s"', f'lease = "{LEASE}s"'),
        ('wait = "2s"', 'wait = "60s"'),
        ('level = "debug"', 'level = "info"'),
        ('first = "200ms"', 'first = "400ms"'),
        ('cap = "200ms"', 'cap = "400ms"'),
    ):
        assert old in text
        text = text.replace(old, new)
    file = folder / "worker.toml"
    file.write_text(text.replace("[circuit]\n", "[circuit]\nfailures = 3\n"))  # they open often, and close
    return file


async def test_nothing_is_created_twice_and_nothing_is_lost_whatever_is_killed(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    await _weather(scene, SHORT, capsys)


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
async def test_nothing_is_created_twice_and_nothing_is_lost_in_a_thousand_kills(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    await _weather(scene, LONG, capsys)


async def _weather(scene: Scene, kills: int, capsys: pytest.CaptureFixture[str]) -> None:
    storm, shop, carrier = scene.storm, scene.shop, scene.carrier
    began = time.monotonic()
    await storm.blow(kills)
    sent = len(carrier.requests("create"))
    await _until_none_is_in(storm, "pending", "tracking")
    asked = await asked_about(shop)
    await _a_person_decides(scene)
    await _until_none_is_in(storm, "pending", "tracking", "rejected", "needs_attention", "cancelled")
    await storm.end()
    orders = Orders.of(carrier)
    gone, untrue = await lost(shop, storm.inserted, orders), await untrue_histories(shop)
    kill, restart = (
        f"{max(times):.1f} s" if times else "-" for times in (scene.recovery.after_kill, scene.recovery.after_restart)
    )
    with capsys.disabled():
        print(f"\n{HEADER}")
        print(
            f"{scene.kind:10} {storm.workers:7} {storm.happened['killed']:6} {len(storm.inserted):8}"
            f" {len(orders.numbers):10} {len(orders.duplicates):11} {asked:6} {len(gone):5} {kill:>28} {restart:>25}"
        )
        others = ", ".join(f"{count} {name}" for name, count in sorted(storm.happened.items()) if name != "killed")
        print(f"  besides: {others}; {time.monotonic() - began:.0f} s")
    assert orders.duplicates == []
    assert second_posts(carrier, sent) == []
    assert gone == []
    assert untrue == []


async def _until_none_is_in(storm: Storm, *states: str) -> None:
    quoted = ", ".join(f"'{state}'" for state in states)
    statement = f"SELECT * FROM return_order WHERE state IN ({quoted})"
    left: list[dict[str, Any]] = []

    async def is_none() -> bool:
        await storm.person_releases()
        left[:] = await storm.shop.execute(statement)
        return not left

    await until(is_none, 120, lambda: "\n".join(map(str, left)))


async def _a_person_decides(scene: Scene) -> None:
    """Looks for each return that needs attention at the carrier, and says what is true there."""
    orders = Orders.of(scene.carrier)
    await asyncio.sleep(LEASE + 1.5)  # until then a stopped worker may send, and the command refuses
    rows = await scene.shop.execute("SELECT * FROM return_order WHERE state = 'needs_attention' ORDER BY id")
    for row in rows:
        number = orders.number_of(row["reference"])
        if row["carrier_ref"] is not None:
            command = ["retry", row["reference"]]
        elif number is None:
            command = ["resolve", row["reference"], "--not-created"]
        else:
            command = ["resolve", row["reference"], "--carrier-ref", number]
        await _type(scene.config, *command, "--reason", "looked in the portal")


async def _type(config: Path, *words: str) -> None:
    said = config.with_name("command.log")
    child = nursery().start("--config", str(config), *words, errors=said)
    assert await asyncio.to_thread(child.wait) == 0, said.read_text()
