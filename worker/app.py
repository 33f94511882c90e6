"""The composition root: settings in, a running worker out."""

import asyncio
import os
import random
import socket
import uuid
from contextlib import suppress
from functools import partial

import structlog

import worker
from worker.carriers.registry import CARRIERS
from worker.domain.decision import Decision
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.engine.clock_watch import ClockWatch
from worker.engine.gauges import Gauges
from worker.engine.housekeeping import Housekeeping
from worker.engine.loop import Engine
from worker.engine.meter import Meter
from worker.engine.news import News
from worker.engine.outage import notice_restore, say_listening_failed
from worker.engine.presence import Presence
from worker.engine.readiness import read_readiness
from worker.engine.recorder import Recorder
from worker.engine.report import Report, expect_series, observer_of
from worker.engine.retention import Ages, Retention
from worker.engine.running import Timing, Tools
from worker.engine.starting import take_over, wait_for_database, warn_of_risks
from worker.engine.subscribers import Subscribers
from worker.from_settings import (
    Kinship,
    address_of,
    fingerprint_of,
    meeting_of,
    open_account,
    open_webhook,
    pace_of,
    policy_of,
    subscribers_of,
    webhooks_of,
)
from worker.labels import LabelStoreAway, LabelStoreError, open_label_store
from worker.renewed import renewed_key, renewed_secrets, renewed_url
from worker.runtime.clock import lease_clock
from worker.runtime.scheduler import Ticks
from worker.runtime.systemd import Pulse, ServiceManager
from worker.settings import ConfigurationError, KeyUnavailableError, Settings, key_source, secret_source
from worker.store.accounts import register_accounts
from worker.store.database import Database
from worker.store.database_clock import require_same_time
from worker.store.fitness import require_utf8
from worker.store.hints import watch
from worker.store.holds import begin_with_one
from worker.store.migrating import Waiting
from worker.store.restores import require_not_moved
from worker.store.schema import SchemaState, migrate, require_current, schema_state
from worker.telemetry.http import TelemetryServer
from worker.telemetry.logs import Redactor
from worker.telemetry.metrics import Metrics
from worker.web import open_pages

_TIDY_EVERY = 60.0  # seconds
_CONNECTIONS = 5  # to the database, the one on which it listens among them
_CLOSING = 2.0  # seconds beyond the grace time that closing connections may take
_ENDED = 8.0  # seconds beyond the grace time after which the process has ended, if need be by its last resort
_WAITING = "waiting for the database"
_SLOW_STATEMENTS = 3  # at most between two signs of the loop's progress; the first one that fails ends the turn

log = structlog.get_logger()


