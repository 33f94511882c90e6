"""Writes decisions down: creations at once, everything else in batches; keeps trying while the database is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from worker.domain.cadence import grown
from worker.domain.decision import Decision, in_part
from worker.domain.masking import said_by
from worker.domain.returns import ReturnOrder
from worker.engine.outage import say_away, say_back
from worker.store.claims import hand_back
from worker.store.database import Database
from worker.store.erasure import files_came
from worker.store.failures import DatabaseUnavailable, first_line
from worker.store.records import CarrierRefTaken, Standing, record, standings

T = TypeVar("T")
Made = tuple[ReturnOrder, Decision]

_BATCH = 500
_LINGER = 0.05  # seconds a poll's result may wait for others
_FIRST_RETRY, _LAST_RETRY = 0.1, 2.0  # seconds between tries while the database is away
_LOCKED_RETRY = 0.1  # seconds between tries at a locked row; the next claim must not be quicker

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
        self._made, self._given_back = list[Made](), list[ReturnOrder]()  # for the next batch
        self._open: dict[tuple[int, int], Made] = {}  # by claim: neither written, nor dropped, nor found unwritable
        self._apart: set[asyncio.Task[None]] = set()
        self._waiting = asyncio.Event()
        self._flushing = asyncio.Lock()
        self.behind = 0  # writes that failed and are tried again: their rows must not be claimed once more meanwhile

    @property
    def unrecorded(self) -> Sequence[Made]:
        """Results that are in our hands only."""
        return list(self._open.values())

    def later(self, before: ReturnOrder, decision: Decision) -> None:
        """Write with the next batch."""
        self._open[_claim_of(before)] = (before, decision)
        self._made.append((before, decision))
        self._waiting.set()

    def give_back(self, order: ReturnOrder) -> None:
        """Hand a row back, since its step was not started, with the next batch."""
        self._given_back.append(order)
        self._waiting.set()

    async def now(self, before: ReturnOrder, decision: Decision) -> None:
        """Write alone and at once; raises `CarrierRefTaken`."""
        self._open[_claim_of(before)] = (before, decision)
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
        """Write everything there is, but for rows that are locked by others."""
        async with self._flushing:
            while self._made or self._given_back:
                self._waiting.clear()
                batch = self._next_batch()
                given_back, self._given_back = self._given_back, []
                if batch:
                    await self._persist_batch(batch)
                if given_back:
                    await self._hand_back(given_back)

    async def finish(self) -> None:
        """Write everything there is."""
        await self.flush()
        while self._apart:
            await asyncio.wait(self._apart)

    def _next_batch(self) -> list[Made]:
        """At most one decision for each row: two are of two claims, and only the later one can still be written."""
        ids: set[int] = set()
        for before, _ in self._made[:_BATCH]:
            if before.id in ids:
                break
            ids.add(before.id)
        batch, self._made = self._made[: len(ids)], self._made[len(ids) :]
        return batch

    async def _persist_batch(self, batch: Sequence[Made], *, again: bool = False) -> None:
        try:
            await self._persist(batch, again=again)
        except Exception as error:
            if len(batch) == 1:
                self._unwritable(*batch[0], error)
                return
            for made in batch:  # one bad row must not cost the others their results
                await self._persist_batch([made])

    def _unwritable(self, before: ReturnOrder, decision: Decision, error: Exception) -> None:
        """The lease runs out and the row is tried again; after some claims it is set aside for a person."""
        self._open.pop(_claim_of(before), None)
        self._on_error()
        log.error(
            "record_failed",
            order_id=before.id,
            reference=before.reference,
            carrier_ref=decision.order.carrier_ref,
            error=f"{type(error).__name__}: {said_by(error)}",
        )

    async def _persist(self, batch: Sequence[Made], *, again: bool = False) -> None:
        standing = await self._write(batch)
        lost = [before.id for before, _ in batch if standing[before.id] is Standing.LOST]
        if lost:  # erased since, perhaps: then a label that we stored must not stay
            await self._insist(lambda: files_came(self._database, lost))
        for before, decision in batch:
            if standing[before.id] is Standing.LOCKED:
                if not again:
                    hint = "somebody's open transaction keeps its result waiting"
                    log.warning("row_locked", order_id=before.id, hint=hint)
                self._do_apart(self._persist_again((before, decision)))
                continue
            self._open.pop(_claim_of(before), None)
            (self._on_recorded if standing[before.id] is Standing.WRITTEN else self._on_lost)(before, decision)

    async def _persist_again(self, made: Made) -> None:
        """The row was locked: try until it is free. Another worker may take it in that moment."""
        await asyncio.sleep(_LOCKED_RETRY)
        await self._persist_batch([made], again=True)

    async def _write(self, batch: Sequence[Made]) -> dict[int, Standing]:
        tries = 0

        async def write() -> dict[int, Standing]:
            nonlocal tries
            tries += 1
            alone = len(batch) == 1
            written = await (record_one(self._database, *batch[0]) if alone else record(self._database, batch))
            found = await self._standings([before for before, _ in batch], written)
            if tries == 1:
                # No answer to a commit of ours was lost: if our lease has ended, it was not by this record.
                found = {key: Standing.LOST if each is Standing.WRITTEN else each for key, each in found.items()}
            return found | dict.fromkeys(written, Standing.WRITTEN)

        return await self._insist(write)

    async def _hand_back(self, orders: Sequence[ReturnOrder]) -> None:
        async def write() -> list[ReturnOrder]:
            found = await self._standings(orders, await hand_back(self._database, orders))
            return [order for order in orders if found.get(order.id) is Standing.LOCKED]

        for order in await self._insist(write):
            self._do_apart(self._hand_back_alone(order))

    async def _hand_back_alone(self, order: ReturnOrder) -> None:
        await asyncio.sleep(_LAST_RETRY * random.uniform(0.5, 1.0))
        await self._hand_back([order])

    async def _standings(self, orders: Sequence[ReturnOrder], done: Collection[int]) -> dict[int, Standing]:
        """Why the others were not done."""
        missing = [order for order in orders if order.id not in done]
        return await standings(self._database, missing) if missing else {}

    def _do_apart(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)

    async def _insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Try until the database takes it: where a result is lost, the carrier is asked, or told, once more."""
        tries = 0
        try:
            while True:
                wait = grown(_FIRST_RETRY, 2.0, tries, _LAST_RETRY)
                try:
                    written = await write()
                except DatabaseUnavailable as error:
                    self._on_error()
                    say_away(self._database, "record", error, retry_in=wait)
                else:
                    say_back(self._database, "record")
                    return written
                self.behind += tries == 0
                tries += 1
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        finally:
            self.behind -= tries > 0


async def record_one(database: Database, before: ReturnOrder, decision: Decision) -> set[int]:
    """Write one decision, in part where the database does not take it whole; the id if it was written.

    A number that a carrier gave must not be lost because of a text beside it. So what the database refuses, other than
    because it is away, is written once more without all that is optional. Raises what `record` raises.
    """
    try:
        return await record(database, [(before, decision)])
    except (CarrierRefTaken, DatabaseUnavailable):
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        log.warning("record_refused", order_id=before.id, reference=before.reference, error=why, doing="in part")
    return await record(database, [(before, in_part(before, decision, why))])


def _claim_of(order: ReturnOrder) -> tuple[int, int]:
    return order.id, order.lease_token
