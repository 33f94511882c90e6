"""A database of either kind, the simulated carrier, and workers that are gone when the test is."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.process.running import CONFIG, KEY, TOKEN, RunningWorker
from tests.process.shop import Shop
from worker.simulator import Simulator


@pytest.fixture
def database_url(migrated_url: str) -> str:
    return migrated_url


@pytest.fixture
def shop(database_url: str) -> Shop:
    return Shop(database_url)


@pytest.fixture
async def carrier() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY, stage_seconds=0.5, token=TOKEN, rate_limit=0) as simulator:
        yield simulator


@pytest.fixture
def config(tmp_path: Path, database_url: str, carrier: Simulator) -> Path:
    (tmp_path / "izipack.key").write_text(KEY + "\n")
    (tmp_path / "pilot.key").write_text(TOKEN + "\n")
    file = tmp_path / "worker.toml"
    file.write_text(CONFIG.format(database_url=database_url, carrier_url=carrier.url, folder=tmp_path))
    return file


@pytest.fixture
def start(config: Path, tmp_path: Path) -> Iterator[Callable[..., RunningWorker]]:
    workers: list[RunningWorker] = []

    def start_worker(**environ: str) -> RunningWorker:
        workers.append(RunningWorker(config, tmp_path / f"worker-{len(workers)}.log", environ))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.kill()
