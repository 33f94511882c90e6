"""Follows many returns of an account by the carrier's list: one request for a page of them instead of one for each."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from worker.carriers.port import CarrierError, Listing, NoTimeLeft, Page
from worker.domain.decide import decide
from worker.domain.lifecycle import Step
from worker.domain.outcomes import Failed, Outcome
from worker.domain.returns import ReturnOrder
from worker.domain.verdicts import TURNED_AWAY, hold_after
from worker.steps.accounts import Account
from worker.steps.clock import ClockWatch
from worker.steps.meter import Allowance
from worker.steps.recorder import Recorder
from worker.store.accounts import Agenda, database_now
from worker.store.claimed import Claimed
from worker.store.claims import claim_seen
from worker.store.database import Database, DatabaseUnavailable
from worker.telemetry.metrics import Metrics

MANY = 10
"""More due polls than this are worth a look at the list."""

_AGAIN_AFTER = 60.0  # seconds; the list's beginning, just seen, brings little sooner
_PATIENCE = 10.0  # seconds it waits for a request that creations leave; then the due ones take their turns one by one
_LEAVE = 2  # requests that are always left for creations

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


class Sweeps:
    """The sweeps of this process, one at a time for each account.

    Nothing is held while the carrier is asked: the rows of a page are taken when it is there, and recorded before the
    next one. A page that brings one due return or none ends a sweep; the rest is asked for one by one. What no page
    shows is left as it is, for pages shift while they are read.
    """

    def __init__(self, tools: Tools) -> None:
        """No sweep is under way."""
        self._tools = tools
        self._not_before: dict[str, float] = {}

    def wanted(self, account: Account, agenda: Agenda) -> bool:
        """Whether so many polls are due that the list is worth asking for."""
        return (
            agenda.due.get(Step.TRACK, 0) > MANY
            and isinstance(account.carrier, Listing)
            and not account.sweeping
            and self._tools.clock() >= self._not_before.get(account.name, 0.0)
        )

    async def sweep(self, account: Account, stopping: Callable[[], bool]) -> None:
        """Read the list from its beginning, as far as that pays; ends early when `stopping`."""
        carrier, tools, number, seen = account.carrier, self._tools, 0, 0
        assert isinstance(carrier, Listing)
        try:
            while not (stopping() or account.paused):
                number += 1
                asked_at = await database_now(tools.database)
                page = await self._ask(account, carrier, number)
                if page is None:
                    break
                taken = await self._take(account, page, asked_at)
                for claimed in taken:
                    self._record(account, carrier, claimed, page)
                await tools.recorder.flush()
                due = sum(claimed.was_due for claimed in taken)
                seen += len(taken)
                if page.is_last or due <= 1:
                    break
        except (NoTimeLeft, DatabaseUnavailable) as error:
            log.debug("sweep_ended_early", account=account.name, page=number, reason=type(error).__name__)
        finally:
            self._not_before[account.name] = tools.clock() + _AGAIN_AFTER
        log.info("list_swept", account=account.name, pages=number, returns_seen=seen)

    async def _ask(self, account: Account, carrier: Listing, number: int) -> Page | None:
        """A page, or None when the carrier does not give one: then each return finds out by itself what is wrong."""
        tools, key = self._tools, account.key_fingerprint()
        allowance = Allowance(begin_until=tools.clock() + _PATIENCE, leave=_LEAVE)
        await account.meter.reserve(allowance)  # before it takes a place, which a creation might need
        account.in_hand += 1
        try:
            async with account.places:
                with account.meter.spending(allowance), tools.metrics.in_flight.labels(account.name).track_inprogress():
                    return await carrier.page(number)
        except CarrierError as error:
            log.warning("sweep_failed", account=account.name, page=number, kind=error.kind)
            if error.kind in TURNED_AWAY:
                failed = Failed(error.kind, error.message, error.retry_after, error.raw)
                now = await database_now(tools.database)
                await account.wait(hold_after(failed, now, account.policy), key, tools.database, tools.metrics)
            return None
        finally:
            account.in_hand -= 1

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
        return Failed(error.kind, error.message, error.retry_after, error.raw)
