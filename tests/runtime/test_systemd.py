"""What the service manager is told, over a real datagram socket, and that it can never harm the work."""

import asyncio
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.process.running import until
from tests.runtime.manager import Manager
from worker.labels.child import Child
from worker.runtime.systemd import Pulse, ServiceManager


@pytest.fixture
def manager() -> Iterator[Manager]:
    with Manager() as listening:
        yield listening


def service(manager: Manager, **environ: str) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": manager.address, **environ}, pid=4711)


def test_it_tells_an_abstract_socket(manager: Manager) -> None:
    service(manager).tell(READY=1, STATUS="at work")
    assert manager.told == [{"READY": "1", "STATUS": "at work"}]


def test_it_tells_a_socket_that_is_a_file() -> None:
    with tempfile.TemporaryDirectory() as folder, Manager(f"{folder}/notify") as manager:  # short: 107 bytes at most
        service(manager).tell(STOPPING=1)
        assert manager.told == [{"STOPPING": "1"}]


def test_a_status_is_one_line_and_not_too_long(manager: Manager) -> None:
    service(manager).tell(STATUS="a\nREADY=1\n" + "\udcff" * 5000)
    ((status,),) = [list(message.values()) for message in manager.told]
    assert status.startswith("a READY=1 ???")
    assert len(status) == 1000


@pytest.mark.parametrize("address", ["", "vsock:2:9999", "relative"])
def test_where_there_is_no_socket_nothing_is_said(address: str) -> None:
    quiet = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"} if address else {})
    quiet.tell(READY=1)
    assert not quiet.listens
    assert quiet.watchdog is None


def test_a_manager_that_is_gone_stops_nothing() -> None:
    assert not ServiceManager({"NOTIFY_SOCKET": "/nonexistent/notify"}).tell(READY=1)


async def test_a_manager_that_is_busy_stops_nothing_and_is_told_once_more_that_we_are_ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as busy:
        busy.bind(f"\0returns-worker-{secrets.token_hex(8)}")
        busy.setblocking(False)
        address = busy.getsockname().decode().replace("\0", "@", 1)
        manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000"})
        while manager.tell(STATUS="more than it reads"):
            pass
        pulse = Pulse(manager, goes_on=lambda: True, status=lambda: "at work")
        pulse.start("")
        pulse.ready()
        heard: list[bytes] = []

        def is_told() -> bool:
            with suppress(BlockingIOError):
                while True:
                    heard.append(busy.recv(4096))
            return {b"READY=1", b"STATUS=at work"} <= set(heard)

        await until(is_told, 5, lambda: heard)
        await pulse.end()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "4711"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_the_one_that_is_meant_for_this_process(
    manager: Manager, environ: dict[str, str], seconds: float | None
) -> None:
    assert service(manager, **environ).watchdog == seconds


def test_the_process_that_reads_labels_inherits_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY")
    for name in names:
        monkeypatch.setenv(name, "1")
    child = Child(
        "import os; from worker.labels import child;"
        f" child.serve(lambda content: sum(name in os.environ for name in {names}))"
    )
    answer = child.ask(b"", 10.0)
    child.kill()
    assert (answer.value, answer.error) == (0, "")


async def test_while_it_starts_each_beat_asks_for_more_time_and_says_for_what(manager: Manager) -> None:
    pulse = Pulse(service(manager, WATCHDOG_USEC="60000"), goes_on=lambda: True, status=lambda: "at work")
    pulse.start("looking around")
    await until(lambda: len(manager.all("EXTEND_TIMEOUT_USEC")) > 2, 5)
    pulse.starting("waiting for the database")
    assert manager.all("STATUS") == ["starting: looking around", "starting: waiting for the database"]
    assert set(manager.all("EXTEND_TIMEOUT_USEC")) == {"60000000"}
    assert manager.all("WATCHDOG") == manager.all("READY") == []
    pulse.ready()
    assert manager.told[-3:] == [{"READY": "1"}, {"WATCHDOG": "1"}, {"STATUS": "at work"}]
    await pulse.end()


async def test_the_watchdog_is_fed_as_long_as_the_loop_goes_on_and_not_a_beat_longer(manager: Manager) -> None:
    goes_on, looks = True, 0

    def look() -> bool:
        nonlocal looks
        looks += 1
        return goes_on

    pulse = Pulse(service(manager, WATCHDOG_USEC="60000"), goes_on=look, status=lambda: "at work")
    pulse.start("")
    pulse.ready()
    await until(lambda: len(manager.all("WATCHDOG")) > 3, 5)
    goes_on, fed, looked = False, len(manager.all("WATCHDOG")), looks
    await until(lambda: looks > looked + 3, 5)
    assert len(manager.all("WATCHDOG")) == fed
    assert manager.all("STATUS")[-1] == "stalled, the watchdog is not fed: at work"
    goes_on = True
    await until(lambda: len(manager.all("WATCHDOG")) > fed, 5)
    assert manager.all("STATUS")[-1] == "at work"
    await pulse.end()


async def test_an_event_loop_that_hangs_feeds_nobody(manager: Manager) -> None:
    pulse = Pulse(service(manager, WATCHDOG_USEC="30000"), goes_on=lambda: True, status=lambda: "at work")
    pulse.start("")
    pulse.ready()
    await until(lambda: len(manager.all("WATCHDOG")) > 1, 5)
    fed = len(manager.all("WATCHDOG"))
    time.sleep(0.3)  # noqa: ASYNC251  the whole loop hangs
    assert len(manager.all("WATCHDOG")) == fed
    await until(lambda: len(manager.all("WATCHDOG")) > fed, 5)
    await pulse.end()


async def test_a_stop_is_said_with_its_time_and_fed_although_the_loop_turns_no_more(manager: Manager) -> None:
    pulse = Pulse(service(manager, WATCHDOG_USEC="60000"), goes_on=lambda: False, status=lambda: "2 steps in flight")
    pulse.start("")
    pulse.stopping(within=33.0)
    assert {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "33000000"} in manager.told
    assert manager.all("STATUS")[-1] == "stopping: 2 steps in flight"
    await until(lambda: len(manager.all("WATCHDOG")) > 2, 5)
    await pulse.end()
    said = len(manager.told)
    await asyncio.sleep(0.1)  # two beats of one that had not ended
    assert len(manager.told) == said


async def test_a_status_that_cannot_be_made_starves_nobody(manager: Manager) -> None:
    def status() -> str:
        raise RuntimeError("a defect")

    pulse = Pulse(service(manager, WATCHDOG_USEC="60000"), goes_on=lambda: True, status=status)
    pulse.start("")
    pulse.ready()
    await until(lambda: len(manager.all("WATCHDOG")) > 2, 5)
    assert manager.all("STATUS")[-1] == "at work"
    await pulse.end()
