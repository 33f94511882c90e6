"""Asks a carrier about one return because a person wants to know now: out of turn, and within the account's pace."""

import asyncio
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from worker.carriers.port import Carrier, NoTimeLeft
from worker.domain.by_hand import Person, Refusal, asked_about, may_be_asked_about
from worker.domain.decision import Decision
from worker.domain.outcomes import Outcome
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.engine.meter import Allowance, Meter
from worker.engine.perform import track
from worker.engine.recorder import record_one
from worker.from_settings import fingerprint_of, policy_of
from worker.runtime.clock import lease_clock
from worker.settings import Settings
from worker.store.claimed import Claimed
from worker.store.claims import hand_back
from worker.store.database import Database
from worker.store.holds import hold_account
from worker.store.upkeep.choice import look_at, take
from worker.usecases.carrier import opened_carrier
from worker.usecases.find import find_return
from worker.usecases.not_done import NotConfigured

_PATIENCE = 30.0  # seconds to wait for a request out of the pace, and for a worker to let the return go
_PAUSE = 0.5
_MARGIN = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question: the carrier's `answer` and what followed, or why it was not asked."""

    order: ReturnOrder
    outcome: Decision | Refusal
    answer: Outcome | None = None


async def poll_now(
    settings: Settings, database: Database, reference: str, account: str | None, person: Person, owner: str
) -> Asked:
    """Ask the carrier where a return is; `owner` holds it meanwhile. Raises `NotDone` where nothing may be asked."""
    order = await find_return(database, reference, account)
    if order.account not in settings.accounts:
        raise NotConfigured(f"account {order.account} is not configured here")
    async with opened_carrier(settings, database, order.account) as opened:
        asker = Asker(
            database=database,
            carrier=opened.carrier,
            meter=opened.meter,
            policy=replace(policy_of(settings, order.account), judges_ages=opened.judges_ages),
            timeout=settings.accounts[order.account].timeout.total_seconds(),
            key=lambda: fingerprint_of(opened.key()),
            owner=owner,
            clock=lease_clock,
            chance=random.random,
            near=opened.near,
        )
        return await asker.ask(order.id, person)


@dataclass(frozen=True, slots=True)
class Asker:
    """What a question is asked with; `timeout` is in seconds, `key` the fingerprint of the one that is sent.

    `near` are the accounts at the same address, the return's own among them.
    """

    database: Database
    carrier: Carrier
    meter: Meter
    policy: Policy
    timeout: float
    key: Callable[[], str]
    owner: str
    clock: Callable[[], float]
    chance: Callable[[], float]
    near: Collection[str]

    async def ask(self, order_id: int, person: Person) -> Asked:
        """Ask, decide and record as a worker does; or say why not."""
        (seen,) = await look_at(self.database, [order_id])
        refusal = may_be_asked_about(seen.order)
        if refusal is not None:
            return Asked(seen.order, refusal)
        allowance = Allowance(begin_until=self.clock() + _PATIENCE)
        try:
            await self.meter.reserve(allowance)  # before the return is taken: a worker may need it meanwhile
        except NoTimeLeft:
            return Asked(seen.order, Refusal("the account's pace has no room for it at the moment: try again"))
        claimed = await self._take(order_id)
        if claimed is None:
            return Asked(seen.order, Refusal("a worker holds it at the moment: try again"))
        refusal = may_be_asked_about(claimed.order)
        if refusal is None:
            return await self._ask(claimed, allowance, person)
        await hand_back(self.database, [claimed.order], counted=False)
        return Asked(claimed.order, refusal)

    async def _take(self, order_id: int) -> Claimed | None:
        for _ in range(round(_PATIENCE / _PAUSE)):
            lease = timedelta(seconds=self.timeout) + _MARGIN
            taken = await take(self.database, [order_id], self.owner, lease)
            if taken:
                return taken[0]
            await asyncio.sleep(_PAUSE)
        return None

    async def _ask(self, claimed: Claimed, allowance: Allowance, person: Person) -> Asked:
        order, asked_at, key = claimed.order, self.clock(), self.key()
        allowance.begin_until = asked_at + _MARGIN.total_seconds() / 2
        outcome: Outcome
        try:
            with self.meter.spending(allowance):
                outcome = await track(order, self.carrier, self.database, self.near)
        except NoTimeLeft:
            await hand_back(self.database, [order], counted=False)
            return Asked(order, Refusal("the account's pace has no room for it at the moment: try again"))
        except asyncio.CancelledError:  # whoever asks has gone: the return must not wait for the end of the lease
            await hand_back(self.database, [order], counted=False)
            raise
        now = claimed.claimed_at + timedelta(seconds=self.clock() - asked_at)
        decision = asked_about(order, outcome, person, now, self.policy, self.chance())
        if decision.hold is not None:
            await hold_account(
                self.database, order.account, decision.hold, key if decision.hold.until is None else None
            )
        if order.id in await record_one(self.database, order, decision):
            return Asked(order, decision, outcome)
        return Asked(order, Refusal("somebody else has it meanwhile: see what he records"))
