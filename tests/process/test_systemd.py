"""What a real `run` process tells the service manager, from its start to its end."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.running import RunningWorker, until
from tests.process.shop import Shop
from tests.runtime.manager import Manager

Start = Callable[..., RunningWorker]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/returns.db"


@pytest.fixture
def manager() -> Iterator[Manager]:
    with Manager() as listening:
        yield listening


@pytest.fixture
def watched(start: Start, manager: Manager) -> Callable[[], RunningWorker]:
    """A worker with a watchdog of 300 ms."""
    return lambda: start(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="300000")


async def test_a_worker_says_that_it_starts_is_ready_works_and_stops(
    watched: Callable[[], RunningWorker], manager: Manager
) -> None:
    worker = await watched().ready()
    await until(lambda: len(manager.all("WATCHDOG")) > 3, 5, lambda: manager.told)
    assert await worker.stopped() == 0
    order = [name for message in manager.told for name in message if name != "STATUS"]
    assert order[0] == "EXTEND_TIMEOUT_USEC"
    assert order.count("READY") == order.count("STOPPING") == 1
    assert order.index("EXTEND_TIMEOUT_USEC") < order.index("READY") < order.index("WATCHDOG") < order.index("STOPPING")
    assert manager.all("EXTEND_TIMEOUT_USEC")[-1] == "13000000"  # a grace of 5 s, and the last resort
    statuses = manager.all("STATUS")
    assert "starting: waiting for the database" in statuses
    assert "starting: bringing the database's schema up to date" in statuses
    assert statuses[-1] == "stopping: 0 steps in flight"
    assert "0 steps in flight, 0 returns due" in statuses


async def test_a_process_that_hangs_is_not_heard_of_and_one_that_goes_on_is_again(
    watched: Callable[[], RunningWorker], manager: Manager
) -> None:
    worker = await watched().ready()
    await until(lambda: len(manager.all("WATCHDOG")) > 1, 5)
    worker.send(signal.SIGSTOP)
    await until(lambda: _is_stopped(worker), 5)
    heard = len(manager.told)
    await asyncio.sleep(0.5)  # five beats of a process that runs
    assert len(manager.told) == heard
    worker.send(signal.SIGCONT)
    await until(lambda: len(manager.told) > heard, 5)
    assert await worker.stopped() == 0


async def test_the_status_names_an_account_that_is_held_without_a_word_of_the_key(
    watched: Callable[[], RunningWorker], manager: Manager, shop: Shop, tmp_path: Path
) -> None:
    worker = watched()
    (tmp_path / "izipack.key").write_text("IZI-wrong-key")
    await worker.ready()
    await shop.insert("R-1")
    held = "account default held until its key changes, or it is released (carrier_key_refused)"
    await until(lambda: manager.all("STATUS")[-1].endswith(held), 10, lambda: manager.told)
    fed = len(manager.all("WATCHDOG"))
    await until(lambda: len(manager.all("WATCHDOG")) > fed + 2, 5)  # a held account is no hang
    assert "IZI-wrong-key" not in str(manager.told)


async def test_a_start_that_waits_for_the_database_asks_for_more_time(
    watched: Callable[[], RunningWorker], manager: Manager, config: Path, tmp_path: Path
) -> None:
    earlier = await watched().ready()
    assert await earlier.stopped() == 0
    text = config.read_text().replace("sqlite:///" + str(tmp_path) + "/returns.db", "postgresql://nobody@127.0.0.1:1/x")
    config.write_text(text)
    asked = len(manager.all("EXTEND_TIMEOUT_USEC"))
    worker = watched()
    assert await worker.ended() == 69
    assert len(manager.all("EXTEND_TIMEOUT_USEC")) > asked + 10  # every 100 ms of the 2 s of database.wait
    assert manager.all("READY") == ["1"]  # the earlier one's


async def test_without_a_service_manager_nothing_is_different(start: Start, tmp_path: Path) -> None:
    worker = await start(NOTIFY_SOCKET="/nonexistent/notify", WATCHDOG_USEC="nonsense").ready()
    assert await worker.stopped() == 0
    assert len([event for event in worker.events if event["event"] == "service_manager_not_told"]) == 1
    assert not list(tmp_path.glob("*-wal"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file; tests/trials/systemd.py tries it as a service")
async def test_settings_that_cannot_be_read_are_bad_configuration(start: Start, config: Path) -> None:
    config.chmod(0)
    worker = start()
    assert await worker.ended() == 78
    assert "cannot be read: Permission denied" in worker.log_text


def _is_stopped(worker: RunningWorker) -> bool:
    return Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
