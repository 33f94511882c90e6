"""Asks a carrier about one return because a person wants to know now: out of turn, and within the account's pace."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from worker.carriers.port import NoTimeLeft
from worker.domain.by_hand import Person, Refusal, asked_about, may_be_asked_about
from worker.domain.outcomes import Outcome
from worker.engine.meter import Allowance
from worker.engine.perform import track
from worker.engine.recorder import record_one
from worker.runtime.clock import lease_clock
from worker.settings import Settings
from worker.store.claimed import Claimed
from worker.store.claims import hand_back
from worker.store.database import Database
from worker.store.upkeep.choice import look_at, take
from worker.usecases.carrier import Opened, opened_carrier
from worker.usecases.desk import BUSY, Settled
from worker.usecases.find import find_return

_PATIENCE = 30.0  # seconds
_PAUSE = 0.5
_MARGIN = timedelta(seconds=30)
NO_ROOM = Refusal("the account's pace has no room for it at the moment: try again")


@dataclass(frozen=True, slots=True)
class Asked(Settled):
    """What came of a question: the carrier's `answer` and what followed, or why it was not asked."""

    answer: Outcome | None = None


async def poll_now(
    settings: Settings,
    database: Database,
    reference: str,
    account: str | None,
    person: Person,
    owner: str,
    *,
    patience: float = _PATIENCE,
    longest_answer: float | None = None,
) -> Asked:
    """Ask the carrier where a return is, as such an `Asker`; it is leased to `owner`. Raises `NotDone`."""
    order = await find_return(database, reference, account)
    async with opened_carrier(settings, database, order.account) as opened:
        return await Asker(opened, owner, lease_clock, random.random, patience, longest_answer).ask(order.id, person)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks an opened carrier as a worker does; `owner` signs the lease, `clock` counts seconds.

    `patience`: seconds to wait for a request out of the pace, and then for a worker to let the return go.
    `longest_answer`: seconds that the carrier has, beside its account's `timeout`; then `TimeoutError`.
    """

    opened: Opened
    owner: str
    clock: Callable[[], float]
    chance: Callable[[], float]
    patience: float = _PATIENCE
    longest_answer: float | None = None

    async def ask(self, order_id: int, person: Person) -> Asked:
        """Ask, decide and record as a worker does; or say why not."""
        database = self.opened.database
        (seen,) = await look_at(database, [order_id])
        refusal = may_be_asked_about(seen.order)
        if refusal is not None:
            return Asked(seen.order, refusal)
        allowance = Allowance(begin_until=self.clock() + self.patience)
        try:
            await self.opened.meter.reserve(allowance)  # before the return is taken: a worker may need it meanwhile
        except NoTimeLeft:
            return Asked(seen.order, NO_ROOM)
        claimed = await self._take(order_id)
        if claimed is None:
            return Asked(seen.order, BUSY)
        refusal = may_be_asked_about(claimed.order)
        if refusal is None:
            return await self._ask(claimed, allowance, person)
        await hand_back(database, [claimed.order], counted=False)
        return Asked(claimed.order, refusal)

    async def _take(self, order_id: int) -> Claimed | None:
        lease = timedelta(seconds=self.opened.timeout) + _MARGIN
        for _ in range(round(self.patience / _PAUSE)):
            taken = await take(self.opened.database, [order_id], self.owner, lease)
            if taken:
                return taken[0]
            await asyncio.sleep(_PAUSE)
        return None

    async def _ask(self, claimed: Claimed, allowance: Allowance, person: Person) -> Asked:
        opened, database, order = self.opened, self.opened.database, claimed.order
        asked_at = self.clock()
        allowance.begin_until = asked_at + _MARGIN.total_seconds() / 2
        try:
            key = opened.key()
            with opened.meter.spending(allowance):
                async with asyncio.timeout(self.longest_answer):  # of the question alone: a record is never cut
                    outcome = await track(order, opened.carrier, database, opened.near)
        except NoTimeLeft:
            await hand_back(database, [order], counted=False)
            return Asked(order, NO_ROOM)
        except BaseException:  # the person has gone, or there is no key: the return must not wait for the lease's end
            await hand_back(database, [order], counted=False)
            raise
        now = claimed.claimed_at + timedelta(seconds=self.clock() - asked_at)
        decision = asked_about(order, outcome, person, now, opened.policy, self.chance())
        if decision.hold is not None:
            await opened.hold(decision.hold, key)
        if order.id in await record_one(database, order, decision):
            return Asked(order, decision, outcome)
        return Asked(order, Refusal("another has it by now: see what is recorded"))
