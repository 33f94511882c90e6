"""How long a claim takes: at a million rows over ten thousand, and while another session holds a snapshot."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from tests.benchmarks.databases import POSTGRESQL, SQLITE, Databases
from tests.benchmarks.figure import Group, Reach, Samples, Subject
from tests.benchmarks.rows import Rows
from tests.store.rows import LEASE, now, polled, settled
from tests.store.shop import Shop
from worker.domain.decision import Decision
from worker.domain.lifecycle import State, Step
from worker.domain.returns import ReturnOrder
from worker.engine.turn import Bookmarks
from worker.store.accounts import read_agendas
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.records import record

_DUE = 2_000  # at every size, so that each claim finds as much to take
_MOST = 129  # what a worker with 64 places asks an agenda to count to
_BATCH = 20


@dataclass(frozen=True, slots=True)
class Times:
    """What each turn took in milliseconds: to read the agenda, and to claim."""

    agendas: list[float]
    claims: list[float]


def rows_of(size: int) -> Rows:
    """A table of so many rows: 98 in a hundred finished, the others followed; as many due as at any other size."""
    live = max(size // 50, _DUE)
    return Rows(terminal=size - live, waiting=live - _DUE, due=_DUE, belongings=False)


class Table:
    """An open database whose due rows are claimed and recorded as the loop would, and made due again."""

    def __init__(self, database: Database, shop: Shop) -> None:
        self._database, self._shop = database, shop
        self.begin()

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator["Table"]:
        """Open it, with a second connection beside the worker's own."""
        database = Database(url)
        try:
            async with Shop.at(url) as shop:
                yield cls(database, shop)
        finally:
            await database.close()

    def begin(self) -> None:
        """Forget the times so far, and where the last claim ended."""
        self.times = Times([], [])
        self._backlogs = Bookmarks()

    async def turn(self, batch: int, decided: Callable[[ReturnOrder], Decision]) -> None:
        """Find what is due, take some of it, and record what was decided; the first two are timed."""
        lanes = [Lane("default", Step.TRACK, batch)]
        marks = self._backlogs.marks(time.monotonic())
        began = time.perf_counter()
        found = await read_agendas(self._database, ["default"], _MOST, marks)
        asked = time.perf_counter()
        taken = await claim(self._database, lanes, "benchmark", LEASE, marks)
        self.times.claims.append((time.perf_counter() - asked) * 1e3)
        self.times.agendas.append((asked - began) * 1e3)
        if len(taken) != batch:
            raise RuntimeError(f"a claim of {batch} brought {len(taken)}")
        self._backlogs.took(lanes, {"default": found["default"].due}, taken)
        await record(self._database, [(each.order, decided(each.order)) for each in taken])

    async def make_due_again(self) -> None:
        """As they were before, and the table as clean."""
        await self._shop.run(
            f"UPDATE return_order SET due_at = {self._shop.moment(-60)}, track_due_at = {self._shop.moment(-60)}"
            " WHERE id > (SELECT max(id) FROM return_order) - $1",
            _DUE,
        )
        await self._shop.run("PRAGMA wal_checkpoint(TRUNCATE)" if self._shop.sqlite else "VACUUM return_order")


async def times_by_size(databases: Databases, kind: str, sizes: Sequence[int], rounds: int) -> dict[int, list[Times]]:
    """For each size its rounds; each turn is made at every size before the next, so that all see the same machine."""
    found: dict[int, list[Times]] = {size: [] for size in sizes}
    urls = {size: await asyncio.to_thread(databases.filled, kind, rows_of(size)) for size in sizes}
    async with AsyncExitStack() as stack:
        tables = {size: await stack.enter_async_context(Table.at(url)) for size, url in urls.items()}
        for number in range(rounds + 1):
            for _ in range(_DUE // _BATCH):
                for table in tables.values():
                    await table.turn(_BATCH, _unchanged)
            for size, table in tables.items():
                if number:  # the first round fills caches
                    found[size].append(table.times)
                table.begin()
                await table.make_due_again()
    return found


def _unchanged(order: ReturnOrder) -> Decision:
    tomorrow = now() + timedelta(days=1)
    return polled(order, due_at=tomorrow, track_due_at=tomorrow)._replace(transitions=())


def _completed(order: ReturnOrder) -> Decision:
    return settled(order, State.COMPLETED)


def claim_size() -> Group:
    """Claims at a million rows and at ten thousand in turn, on both databases."""

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        small, large = 10_000, 200_000 if quick else 1_000_000
        samples = []
        for kind in (POSTGRESQL, SQLITE):
            found = asyncio.run(times_by_size(databases, kind, (small, large), 3 if quick else 7))
            agendas = {size: median(median(each.agendas) for each in found[size]) for size in found}
            samples.append(
                Samples(
                    [median(each.claims) for each in found[large]],
                    [median(each.claims) for each in found[small]],
                    {"rows": large, "baseline_rows": small, "batch": _BATCH, "agenda_ms": agendas},
                    f"{large:,} rows",
                )
            )
        return samples

    subjects = [
        Subject(name, f"claim p50 on {kind} at 1,000,000 rows over 10,000", Reach(1.5), measured_in="ms")
        for name, kind in (("claim-size", POSTGRESQL), ("claim-size-sqlite", SQLITE))
    ]
    return Group("claim-size", subjects, measure)


def claim_snapshot() -> Group:
    """The last fifth of many completions, with a snapshot held since before the first and without, turn by turn."""
    batch = 10

    def measure(databases: Databases, quick: bool) -> list[Samples]:
        completions, rounds = (5_000, 2) if quick else (50_000, 3)
        measured, baselines, fifths = [], [], []
        for _ in range(rounds):
            rows = Rows(due=completions, belongings=False)
            # A snapshot holds back what may be cleaned in its own database alone.
            with databases.copy(POSTGRESQL, rows) as held, databases.copy(POSTGRESQL, rows) as free:
                times = asyncio.run(_completions(held, free, completions // batch, batch))
            parts = [[median(each[len(each) * part // 5 :][: len(each) // 5]) for part in range(5)] for each in times]
            measured.append(parts[0][-1])
            baselines.append(parts[1][-1])
            fifths.append(dict(zip(("held_ms_by_fifth", "free_ms_by_fifth"), parts, strict=True)))
        details = {"completions": completions, "batch": batch, "rounds": fifths}
        return [Samples(measured, baselines, details, f"{completions:,} completions")]

    meaning = "claim p50 in the last fifth of 50,000 completions while a snapshot is held, over without"
    return Group("claim-snapshot", [Subject("claim-snapshot", meaning, Reach(1.5), measured_in="ms")], measure)


async def _completions(held: str, free: str, turns: int, batch: int) -> tuple[Sequence[float], Sequence[float]]:
    async with Table.at(held) as first, Table.at(free) as second, Shop.at(held) as other:
        await other.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.value("SELECT count(*) FROM carrier_account")  # the snapshot is taken by the first statement
        for _ in range(turns):
            await first.turn(batch, _completed)
            await second.turn(batch, _completed)
        await other.run("ROLLBACK")
        return first.times.claims, second.times.claims
