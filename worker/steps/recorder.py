"""Writes decisions down: creations at once, everything else in batches; keeps trying while the database is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from worker.domain.decision import Decision
from worker.domain.returns import ReturnOrder
from worker.store.claims import hand_back
from worker.store.database import Database, DatabaseUnavailable
from worker.store.records import CarrierRefTaken, record, recorded_before

T = TypeVar("T")
Made = tuple[ReturnOrder, Decision]

_BATCH = 500
_LINGER = 0.05  # seconds a poll's result may wait for others
_FIRST_RETRY, _LAST_RETRY = 0.1, 5.0  # seconds between tries while the database is away

log = structlog.get_logger()


class Recorder:
    """One writer for a process' decisions, so that a batch costs one statement."""

    def __init__(
        self,
        database: Database,
        on_recorded: Callable[[ReturnOrder, Decision], None],
        on_lost: Callable[[ReturnOrder, Decision], None],
        on_error: Callable[[], None],
    ) -> None:
        """The hooks are told of each decision that was written, each that was dropped, and each failed try."""
        self._database = database
        self._on_recorded, self._on_lost, self._on_error = on_recorded, on_lost, on_error
        self._made: list[Made] = []
        self._given_back: list[ReturnOrder] = []
        self._waiting = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.behind = 0
        """Writes that failed and are being tried again: what they are about must not be claimed anew meanwhile."""

    def later(self, before: ReturnOrder, decision: Decision) -> None:
        """Write with the next batch."""
        self._made.append((before, decision))
        self._waiting.set()

    def give_back(self, order: ReturnOrder) -> None:
        """Hand a row back whose step was not started, with the next batch."""
        self._given_back.append(order)
        self._waiting.set()

    async def now(self, before: ReturnOrder, decision: Decision) -> None:
        """Write alone and at once; raises `CarrierRefTaken`."""
        try:
            await self._persist([(before, decision)])
        except CarrierRefTaken:
            raise
        except Exception as error:
            self._unwritable(before, decision, error)

    async def run(self) -> None:
        """Write batches until cancelled."""
        while True:
            await self._waiting.wait()
            if len(self._made) < _BATCH:
                await asyncio.sleep(_LINGER)
            await self.flush()

    async def flush(self) -> None:
        """Write everything there is."""
        async with self._flushing:
            while self._made or self._given_back:
                self._waiting.clear()
                batch = self._next_batch()
                given_back, self._given_back = self._given_back, []
                if batch:
                    await self._persist_batch(batch)
                if given_back:
                    await self._insist(partial(hand_back, self._database, given_back))

    def _next_batch(self) -> list[Made]:
        """At most one decision for each row: two are of two claims, and only the later one can still be written."""
        ids: set[int] = set()
        for before, _ in self._made[:_BATCH]:
            if before.id in ids:
                break
            ids.add(before.id)
        batch, self._made = self._made[: len(ids)], self._made[len(ids) :]
        return batch

    async def _persist_batch(self, batch: Sequence[Made]) -> None:
        try:
            await self._persist(batch)
        except Exception as error:  # whatever it is about one row
            if len(batch) > 1:  # one bad row must not cost the others their results
                for made in batch:
                    await self._persist_batch([made])
                return
            self._unwritable(*batch[0], error)

    def _unwritable(self, before: ReturnOrder, decision: Decision, error: Exception) -> None:
        """The lease runs out and the row is tried again; one that never can be written is held after some claims."""
        self._on_error()
        log.error(
            "record_failed",
            order_id=before.id,
            reference=before.reference,
            carrier_ref=decision.order.carrier_ref,
            error=f"{type(error).__name__}: {str(error)[:300]}",
        )

    async def _persist(self, batch: Sequence[Made]) -> None:
        tries = 0

        async def write() -> set[int]:
            nonlocal tries
            tries += 1
            written = await record(self._database, batch)
            if tries > 1 and len(written) < len(batch):
                # The connection may have been cut between a commit and its answer.
                missing = [before for before, _ in batch if before.id not in written]
                written |= await recorded_before(self._database, missing)
            return written

        written = await self._insist(write)
        for before, decision in batch:
            if before.id in written:
                self._on_recorded(before, decision)
            else:
                self._on_lost(before, decision)

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try until the database takes it: a result that is lost would make the carrier be asked, or told, again."""
        wait, behind = _FIRST_RETRY, 0
        try:
            while True:
                try:
                    return await write()
                except DatabaseUnavailable as error:
                    self._on_error()
                    log.warning("database_unavailable", doing="record", error=str(error), retry_in=round(wait, 1))
                behind, self.behind = 1, self.behind + 1 - behind
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(wait * 2, _LAST_RETRY)
        finally:
            self.behind -= behind
