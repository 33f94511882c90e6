"""Sets the gauges that are read from the database, and says in the log what an operator should not miss in them."""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from math import inf, nan

import structlog

from worker.engine.account_gauges import AccountGauges
from worker.engine.news import NewsGauges
from worker.engine.outage import notice_restore, say_away, say_back
from worker.engine.running import Tools
from worker.store.database_clock import clock_offset, differing
from worker.store.dialect import SQLITE
from worker.store.failures import DatabaseUnavailable
from worker.store.fitness import hidden_rows
from worker.store.holds import NOTHING, describe, read_accounts
from worker.store.queries import Backlog, read_backlog
from worker.store.restores import backed_up_at

_FOR_TEN_THOUSAND, _COUNT_EVERY = 9.0, 90.0  # seconds between two counts; one of 10,000 rows takes SQLite 10 ms
_UNKNOWN_AFTER = 120.0  # seconds without a look at the database, after which its gauges say nothing any more

log = structlog.get_logger()


class Gauges:
    """What one worker knows of the whole database; the gauges are the same in every worker."""

    def __init__(
        self, tools: Tools, key_problems: Callable[[], Mapping[str, str]], webhooks: Collection[str] = ()
    ) -> None:
        """`key_problems` says of which account the key cannot be read any more, and why."""
        self._database, self._metrics, self._accounts = tools.database, tools.metrics, tools.accounts
        self._clock, self._watch, self._looked_at = tools.clock, tools.watch, tools.clock()
        self._key_problems = key_problems
        self._of_account = AccountGauges(tools.metrics)
        self._news = NewsGauges(tools.database, tools.metrics, webhooks)
        self._backlog: list[Backlog] = []
        self._counted_at = -inf
        self._due = 0  # returns of the configured accounts
        self._waits: dict[str, str] = {}  # what each account that waits is waiting for
        # What was logged, and so is not said again: accounts that are not configured, rows that are hidden from us, and
        # whether the clock differs.
        self._unroutable: frozenset[str] = frozenset()
        self._hidden: list[str] = []
        self._clock_differs = False
        if tools.database.dialect != SQLITE:
            tools.metrics.last_backup.set(nan)  # its backups are pg_dump's

    def status(self, *, is_draining: bool) -> str:
        """What the worker is doing, in one line of its own words, from what it knows already.

        It says how many steps are in flight, and what was due and which accounts waited when the database was read
        last, or that the database is away.
        """
        flying = _counted(sum(account.in_hand for account in self._accounts.values()), "step") + " in flight"
        if is_draining:
            return flying
        if self._database.outage.since is not None:
            return f"the database is away since {self._database.outage.since:%Y-%m-%d %H:%M:%S} UTC; {flying}"
        waits = [f"account {name} {reason}" for name, reason in sorted(self._waits.items())]
        return "; ".join([f"{flying}, {_counted(self._due, 'return')} due", *waits])

    async def refresh(self) -> None:
        """Set every gauge that is read from the database, unless it is away."""
        try:
            await self.read()
        except DatabaseUnavailable as error:
            self._metrics.storage_errors.labels("gauges").inc()
            say_away(self._database, "gauges", error)
            if self._clock() - self._looked_at > _UNKNOWN_AFTER:
                self._metrics.forget_what_the_database_said()  # beside other workers' gauges it would pass for true
        else:
            say_back(self._database, "gauges")

    async def read(self) -> None:
        """The same, but raises `DatabaseUnavailable`."""
        await notice_restore(self._database)
        hidden = await hidden_rows(self._database)
        if hidden != self._hidden:  # said when it begins and at each start: nothing else tells hidden returns from none
            for problem in hidden:
                log.error("rows_hidden", problem=problem)
            self._hidden = hidden
        await self._watch.keep(self._database)
        backlog = await self._read_backlog()
        states = await read_accounts(self._database)
        offset = await clock_offset(self._database)
        backup = await backed_up_at(self._database)
        await self._news.read()
        self._looked_at = self._clock()
        self._note_clock(offset)
        if self._database.dialect == SQLITE:
            self._metrics.last_backup.set(backup.timestamp() if backup is not None else 0)
        said = {name: describe(states[name]) for name in self._accounts if name in states}
        self._waits = {name: reason for name, reason in said.items() if reason != NOTHING}
        unreadable = self._key_problems()
        by_name: dict[str, list[Backlog]] = {name: [] for name in self._accounts}
        unroutable: list[Backlog] = []
        for row in backlog:
            by_name.get(row.account, unroutable).append(row)
        for name, account in self._accounts.items():
            self._metrics.key_unreadable.labels(name).set(name in unreadable)
            self._of_account.set(account, by_name[name], states.get(name))
        self._due = sum(row.due for rows in by_name.values() for row in rows)
        self._metrics.orders_stranded.set(sum(row.stranded for row in backlog))
        self._note_unroutable(unroutable)
        self._metrics.gauges_read.set(time.time() - (self._clock() - self._counted_at))

    async def _read_backlog(self) -> list[Backlog]:
        """What there is to do; where that is very much, it is counted each 90 seconds at most."""
        live = sum(row.count for row in self._backlog)
        if self._clock() - self._counted_at >= min(live // 10_000 * _FOR_TEN_THOUSAND, _COUNT_EVERY):
            longest = max(account.policy.longest_wait for account in self._accounts.values())
            self._backlog, self._counted_at = await read_backlog(self._database, longest), self._clock()
        return self._backlog

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


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