class Application:
    """A worker made from settings: `start` it, let it `run`, `stop` it."""

    def __init__(self, settings: Settings, redactor: Redactor, manager: ServiceManager | None = None) -> None:
        """Make every part, open nothing; raises `ConfigurationError`. The `manager` is told what goes on."""
        self.settings = settings
        self.metrics = Metrics(worker.__version__)
        self._current_url = renewed_url(settings.database, redactor, self.metrics.database_url_unreadable.set)
        self.database = Database(
            settings.database.url,
            current=self._current_url,
            # Five connections in all: a role may not be allowed more.
            pool_size=_CONNECTIONS - (1 if settings.database.listens else 0),
            pooler=settings.database.pooler,
            schema=settings.database.schema,
        )
        self._labels = open_label_store(settings.labels.store)
        self._keys = {name: key_source(settings, name) for name in settings.accounts}
        self._kinship = Kinship(settings, self._keys, lease_clock)
        self._accounts: dict[str, Account] = {}
        self._timewatch = ClockWatch(lease_clock, self._accounts)
        self._accounts |= {name: self._account(name, redactor) for name in settings.accounts}
        expect_series(
            self.metrics, {name: CARRIERS[each.carrier].operations for name, each in settings.accounts.items()}
        )
        self._report = report = Report(self.metrics)
        self._recorder = Recorder(self.database, self._recorded, report.lost, report.storage_failed)
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._presence = Presence(self.database, owner, self._accounts, settings.news)
        tools = Tools(
            database=self.database,
            accounts=self._accounts,
            labels=self._labels,
            recorder=self._recorder,
            metrics=self.metrics,
            owner=owner,
            timing=Timing(settings.worker.lease.total_seconds(), settings.worker.tick.total_seconds()),
            clock=lease_clock,
            watch=self._timewatch,
            chance=random.random,
        )
        self.engine = Engine(tools)
        self._running = self.engine.running
        self._subscribers = Subscribers(tools, subscribers_of(settings))
        webhooks = webhooks_of(settings)
        secrets = {name: renewed_secrets(secret_source(settings, name), redactor) for name in webhooks}
        self._news = News(tools, [open_webhook(settings, name, secrets[name]) for name in webhooks])
        self._gauges = Gauges(tools, self._key_problems, webhooks)
        self._housekeeping = Housekeeping(tools, self._key_problems)
        ages = Ages(settings.retention.erase_after, settings.retention.labels_after)
        self._retention = Retention(self.database, self._labels, self.metrics, ages, self._timewatch, lease_clock)
        self._ticks = Ticks()
        self._turn_limit = settings.worker.tick.total_seconds() + _SLOW_STATEMENTS * self.database.patience
        self._pulse = Pulse(
            manager or ServiceManager({}),
            goes_on=lambda: self._seconds_since_turn() <= self._turn_limit,
            status=lambda: self._gauges.status(is_draining=self._running.is_draining),
        )
        self._pages = open_pages(settings, self.metrics, self._current_url, redactor.add, self.database.check_file)
        self._server = TelemetryServer(
            settings.http.host,
            settings.http.port,
            registry=self.metrics.registry,
            seconds_since_turn=self._seconds_since_turn,
            turn_limit=self._turn_limit,
            readiness=partial(read_readiness, self.database, self._accounts, self._news.checks),
            serve_pages=self._pages.serve_on if self._pages is not None else None,
        )
        self._writing: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    def _recorded(self, before: ReturnOrder, decision: Decision) -> None:
        self._report.recorded(before, decision)
        self._running.wake_if_soon(decision.order.due_at)
        if decision.transitions or decision.labels:
            self._news.wake()

    @property
    def address(self) -> tuple[str, int]:
        """Where /metrics is served."""
        return self._server.address

    async def start(self) -> None:
        """Wait for the database, bring its schema up to date or check it, and begin to listen.

        Raises `DatabaseUnavailable`, `DatabaseUnusable`, `ClockDiffers`, `AlreadyRunning`, `SchemaMismatch`,
        `DatabaseMoved`, `KindChanged`, `ConfigurationError`, `LabelStoreAway` and `ListenError`.
        """
        self._pulse.start(_WAITING)
        await wait_for_database(self.database, self._prepare_database, self.settings.database.wait, lease_clock)
        self._pulse.starting("looking at the label store")
        await self._check_labels()  # it makes a folder, and a volume that is mounted late may hold the database, too
        self._running.turned_at = lease_clock()  # waiting for the database was no hang
        await self._server.start()
        host, port = self._server.address
        log.info(
            "listening",
            address=f"http://{host}:{port}",
            paths="/metrics /livez /readyz" + (" /" if self._pages else ""),
        )
        self._writing = asyncio.create_task(self._recorder.run())
        if self.settings.database.can_wake:
            self._listening = asyncio.create_task(self._watch())
        tick, gauges = (each.total_seconds() for each in (self.settings.worker.tick, self.settings.worker.gauges))
        self._ticks.every(tick, "advance", self._running.wake)
        self._ticks.every(gauges, "gauges", self._gauges.refresh)
        self._ticks.every(gauges, "database_url", self._current_url)  # a file that turned bad is noticed before its use
        self._ticks.every(_TIDY_EVERY, "housekeeping", self._housekeeping.tidy)
        self._ticks.every(self._presence.renewed_every, "presence", self._presence.renew)
        self._ticks.every(_TIDY_EVERY, "retention", self._retention.keep)
        self._ticks.every(_TIDY_EVERY, "subscribers", self._subscribers.tidy)
        self._ticks.start()
        self._news.start()
        for name, account in self._accounts.items():
            for warning in account.carrier.warnings:
                log.warning("account_warning", account=name, warning=warning)
        for warning in self._kinship.warnings():
            log.warning("accounts_share_key", warning=warning)
        log.info(
            "ready", version=worker.__version__, database=self.settings.database.kind, accounts=list(self._accounts)
        )
        self._pulse.ready()

    async def run(self, stop: asyncio.Event, *, until_idle: bool = False) -> None:
        """Work until `stop` is set, or until nothing is left to do now."""
        assert self._writing is not None
        self._working = asyncio.create_task(self._work(until_idle=until_idle))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((self._working, stopping, self._writing), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self._running.begin_to_drain()
        self._news.begin_to_drain()
        for task in (self._working, self._writing):
            if task.done():
                await task  # a defect ended it; without it nothing would be done, or recorded, any more

    async def _work(self, *, until_idle: bool) -> None:
        await self.engine.run(until_idle=until_idle)
        if until_idle:
            await self._news.settle()

    async def stop(self) -> None:
        """Finish or hand back what is leased, then close everything: one budget, the grace time, for all of it."""
        grace = self.settings.worker.grace.total_seconds()
        over_at = asyncio.get_running_loop().time() + grace
        self._pulse.stopping(within=grace + _ENDED)
        try:
            async with asyncio.timeout_at(over_at):
                if self._working is not None:
                    await asyncio.wait({self._working})  # `run` has raised what there was to raise
                await self.engine.drain()
                await self._news.drain()
                if self._pages is not None:
                    await self._pages.turns.drain()
        except TimeoutError:
            self._say_unfinished()
        try:
            async with asyncio.timeout_at(over_at + _CLOSING):
                await self._close()
        except TimeoutError:
            log.warning("connections_left_open", hint="something at their other end does not answer")
        await self._pulse.end()
        log.info("stopped")

    async def _close(self) -> None:
        await _end(self._listening)
        await self._news.close()
        if self._writing is not None:
            await self._ticks.stop()
        await _end(self._writing)
        await self._server.stop()
        if self._pages is not None:
            await self._pages.close()
        for account in self._accounts.values():
            await account.carrier.close()
        await self._presence.end()
        await self.database.close()

    async def _watch(self) -> None:
        """Be woken by what others commit; when that goes wrong, the tick goes on."""
        try:
            await watch(self.database, self._running.wake, lambda: self.engine.claimed, say_listening_failed)
        except Exception:
            log.exception("listening_crashed", hint="new returns are found by the tick")

    def _say_unfinished(self) -> None:
        """Say every result that could not be written, since it is nowhere else."""
        log.warning("grace_time_over", hint="what is still held becomes claimable when its lease runs out")
        for before, decision in self._recorder.unrecorded:
            self._report.unrecorded(before, decision)

    async def refresh_gauges(self) -> None:
        """Read the gauges now, for a look at the metrics right after a run."""
        await self._gauges.refresh()

    def _account(self, name: str, redactor: Redactor) -> Account:
        settings, key = self.settings.accounts[name], self._keys[name]
        current = renewed_key(key, redactor)
        pace, shared = pace_of(self.settings, name), partial(self._kinship.shared, name)
        meter = Meter(self.database, name, pace, lease_clock, shared)
        carrier = open_account(
            self.settings, name, current, observer_of(self.metrics, name), meter, self._timewatch.now
        )
        return Account(
            name=name,
            carrier=carrier,
            policy=policy_of(self.settings, name, meeting_of(name, key)),
            timeout=settings.timeout.total_seconds(),
            max_in_flight=settings.max_in_flight,
            meter=meter,
            database=self.database,
            metrics=self.metrics,
            lease=self.settings.worker.lease,
            address=address_of(self.settings, name),
            key_fingerprint=lambda: fingerprint_of(current()),
            is_number=CARRIERS[settings.carrier].is_number,
            beside=partial(self._kinship.kin, name),
        )

    def _seconds_since_turn(self) -> float:
        return lease_clock() - self._running.turned_at

    async def _prepare_database(self) -> None:
        """All that the start asks of the database; all of it may be done more than once."""
        self._pulse.starting(_WAITING)
        self.database.hold_file()
        await self.database.reading(require_utf8)
        state = await schema_state(self.database)
        if state is not SchemaState.CURRENT and self.settings.database.migrates_itself:
            self._pulse.starting("bringing the database's schema up to date")
            wait = self.settings.database.wait.total_seconds()
            before, after = await migrate(self.database, Waiting(wait, self._say_locked))
            if before != after:  # else another worker was faster
                log.info("schema_migrated", before=before, after=after)
        await require_current(self.database)
        await require_not_moved(self.database)
        await require_same_time(self.database)
        await notice_restore(self.database)
        await take_over(self.database, self._timewatch)
        await register_accounts(self.database, list(self._accounts))
        await begin_with_one(self.database, list(self._accounts))
        await self._subscribers.register()
        await self._presence.begin()
        await self._subscribers.read()
        await self._gauges.read()  # else what is first scraped would say 0, and end alerts that last
        await self._retention.read_gauge()
        await warn_of_risks(self.database)

    def _say_locked(self, holder: str, pause: float) -> None:
        self._pulse.starting(f"waiting for {holder}, which holds a lock that a change of the schema needs")
        log.warning("schema_locked", by=holder, retry_in=round(pause, 1))

    async def _check_labels(self) -> None:
        try:
            await self._labels.check()
        except LabelStoreAway:
            raise  # it may be back at the next start
        except LabelStoreError as error:
            raise ConfigurationError([f"labels.store: {error}"]) from error

    def _key_problems(self) -> dict[str, str]:
        for key in self._keys.values():
            with suppress(KeyUnavailableError):  # its problem says so
                key.current()
        return {name: key.problem for name, key in self._keys.items() if key.problem}


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
