"""What has to be done now and then: gauges from the database, abandoned files, and warnings about what is left over."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import inf

import structlog

from worker.domain.clocks import Clock
from worker.domain.demand import demand_of
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import LIVE_STATES, State
from worker.domain.pacing import shortfall
from worker.domain.tracking import TrackingStatus
from worker.engine.account import Account
from worker.engine.clock_watch import ClockWatch
from worker.engine.outage import say_away, say_back
from worker.labels import LabelStore, LabelStoreError
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.database_clock import clock_offset, differing, keep_clock, read_clock
from worker.store.dialect import SQLITE
from worker.store.durability import risks
from worker.store.failures import DatabaseUnavailable
from worker.store.fitness import hidden_rows
from worker.store.holds import NOTHING, AccountState, describe, read_accounts
from worker.store.leases import end_leases
from worker.store.queries import Backlog, read_backlog, tracked_by_status
from worker.store.restores import backed_up_at, settle_place
from worker.telemetry.metrics import Metrics

_BEHIND = timedelta(minutes=15)  # a batch of inserts is through sooner, at the usual limits
_SAY_AGAIN = timedelta(hours=1)
_MUCH_CAME = "much came at once; if it lasts, raise rate_per_minute if the carrier allows it"
_POLLS_ARE_MANY = (
    "raise rate_per_minute if the carrier allows it, or ask less often: a larger polling.cap;"
    " `returns-worker check` names one that fits, `returns-worker schedule` shows what it costs"
)
_FOR_TEN_THOUSAND, _COUNT_EVERY = 9.0, 90.0  # seconds between two counts; one of 10,000 rows takes SQLite 10 ms
_UNKNOWN_AFTER = timedelta(minutes=2)  # without a look at the database its gauges say nothing any more
_TIDY_REFUSED_EVERY = 3600.0  # seconds; a bucket is listed for it
_KEEP_CLOCK_EVERY = timedelta(minutes=1)
_ABANDONED = timedelta(hours=1)  # longer than any label takes to be written

log = structlog.get_logger()


class Housekeeping:
    """The slow ticks of one worker."""

    def __init__(
        self,
        database: Database,
        labels: LabelStore,
        metrics: Metrics,
        accounts: Mapping[str, Account],
        key_problems: Callable[[], Mapping[str, str]],
        clock: Callable[[], float],
        watch: ClockWatch,
    ) -> None:
        """`accounts` are the configured ones; `key_problems` says of which the key cannot be read any more, and why.

        `clock` counts seconds; what `watch` sees is remembered.
        """
        self._database, self._labels, self._metrics = database, labels, metrics
        self._accounts = accounts
        self._key_problems = key_problems
        self._clock, self._looked_at = clock, clock()
        self._watch = watch
        self._kept_clock: Clock | None = None  # as the database has it from us
        self.due = 0
        """Returns of the configured accounts that were due when the gauges were read last."""
        self.waits: dict[str, str] = {}
        """What each account that waits was waiting for then."""
        self._unroutable: frozenset[str] = frozenset()
        self._waiting: set[str] = set()  # accounts that wait for a person, and were logged
        self._clock_differs = False  # and that was logged
        self._hidden: list[str] = []  # rows of ours, and that was logged
        if database.dialect != SQLITE:
            metrics.last_backup.set(float("nan"))  # its backups are pg_dump's
        self._backlog: list[Backlog] = []
        self._counted_at = self._tidy_refused_at = -inf
        self._behind: dict[str, datetime] = {}  # accounts that run behind, and when that was logged last

    async def refresh_gauges(self) -> None:
        """Set every gauge that is read from the database, unless it is away."""
        try:
            await self.read_gauges()
        except DatabaseUnavailable as error:
            self._metrics.storage_errors.labels("gauges").inc()
            say_away(self._database, "gauges", error)
            if self._clock() - self._looked_at > _UNKNOWN_AFTER.total_seconds():
                self._metrics.forget_what_the_database_said()  # lest it be taken for true, beside other workers' gauges
        else:
            say_back(self._database, "gauges")

    async def read_gauges(self) -> None:
        """The same, but raises `DatabaseUnavailable`; the gauges are the same in every worker."""
        await notice_restore(self._database)
        await self.look_for_hidden_rows()
        await self._keep_clock()
        backlog = await self._read_backlog()
        states = await read_accounts(self._database)
        offset = await clock_offset(self._database)
        backup = await backed_up_at(self._database)
        self._looked_at = self._clock()
        self._note_clock(offset)
        if self._database.dialect == SQLITE:
            self._metrics.last_backup.set(backup.timestamp() if backup is not None else 0)
        self.due = sum(row.due for row in backlog if row.account in self._accounts)
        said = {name: describe(states[name]) for name in self._accounts if name in states}
        self.waits = {name: reason for name, reason in said.items() if reason != NOTHING}
        unreadable = self._key_problems()
        by_name: dict[str, list[Backlog]] = {}
        for row in backlog:
            by_name.setdefault(row.account, []).append(row)
        for name, account in self._accounts.items():
            self._metrics.key_unreadable.labels(name).set(name in unreadable)
            rows, state = by_name.get(name, []), states.get(name)
            self._set_gauges(name, rows)
            if state is not None:
                self._note_state(state, account.address)
                self._note_pace(account, rows, state)
        self._metrics.orders_stranded.set(sum(row.stranded for row in backlog))
        self._note_unroutable([row for row in backlog if row.account not in self._accounts])
        self._metrics.gauges_read.set(time.time() - (self._clock() - self._counted_at))

    async def look_for_hidden_rows(self) -> None:
        """Say so, when it begins and at each start: nothing else tells hidden returns from none."""
        hidden = await hidden_rows(self._database)
        if hidden != self._hidden:
            for problem in hidden:
                log.error("rows_hidden", problem=problem)
            self._hidden = hidden

    async def _read_backlog(self) -> list[Backlog]:
        """What there is to do; where that is very much, as it was up to 90 seconds ago."""
        live = sum(row.count for row in self._backlog)
        if self._clock() - self._counted_at >= min(live // 10_000 * _FOR_TEN_THOUSAND, _COUNT_EVERY):
            longest = max(account.policy.longest_wait for account in self._accounts.values())
            self._backlog, self._counted_at = await read_backlog(self._database, longest), self._clock()
        return self._backlog

    async def _keep_clock(self) -> None:
        """Remember how the clock goes, once a minute and when it comes into doubt, or out of it."""
        clock, kept = self._watch.clock, self._kept_clock
        if clock is None:
            return
        if (
            kept is None
            or kept.doubted_since != clock.doubted_since
            or abs(clock.seen_at - kept.seen_at) >= _KEEP_CLOCK_EVERY
        ):
            await keep_clock(self._database, clock)
            self._kept_clock = clock

    async def tidy(self) -> None:
        """Remove what crashes left in the label store, and repeat what an operator should not miss."""
        for account, problem in self._key_problems().items():
            log.warning("key_unreadable", account=account, problem=problem)
        try:
            removed = await self._labels.tidy(_ABANDONED)
        except LabelStoreError as error:
            self._metrics.storage_errors.labels("labels").inc()
            log.warning("label_store_failed", error=str(error))
            return
        if removed:
            log.info("temporary_files_removed", count=removed)
        await self._tidy_refused_labels()

    async def _tidy_refused_labels(self) -> None:
        if self._clock() < self._tidy_refused_at:
            return
        self._tidy_refused_at = self._clock() + _TIDY_REFUSED_EVERY
        try:
            removed = await self._labels.tidy_aside()
        except LabelStoreError as error:  # no label is harmed by it, so it is none of the errors that wake people
            log.warning("refused_labels_not_tidied", error=str(error))
            return
        if removed:
            log.info("refused_labels_removed", count=removed)

    def _set_gauges(self, account: str, rows: list[Backlog]) -> None:
        for state in LIVE_STATES:
            self._metrics.orders.labels(account, state).set(sum(row.count for row in rows if row.state == state))
        unknown = sum(row.count for row in rows if row.tracking_status == TrackingStatus.UNKNOWN)
        self._metrics.orders_unknown_status.labels(account).set(unknown)
        oldest = [row.oldest_due_at.timestamp() for row in rows if row.oldest_due_at is not None]
        self._metrics.orders_due.labels(account).set(sum(row.due for row in rows))
        self._metrics.oldest_due.labels(account).set(min(oldest, default=0))
        self._metrics.labels_missing.labels(account).set(sum(row.labels_missing for row in rows))
        sought = [row.label_sought_since.timestamp() for row in rows if row.label_sought_since is not None]
        self._metrics.oldest_missing_label.labels(account).set(min(sought, default=0))

    def _note_state(self, state: AccountState, address: str) -> None:
        account, hold = state.name, state.hold
        forever = hold is not None and hold.is_endless
        seconds = 0.0 if hold is None else float("inf") if forever else hold.until.timestamp()
        self._metrics.account_held_until.labels(account).set(seconds)
        refused = forever and hold is not None and hold.code == ErrorCode.CARRIER_KEY_REFUSED
        self._metrics.key_refused.labels(account).set(refused)
        self._metrics.creations_held.labels(account).set(state.create_hold_message is not None)
        self._metrics.sending_stopped.labels(account).set(state.is_stopped_at(address))
        for name, circuit in state.health.circuits.items():
            until = circuit.open_until.timestamp() if circuit.open_until is not None else 0.0
            self._metrics.circuit_open_until.labels(account, name).set(until)
        # Once more for whoever looks only at the newest log: after a restart the account may still wait for a person.
        if forever and account not in self._waiting:
            log.warning("account_waits", account=account, reason=str(hold))
        (self._waiting.add if forever else self._waiting.discard)(account)

    def _note_pace(self, account: Account, rows: list[Backlog], state: AccountState) -> None:
        """What the account is asked for, how far it runs behind, and what to change when that is no moment's crowd."""
        pace = account.meter.pace
        limit = pace.rate_per_minute if pace is not None else 0
        served = [row for row in rows if state.creates or row.state != State.PENDING]
        due = sum(row.due for row in served)
        oldest = min((row.oldest_due_at for row in served if row.oldest_due_at is not None), default=None)
        behind = shortfall(pace, due, oldest, state.now)
        demand = demand_of(account.policy, tracked_by_status(rows, account.name))
        self._metrics.shortfall.labels(account.name).set(behind.total_seconds())
        self._metrics.poll_demand.labels(account.name).set(demand.per_minute)
        self._metrics.rate_limit.labels(account.name).set(limit)
        waits = state.hold is not None or not state.health.account.is_closed
        if behind < _BEHIND or not limit or waits:
            self._behind.pop(account.name, None)
            return
        said = self._behind.get(account.name)
        if said is None or state.now - said >= _SAY_AGAIN:
            self._behind[account.name] = state.now
            log.warning(
                "account_behind",
                account=account.name,
                due=due,
                minutes=round(behind / timedelta(minutes=1)),
                polls_per_minute=round(demand.per_minute, 1),
                rate_per_minute=limit,
                hint=_POLLS_ARE_MANY if demand.per_minute > limit else _MUCH_CAME,
            )

    def _note_clock(self, offset: timedelta) -> None:
        self._metrics.clock_offset.set(offset.total_seconds())
        problem = differing(offset)
        if problem is not None and not self._clock_differs:
            log.warning("clock_differs", problem=problem)
        self._clock_differs = problem is not None

    def _note_unroutable(self, rows: list[Backlog]) -> None:
        self._metrics.orders_unroutable.set(sum(row.count for row in rows))
        names = frozenset(row.account for row in rows)
        for name in sorted(names - self._unroutable):
            log.warning(
                "account_not_configured",
                account=name[:100],
                hint="its returns wait: configure it, or see accounts rename and accounts retire",
            )
        self._unroutable = names


async def notice_restore(database: Database) -> None:
    """Put in doubt what may have been created, when the database was restored or copied, or failed over."""
    if await settle_place(database):
        log.warning(
            "database_restored",
            hint="it was restored, copied or failed over: what may have been created since is looked up, or held",
        )


async def warn_of_risks(database: Database) -> None:
    """Say once, at the start, what the server may forget in a crash or a failover."""
    for risk in await risks(database):
        log.warning("database_may_forget", risk=risk)


async def take_over(database: Database, watch: ClockWatch) -> None:
    """Go on where workers before this one ended: with the clock as they saw it, without the leases of the killed."""
    watch.begin(await read_clock(database), await database_now(database))
    if ended := await end_leases(database):
        log.info("leases_ended", count=ended, hint="a worker before this one held these returns when it ended")
