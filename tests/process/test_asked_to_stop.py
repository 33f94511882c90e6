"""A real worker whose log nobody reads, or whose main thread hangs, works and ends as any other."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.process.nursery import Child, nursery
from tests.process.running import RunningWorker, until
from tests.process.shop import Shop
from worker.runtime.signals import stop_signals
from worker.simulator import Simulator
from worker.simulator.faults import hang

Start = Callable[..., RunningWorker]

TWO = (signal.SIGTERM, signal.SIGINT)
ENDED_BY_TWO = {128 + number for number in TWO}
"""Whichever is taken last: two of one kind that come close together are one."""

HANGING = """
import asyncio, ctypes, sys
from worker.runtime.loop import run_loop
from worker.runtime.shutdown import stop_requested
async def work():
    with stop_requested(float(sys.argv[1])):
        libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        print("hangs", flush=True)
        while True:  # for ever in C, where no handler of Python's is run
            libc.pthread_mutex_lock(lock)
run_loop(work())
"""


class Unread:
    """A worker whose stdout and stderr are a full pipe that nobody reads; where it listens is known beforehand."""

    def __init__(self, config: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        pipe = folder / "pipe"
        os.mkfifo(pipe)
        self.reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(self.reader, b"-" * 4096)
        environ = {"RETURNS_WORKER_HTTP__LISTEN": self.address}
        self.process: Child = nursery().start("--config", str(config), "run", output=pipe, errors=pipe, environ=environ)

    async def get(self, path: str) -> str:
        """What it answers; empty while it does not listen."""

        def fetch() -> str:
            try:
                with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                    return str(answer.read().decode())
            except OSError:
                return ""

        return await asyncio.to_thread(fetch)

    async def ended(self, seconds: float) -> int:
        await until(lambda: self.process.poll() is not None, seconds)
        return self.process.wait()


@pytest.fixture
def unread(config: Path, tmp_path: Path) -> Iterator[Unread]:
    worker = Unread(config, tmp_path)
    yield worker
    worker.process.kill()
    os.close(worker.reader)


@on_sqlite
async def test_a_log_that_nobody_reads_keeps_no_return_waiting_and_no_stop(
    unread: Unread, shop: Shop, carrier: Simulator
) -> None:
    await until(lambda: unread.get("/livez"), 20)
    for number in range(5):
        await shop.insert(f"R-{number}")
    await until(lambda: _all_are_completed(shop), 20)
    assert await unread.get("/livez") == "ok\n"
    carrier.inject("create", hang())
    await shop.insert("R-5")
    await until(lambda: len(carrier.requests("create")) == 6, 10)
    unread.process.send_signal(signal.SIGTERM)
    assert await unread.ended(8) == 0  # the grace time of 5 s, and a second for the reader
    assert (await shop.order("R-5"))["error_code"] == "create_outcome_unknown"  # recorded, and not left as it was


@on_sqlite
async def test_a_log_that_nobody_reads_keeps_no_second_signal_waiting(
    unread: Unread, shop: Shop, carrier: Simulator
) -> None:
    await until(lambda: unread.get("/livez"), 20)
    carrier.inject("create", hang())
    await shop.insert("R-1")
    await until(lambda: carrier.requests("create"), 10)
    for number in TWO:
        unread.process.send_signal(number)
    assert await unread.ended(1.5) in ENDED_BY_TWO


@on_sqlite
async def test_lines_that_nobody_took_are_counted(config: Path, tmp_path: Path, unread: Unread) -> None:
    await until(lambda: unread.get("/livez"), 20)
    dropped = "returns_worker_log_lines_dropped_total"
    assert f"\n{dropped} 0.0\n" in await unread.get("/metrics")
    os.close(unread.reader)  # what is written now fails
    unread.reader = os.open(os.devnull, os.O_RDONLY)
    await until(lambda: _counts(unread, dropped), 5)


async def _counts(worker: Unread, name: str) -> bool:
    (line,) = (line for line in (await worker.get("/metrics")).splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1]) > 0


@on_sqlite
async def test_a_hang_up_lets_a_creation_in_flight_finish_as_any_request_to_stop_does(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    carrier.inject("create", hang())
    await shop.insert("R-1")
    await until(lambda: carrier.requests("create"), 10)
    worker.send(signal.SIGHUP)
    assert await worker.ended() == 0
    assert (await shop.order("R-1"))["error_code"] == "create_outcome_unknown"  # after its time limit of 2 s
    assert worker.events[-1]["event"] == "stopped"


def test_under_nohup_a_hang_up_is_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == {signal.SIGTERM, signal.SIGINT}
    finally:
        signal.signal(signal.SIGHUP, before)
    assert before is signal.SIG_IGN or signal.SIGHUP in stop_signals()


@on_sqlite
async def test_no_descriptor_of_a_worker_without_standard_ones_is_taken_for_one(config: Path, shop: Shop) -> None:
    process = nursery().start("--config", str(config), "run", input=None, output=None, errors=None)
    try:
        folder = Path(f"/proc/{process.pid}/fd")
        await until(lambda: any("returns.db" in target for target in _opened(folder)), 20)
        assert [os.readlink(folder / str(number)) for number in range(3)] == [os.devnull] * 3
        await shop.insert("R-1")
        await until(lambda: shop.is_in("R-1", "tracking"), 10)
    finally:
        process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait) == 0


def _opened(folder: Path) -> Iterator[str]:
    """What a process has open, but for what it closes meanwhile."""
    for entry in folder.iterdir() if folder.exists() else ():
        with suppress(FileNotFoundError):
            yield os.readlink(entry)


@pytest.mark.parametrize(("limit", "signals", "codes"), [("60", TWO, ENDED_BY_TWO), ("0.1", TWO[:1], {1})])
def test_a_main_thread_that_hangs_in_c_ends_by_a_second_signal_and_by_time(
    limit: str, signals: tuple[signal.Signals, ...], codes: set[int]
) -> None:
    process = subprocess.Popen([sys.executable, "-c", HANGING, limit], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        for number in signals:
            process.send_signal(number)
        assert process.wait(10) in codes
    finally:
        process.kill()
        process.communicate()


async def _all_are_completed(shop: Shop) -> bool:
    return all(row["state"] == "completed" for row in await shop.execute("SELECT state FROM return_order"))
