"""From exec to ready, with a million rows in the database."""

from tests.benchmarks.carrier import StandIn
from tests.benchmarks.databases import POSTGRESQL, SQLITE, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.rows import Rows
from tests.benchmarks.worker import Worker


def start() -> Group:
    """Starts on both databases in turn."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        rows = Rows(terminal=196_000 if quick else 980_000, waiting=4_000 if quick else 20_000, belongings=False)
        times: dict[str, list[float]] = {POSTGRESQL: [], SQLITE: []}
        with StandIn.serving() as carrier:
            for _ in range(5 if quick else 15):
                for kind, brought in times.items():
                    with Worker.running(databases.filled(kind, rows), carrier.url, 64) as worker:
                        brought.append(worker.seconds_to_ready)
        return [Samples(brought, note=f"{rows.terminal + rows.waiting:,} rows") for brought in times.values()]

    subjects = [
        Subject(name, f"from exec to ready on {kind} with 1,000,000 rows", Reach(2.0), "s")
        for name, kind in (("start", POSTGRESQL), ("start-sqlite", SQLITE))
    ]
    return Group("start", subjects, measure)
