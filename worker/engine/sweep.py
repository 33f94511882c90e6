"""Follows many returns of an account by the carrier's list: one request for a page of them instead of one for each."""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from worker.carriers.hindsight import hindsight, no_sense
from worker.carriers.port import CarrierError, Listing, NoTimeLeft, Page
from worker.domain.cadence import grown
from worker.domain.decide import decide
from worker.domain.lifecycle import Step
from worker.domain.listing import Places, Walk
from worker.domain.outcomes import Outcome
from worker.domain.retrying import TURNED_AWAY, hold_after
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.engine.clock_watch import ClockWatch
from worker.engine.meter import Allowance
from worker.engine.recorder import Recorder
from worker.store.accounts import database_now
from worker.store.claimed import Claimed
from worker.store.claims import claim_seen, due_refs
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.telemetry.metrics import Metrics

T = TypeVar("T")

MANY = 4
"""More due polls than this are worth a thought about the list."""

_MOST_DUE = 5000  # returns that are looked for in one sweep; pages show more, and the rest is for the next one
_PATIENCE = 10.0  # seconds it waits for a request that creations leave; then the due ones take their turns one by one
_LEAVE = 2  # requests that are always left for creations
_AGAIN_AFTER = 5.0  # seconds; what has become due since may be worth another one
_TROUBLED = 60.0  # seconds after a page that did not come
_LONGEST = 600.0  # seconds after many sweeps in a row that cost more than they saved
_ASIDE, _GLANCE = 30.0, 0.1  # seconds that another worker's sweep is left alone; between looks whether to go on waiting

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Tools:
    """What a sweep works with; `lease` is in seconds, `clock` counts them and goes on while the machine sleeps.

    `watch` is told what time it is by the database.
    """

    database: Database
    recorder: Recorder
    metrics: Metrics
    owner: str
    lease: float
    clock: Callable[[], float]
    watch: ClockWatch
    chance: Callable[[], float]


@dataclass(slots=True)
class _Known:
    """What this process knows of an account's list: who stands where, whom it does not show, when to look again.

    `unseen` has with each since when its poll was due that found it missing: the next poll looks for it again, for what
    a list does not show once it may show later. `in_vain`: sweeps in a row that cost more requests than they saved.
    """

    places: Places = field(default_factory=Places)
    unseen: dict[int, datetime | None] = field(default_factory=dict)
    not_before: float = 0.0
    in_vain: int = 0


class _GivesWay(Exception):
    """Creations need the requests, or the process is to end; it says nothing of whether the walk pays."""


