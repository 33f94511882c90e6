"""What a record costs beside another version's: `python -m tests.benchmarks.news OTHER_CHECKOUT`.

Both versions record batches in turn, each in a database of its own on one server, so that what else the machine does
meets both. Nobody has subscribed, but for two more rows of this version: a table and a webhook. Medians and 10th
percentiles in milliseconds, of records that change nothing, and of records with a line of history for each return.
"""

import asyncio
import gc
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from tests.benchmarks.processes import ROOT
from tests.postgres import PostgresServer
from tests.store.rows import LEASE, polled
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.records import record
from worker.store.schema import migrate

_ROWS = 4_000
_ROUNDS = {1: 400, 20: 200, 100: 100}
_WARM = 10
_SIDES = {"other": None, "this": None, "table": "table", "webhook": "webhook"}


class Side:
    """A process of one version, which records what it is asked to."""

    def __init__(self, checkout: Path, url: str, kind: str | None) -> None:
        words = [sys.executable, "-P", __file__, "side", url, kind or ""]
        environ = {**os.environ, "PYTHONPATH": str(checkout)}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ, cwd=checkout
        )

    def answer(self) -> float:
        """What it says next."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def records(self, batch: int, *, changes: bool) -> float:
        """How many milliseconds a record of so many returns takes."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{batch} {int(changes)}\n")
        self._process.stdin.flush()
        return self.answer() * 1e3

    def end(self) -> None:
        """It ends with its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


async def _serve(url: str, kind: str) -> None:
    """Record batches as the standard input asks for them, and print the seconds that each took."""
    database = Database(url)
    await migrate(database)
    async with Shop.at(url) as shop:
        due = shop.moment(-60)
        columns = "reference, payload, state, next_step, carrier_ref, tracking_status, due_at, track_due_at"
        values = f"'R-' || n, '{{}}', 'tracking', 'track', 'N-' || n, 'unknown', {due}, {due}"
        numbers = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {_ROWS})"
        payload = values.replace("'{}'", "CAST('{}' AS jsonb)") if not shop.sqlite else values
        await shop.run(f"INSERT INTO return_order ({columns}) {numbers} SELECT {payload} FROM c")
        if kind:
            await shop.run(f"INSERT INTO news_subscriber (name, kind) VALUES ('shop', '{kind}')")
        await shop.run("ANALYZE")
    print(0, flush=True)
    gc.disable()
    for line in iter(sys.stdin.readline, ""):
        batch, changes = map(int, line.split())
        taken = await claim(database, [Lane("default", Step.TRACK, batch)], "benchmark", LEASE)
        made = [(each.order, polled(each.order)._replace(order=each.order)) for each in taken]
        if not changes:
            made = [(before, decision._replace(transitions=())) for before, decision in made]
        began = time.perf_counter()
        written = await record(database, made)
        print(time.perf_counter() - began, flush=True)
        assert len(written) == batch
    await database.close()


@contextmanager
def _databases() -> Iterator[dict[str, list[str]]]:
    """A database of each kind for each side."""
    server = PostgresServer.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield {
                "postgresql": [server.create_database() for _ in _SIDES],
                "sqlite": [f"sqlite:///{folder}/{name}.db" for name in _SIDES],
            }
    finally:
        server.stop()


def main(other: Path) -> None:
    """Measure, and print a line for each batch."""
    with _databases() as databases:
        for kind, urls in databases.items():
            sides = {
                name: Side(other if name == "other" else ROOT, url, subscriber)
                for (name, subscriber), url in zip(_SIDES.items(), urls, strict=True)
            }
            for side in sides.values():
                side.answer()
            for batch, rounds in _ROUNDS.items():
                for changes in (False, True):
                    times: dict[str, list[float]] = {name: [] for name in sides}
                    for _ in range(rounds + _WARM):
                        for name in random.sample(list(sides), len(sides)):
                            times[name].append(sides[name].records(batch, changes=changes))
                    found = {name: each[_WARM:] for name, each in times.items()}
                    said = (f"{name} {median(each):.3f} {quantiles(each, n=10)[0]:.3f}" for name, each in found.items())
                    print(f"{kind} batch {batch}{' changed' if changes else ''}:", *said, sep="  ", flush=True)
            for side in sides.values():
                side.end()


if __name__ == "__main__":
    if sys.argv[1] == "side":
        asyncio.run(_serve(*sys.argv[2:]))
    else:
        main(Path(sys.argv[1]).absolute())
