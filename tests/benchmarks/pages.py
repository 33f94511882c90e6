"""What readers of the pages cost the work: polls a second with ten who reload without a pause, over those without."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks.carrier import StandIn
from tests.benchmarks.databases import POSTGRESQL, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.polls import latency
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker

_IN_FLIGHT = 64
_READERS = 10
_WARM_UP = 4.0  # seconds


def pages() -> Group:
    """One worker with always more to do; windows with and without readers in turn: both meet the same machine."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        seconds, rounds = (4.0, 4) if quick else (15.0, 8)
        rows = Rows(due=int((2 * seconds * rounds + _WARM_UP + 10) * 2_500), belongings=False)
        measured, baselines, answers = [], [], dict[int, int]()
        with (
            databases.copy(POSTGRESQL, rows) as url,
            StandIn.serving(latency=latency(_IN_FLIGHT)) as carrier,
            Worker.running(url, carrier.url, _IN_FLIGHT) as worker,
        ):
            time.sleep(_WARM_UP)

            def rate() -> float:
                polls, began = carrier.served().status, time.monotonic()
                time.sleep(seconds)
                return (carrier.served().status - polls) / (time.monotonic() - began)

            for _ in range(rounds):
                baselines.append(rate())
                with _readers(worker, answers):
                    measured.append(rate())
        note = f"{answers.get(200, 0) / (seconds * rounds):.1f} pages/s, {answers.get(503, 0)} of them told to wait"
        return [Samples(measured, baselines, {"seconds": seconds, "answers": answers}, note)]

    meaning = f"polls a second with {_READERS} readers who reload a page over without, on postgresql"
    return Group("pages", [Subject("pages", meaning, Reach(0.97, at_least=True), measured_in="polls/s")], measure)


@contextmanager
def _readers(worker: Worker, answers: dict[int, int]) -> Iterator[None]:
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            status, _ = worker.get("/accounts")
            answers[status] = answers.get(status, 0) + 1

    threads = [threading.Thread(target=read) for _ in range(_READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
