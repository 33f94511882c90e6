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
from worker.domain.outcomes import TURNED_AWAY
from worker.domain.retrying import hold_after
from worker.engine.account import Account
from worker.engine.meter import Allowance
from worker.engine.running import Running, Tools
from worker.store.accounts import database_now
from worker.store.claimed import Claimed
from worker.store.claims import claim_seen, due_refs
from worker.store.failures import DatabaseUnavailable

T = TypeVar("T")

MANY = 4
"""More due polls than this are worth a thought about the list."""

_MOST_DUE = 5000  # returns that are looked for in one sweep; pages show more, and the rest is for the next one
_PATIENCE = 10.0  # seconds it waits for a request that creations leave; then the due ones take their turns one by one
_LEAVE = 2  # requests that are always left for creations
_AGAIN_AFTER = 5.0  # seconds; what has become due since may be worth another one
_TROUBLED = 60.0  # seconds after a page that did not come
_LONGEST = 600.0  # seconds after many sweeps in a row that cost more than they saved
_ASIDE = 30.0  # seconds that another worker's sweep is left alone
_GLANCE = 0.1  # seconds between two looks whether to wait on

log = structlog.get_logger()


@dataclass(slots=True)
class _Known:
    """What this process knows of an account's list."""

    places: Places = field(default_factory=Places)  # who stands where
    # Due returns that it did not show, and since when the poll was due that found them missing. The next poll looks for
    # them again, since what a list does not show yet it may show later.
    unseen: dict[int, datetime | None] = field(default_factory=dict)
    not_before: float = 0.0  # on the lease clock: when to think of the list again
    in_vain: int = 0  # sweeps in a row that cost more requests than they saved


class _GivesWay(Exception):
    """Creations need the requests, or the process is to end: whether the walk pays is not known then."""


class Sweeps:
    """The sweeps of this process, one at a time for each account.

    Nothing is held while the carrier is asked: the rows of a page are taken when it is there, and recorded before the
    next one. The walk says which pages are read, and when single questions are cheaper. What no page shows is left as
    it is, since pages shift while they are read: it is asked for alone, and not looked for again while it is due.
    """

    def __init__(self, tools: Tools, running: Running) -> None:
        self._tools, self._running = tools, running
        self._lease = timedelta(seconds=tools.timing.lease)
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

    def begin(self, account: Account) -> None:
        """Have the carrier's list answer the account's due polls, beside everything else."""
        account.sweeping, running = True, self._running
        running.start(self.sweep(account, lambda: running.is_draining or running.has_suspect))

    async def sweep(self, account: Account, stopping: Callable[[], bool]) -> None:
        """Read the pages that are worth it; ends early when `stopping`."""
        carrier, known, pause = account.carrier, self._known[account.name], _TROUBLED
        assert isinstance(carrier, Listing)
        walk, due = Walk((), known.places), dict[int, datetime | None]()
        try:
            due = _by_place(carrier, await due_refs(self._tools.database, account.name, _MOST_DUE))
            known.unseen = {place: since for place, since in known.unseen.items() if due.get(place) == since}
            wanted = due.keys() - known.unseen.keys()
            walk = Walk(wanted if len(wanted) > MANY else (), known.places)
            with hindsight():  # a page is counted when its orders have been read
                came = await self._follow(walk, account, carrier, stopping)
            if came:
                known.in_vain = 0 if walk.pays else known.in_vain + 1
                pause = grown(_AGAIN_AFTER, 2.0, known.in_vain, _LONGEST)
        except _GivesWay:
            pause = _AGAIN_AFTER
        except (NoTimeLeft, DatabaseUnavailable) as error:
            log.debug("sweep_ended_early", account=account.name, reason=type(error).__name__)
        finally:
            known.not_before = self._tools.clock() + pause
            known.unseen |= {place: due[place] for place in walk.unseen}
            account.sweeping = False
            self._running.wake()
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
            refs = list(page.sightings)
            taken = (
                await claim_seen(tools.database, account.name, refs, asked_at, tools.owner, self._lease) if refs else []
            )
            for claimed in taken:
                self._record(account, carrier, claimed, page)
            await tools.recorder.flush()
            numbers, found = _by_place(carrier, page.sightings), sum(map(_is_due, taken))
            if walk.saw(number, numbers, is_last=page.is_last, found=found) > 1 and not found:
                await _interrupted(_ASIDE, stopping)  # another worker is at it, and has just asked for this page
                break
        return True

    async def _reserve(self, account: Account, stopping: Callable[[], bool]) -> Allowance:
        """A request for the next page, got before it takes a place that a creation might need; raises `_GivesWay`.

        Creations take each request as it comes: while they wait for one, waiting beside them is in vain.
        """
        allowance = Allowance(begin_until=self._tools.clock() + _PATIENCE, leave=_LEAVE)
        while wait := await account.meter.try_to_reserve(allowance):
            if await _interrupted(wait, lambda: stopping() or self._is_crowded(account)):
                raise _GivesWay
        return allowance

    def _is_crowded(self, account: Account) -> bool:
        """Whether creations wait for a request, of any account that draws from the same ones and is not held."""
        beside = (self._tools.accounts[name] for name in account.kin.same_key)
        return any(each.creations_wait and not each.is_paused for each in beside)

    async def _ask(self, account: Account, carrier: Listing, number: int, allowance: Allowance) -> Page | None:
        """A page; None: the carrier does not give one, and each return finds out by itself what is wrong."""
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

    def _record(self, account: Account, carrier: Listing, claimed: Claimed, page: Page) -> None:
        order, tools = claimed.order, self._tools
        tools.watch.note(claimed.claimed_at, tools.clock())
        by = claimed.claimed_at, account.policy, tools.chance()
        try:
            try:
                decision = decide(order, carrier.read(order, page.sightings[order.carrier_ref or ""]), *by)
            except CarrierError as error:
                no_sense()
                decision = decide(order, error.failed, *by)
        except Exception:
            # A defect of ours, about one return: its lease runs out, and alone it can do no harm to the others.
            log.exception("step_crashed", order_id=order.id)
            return
        if claimed.was_due:
            tools.metrics.schedule_delay.labels(Step.TRACK).observe(claimed.delay)
        tools.recorder.later(order, decision)


async def _interrupted(seconds: float, by: Callable[[], bool]) -> bool:
    """Let so much time pass, unless something interrupts; whether something did."""
    for _ in range(math.ceil(seconds / _GLANCE)):
        if by():
            return True
        await asyncio.sleep(min(_GLANCE, seconds))
    return by()


def _by_place(carrier: Listing, by_ref: Mapping[str, T]) -> dict[int, T]:
    return {place: each for ref, each in by_ref.items() if (place := carrier.place(ref)) is not None}


def _is_due(claimed: Claimed) -> bool:
    """Whether its poll was due: what is due may be its label alone."""
    due_at = claimed.order.track_due_at or claimed.due_at
    return due_at is not None and due_at <= claimed.claimed_at
