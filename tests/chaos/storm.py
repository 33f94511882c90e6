"""Makes everything go wrong that can: workers killed and stopped, databases crashed, connections cut and half open."""

import asyncio
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.recovery import AWAY, Recovery
from tests.process.running import PAYLOAD, PILOT_PAYLOAD, RunningWorker
from tests.process.shop import Shop
from tests.proxy import Proxy
from worker.simulator import Simulator
from worker.simulator.faults import (
    Fault,
    busy,
    changed_references,
    cut,
    empty_list,
    garbage,
    hang,
    html,
    lagging_list,
    long_headers,
    not_found,
    server_error,
    throttled,
    truncated,
    twice,
)

Trouble = Callable[[], Awaitable[None]]


def _carrier_fault(chance: random.Random) -> Fault:
    processed = chance.random() < 0.5
    return chance.choice(
        [
            *(
                cut(processed),
                hang(processed),
                garbage(processed),
                html(process=processed),
                server_error(process=processed),
            ),
            *(truncated(), busy(1), throttled(1)),
            # What the real world brought: a front that passes a request on and answers for itself, long headers, and an
            # answer that comes once more, when the next question has been asked.
            *(not_found(chance.choice([404, 405, 410, 406, 407, 424, 460, 499]), processed), long_headers(), twice()),
        ]
    )


@dataclass
class Storm:
    """One run: `kills` SIGKILLs, with the other troubles in between, while the shop goes on inserting."""

    shop: Shop
    carrier: Simulator
    recovery: Recovery
    start: Callable[[], RunningWorker]
    workers: int
    chance: random.Random
    to_carrier: Proxy
    database_troubles: dict[str, Trouble]
    release: Callable[[str], Awaitable[None]]
    lease: float
    returns_per_kill: int = 3
    inserted: list[str] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    running: list[RunningWorker] = field(default_factory=list)

    async def blow(self, kills: int) -> None:
        """Until so many workers have been killed."""
        self.running = [self.start() for _ in range(self.workers)]
        others = [
            asyncio.create_task(self._again(self._trouble_database, 2.0, 6.0)),
            asyncio.create_task(self._again(self._trouble_carrier, 0.2, 1.0)),
            asyncio.create_task(self._again(self._trouble_network, 3.0, 8.0)),
            asyncio.create_task(self._again(self.person_releases, 0.5, 1.5)),
            asyncio.create_task(self.recovery.watch()),
        ]
        try:
            while self.happened["killed"] < kills:
                await self._insert()
                # Each worker lives for a second and a bit, on the average: one by itself would hardly start otherwise.
                await asyncio.sleep(self.chance.uniform(0.02, 0.6 if self.workers > 1 else 1.8))
                await self._trouble_worker()
                for task in others:
                    if task.done():
                        task.result()
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.to_carrier.thaw()
            self.carrier.clear_faults()

    async def end(self) -> None:
        """Stop every worker, as an operator would."""
        for worker in self.running:
            worker.send(signal.SIGTERM)
        for worker in self.running:
            await worker.ended(30)

    async def _insert(self) -> None:
        for _ in range(self.chance.randint(1, 2 * self.returns_per_kill - 1)):
            reference = f"C-{len(self.inserted):06}"
            pilot = self.chance.random() < 0.4
            self.inserted.append(reference)
            payload, account = (PILOT_PAYLOAD, "pilot") if pilot else (PAYLOAD, "default")
            while True:
                try:
                    await self.shop.insert(reference, payload, account)
                    break
                except AWAY as error:
                    if "unique" in str(error).lower():
                        break  # it was committed, and the answer lost
                    await asyncio.sleep(0.05)

    async def _trouble_worker(self) -> None:
        index = self.chance.randrange(len(self.running))
        worker = self.running[index]
        if worker.process.poll() is not None:
            # It ended by itself, as it may when the database was away for too long at its start.
            self.happened["ended by itself"] += 1
            assert worker.process.returncode in (69, 1), worker.log_text
        elif (what := self.chance.random()) < (0.1 if self.workers > 1 else 0.04):
            await self._stop_for_a_while(worker)
            return
        elif what < (0.15 if self.workers > 1 else 0.08):
            self.happened["shut down"] += 1
            worker.send(signal.SIGCONT)
            worker.send(signal.SIGTERM)
            await worker.ended(30)
        else:
            self.happened["killed"] += 1
            worker.kill()
            await self.recovery.killed(worker.process.pid)
        self.running[index] = self.start()

    async def _stop_for_a_while(self, worker: RunningWorker) -> None:
        """Until its leases are over, or not; the others go on meanwhile, where there are any."""
        self.happened["stopped and continued"] += 1
        seconds = self.chance.uniform(0.1, 2.5 * self.lease)
        worker.send(signal.SIGSTOP)
        if len(self.running) > 1:
            asyncio.get_running_loop().call_later(seconds, _continue, worker)
            return
        with self.recovery.disturbed():
            await asyncio.sleep(seconds)
            worker.send(signal.SIGCONT)

    async def _trouble_database(self) -> None:
        name = self.chance.choice(sorted(self.database_troubles))
        self.happened[name] += 1
        with self.recovery.disturbed():
            await self.database_troubles[name]()

    async def _trouble_carrier(self) -> None:
        operation = self.chance.choice(["create", "create", "rp_create", "rp_create", "status", "label", "rp_orders"])
        fault = _carrier_fault(self.chance)
        if operation == "rp_orders" and self.chance.random() < 0.5:
            kinds = ["number", "entities", "separator", "cut", "dropped", "replaced"]
            changed = changed_references(self.chance.choice(kinds))
            fault = self.chance.choice([changed, lagging_list(5), empty_list()])
        self.carrier.inject(operation, fault)
        self.happened["carrier faults"] += 1

    async def person_releases(self) -> None:
        """Somebody who sees that the sending to an address has stopped, and lets it go on."""
        try:
            rows = await self.shop.execute("SELECT name FROM carrier_account WHERE sending_stopped_address IS NOT NULL")
        except AWAY:
            return
        for row in rows:
            self.happened["sending stopped and released"] += 1
            await self.release(row["name"])

    async def _trouble_network(self) -> None:
        self.happened["carrier half open or cut"] += 1
        if self.chance.random() < 0.5:
            self.to_carrier.freeze()
            await asyncio.sleep(self.chance.uniform(0.2, 2.0))
            self.to_carrier.thaw()
        else:
            self.to_carrier.cut()

    async def _again(self, trouble: Trouble, shortest: float, longest: float) -> None:
        while True:
            await asyncio.sleep(self.chance.uniform(shortest, longest))
            await trouble()


def _continue(worker: RunningWorker) -> None:
    worker.send(signal.SIGCONT)


def sqlite_troubles(file: Path, chance: random.Random) -> dict[str, Trouble]:
    """Another process that writes, and does not end for a while."""

    async def hold_the_write_lock() -> None:
        connection = sqlite3.connect(file, isolation_level=None, timeout=10, check_same_thread=False)
        try:
            await asyncio.to_thread(connection.execute, "BEGIN IMMEDIATE")
            await asyncio.sleep(chance.uniform(0.2, 3.0))
        finally:
            connection.close()

    return {"write lock held": hold_the_write_lock}