class Sweeps:
    """The sweeps of this process, one at a time for each account.

    Nothing is held while the carrier is asked: the rows of a page are taken when it is there, and recorded before the
    next one. Which pages are read, and when single questions are cheaper, is the walk's to say. What no page shows is
    left as it is, for pages shift while they are read: it is asked for alone, and not looked for again while it is due.
    """

    def __init__(self, tools: Tools, accounts: Mapping[str, Account]) -> None:
        """No sweep is under way; `accounts` are all of them by name."""
        self._tools, self._accounts = tools, accounts
        self._known: dict[str, _Known] = defaultdict(_Known)

    def wanted(self, account: Account, polls: int) -> bool:
        """Whether so many polls are due that the list is worth a thought, and no creation waits for a request."""
        return (
            polls > MANY
            and isinstance(account.carrier, Listing)
            and not account.sweeping
            and not self._is_crowded(account)
            and self._tools.clock() >= self._known[account.name].not_before
        )

    async def sweep(self, account: Account, stopping: Callable[[], bool]) -> None:
        """Read the pages that are worth it; ends early when `stopping`."""
        with hindsight():  # a page is counted when its orders have been read
            await self._sweep(account, stopping)

    async def _sweep(self, account: Account, stopping: Callable[[], bool]) -> None:
        carrier, known, pause = account.carrier, self._known[account.name], _TROUBLED
        assert isinstance(carrier, Listing)
        walk, due = Walk((), known.places), dict[int, datetime | None]()
        try:
            due = _by_place(carrier, await due_refs(self._tools.database, account.name, _MOST_DUE))
            known.unseen = {place: since for place, since in known.unseen.items() if due.get(place) == since}
            wanted = due.keys() - known.unseen.keys()
            walk = Walk(wanted if len(wanted) > MANY else (), known.places)
            if await self._follow(walk, account, carrier, stopping):
                known.in_vain = 0 if walk.pays else known.in_vain + 1
                pause = grown(_AGAIN_AFTER, 2.0, known.in_vain, _LONGEST)
        except _GivesWay:
            pause = _AGAIN_AFTER
        except (NoTimeLeft, DatabaseUnavailable) as error:
            log.debug("sweep_ended_early", account=account.name, reason=type(error).__name__)
        finally:
            known.not_before = self._tools.clock() + pause
            known.unseen |= {place: due[place] for place in walk.unseen}
        if walk.pages:
            log.info("list_swept", account=account.name, pages=walk.pages, due_seen=walk.found)

    async def _follow(self, walk: Walk, account: Account, carrier: Listing, stopping: Callable[[], bool]) -> bool:
        """Read page after page, until the walk has enough of it; False: one did not come."""
        tools = self._tools
        while not (stopping() or account.is_paused) and (number := walk.next_page()) is not None:
            asked_at = await database_now(tools.database)
            page = await self._ask(account, carrier, number, await self._reserve(account, stopping))
            if page is None:
                return False
            taken = await self._take(account, page, asked_at)
            for claimed in taken:
                self._record(account, carrier, claimed, page)
            await tools.recorder.flush()
            numbers, found = _by_place(carrier, page.sightings), sum(map(_is_due, taken))
            if walk.saw(number, numbers, is_last=page.is_last, found=found) > 1 and not found:
                await _interrupted(_ASIDE, stopping)  # another worker is at it, and has just asked for this page
                break
        return True

    async def _reserve(self, account: Account, stopping: Callable[[], bool]) -> Allowance:
        """A request for the next page, before it takes a place, which a creation might need; raises `_GivesWay`.

        Creations take each request as it comes: while they wait for one, waiting beside them is in vain.
        """
        allowance = Allowance(begin_until=self._tools.clock() + _PATIENCE, leave=_LEAVE)
        while wait := await account.meter.try_to_reserve(allowance):
            if await _interrupted(wait, lambda: stopping() or self._is_crowded(account)):
                raise _GivesWay
        return allowance

    def _is_crowded(self, account: Account) -> bool:
        """Whether creations wait for a request, of any account that draws from the same ones and is not held."""
        beside = (self._accounts[name] for name in account.kin.same_key)
        return any(each.creations_wait and not each.is_paused for each in beside)

    async def _ask(self, account: Account, carrier: Listing, number: int, allowance: Allowance) -> Page | None:
        """A page, or None when the carrier does not give one: then each return finds out by itself what is wrong."""
        tools, key = self._tools, account.key_fingerprint()
        account.begin()
        try:
            async with account.places:
                with account.meter.spending(allowance), tools.metrics.in_flight.labels(account.name).track_inprogress():
                    return await carrier.page(number)
        except CarrierError as error:
            log.warning("sweep_failed", account=account.name, page=number, kind=error.kind)
            if error.kind in TURNED_AWAY:
                now = await database_now(tools.database)
                await account.hold(hold_after(error.failed, now, account.policy), key)
            return None
        finally:
            account.end()

    async def _take(self, account: Account, page: Page, asked_at: datetime) -> list[Claimed]:
        if not page.sightings:
            return []
        tools = self._tools
        lease = timedelta(seconds=tools.lease)
        return await claim_seen(tools.database, account.name, list(page.sightings), asked_at, tools.owner, lease)

    def _record(self, account: Account, carrier: Listing, claimed: Claimed, page: Page) -> None:
        order, tools = claimed.order, self._tools
        tools.watch.note(claimed.claimed_at, tools.clock())
        try:
            outcome = _read(carrier, order, page)
            decision = decide(order, outcome, claimed.claimed_at, account.policy, tools.chance())
        except Exception:
            # A defect of ours, about one return: its lease runs out, and alone it can do no harm to the others.
            log.exception("step_crashed", order_id=order.id)
            return
        if claimed.was_due:
            tools.metrics.schedule_delay.labels(Step.TRACK).observe(claimed.delay)
        tools.recorder.later(order, decision)


def _read(carrier: Listing, order: ReturnOrder, page: Page) -> Outcome:
    try:
        return carrier.read(order, page.sightings[order.carrier_ref or ""])
    except CarrierError as error:
        no_sense()
        return error.failed


async def _interrupted(seconds: float, by: Callable[[], bool]) -> bool:
    """Let so much time pass, unless something interrupts; whether it did."""
    for _ in range(math.ceil(seconds / _GLANCE)):
        if by():
            return True
        await asyncio.sleep(min(_GLANCE, seconds))
    return by()


def _by_place(carrier: Listing, by_ref: Mapping[str, T]) -> dict[int, T]:
    return {place: each for ref, each in by_ref.items() if (place := carrier.place(ref)) is not None}


def _is_due(claimed: Claimed) -> bool:
    """Whether its poll was: what is due may be its label."""
    due_at = claimed.order.track_due_at or claimed.due_at
    return due_at is not None and due_at <= claimed.claimed_at
