"""What has to be done now and then: gauges from the database, abandoned files, and warnings about what is left over."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog

from worker.domain.lifecycle import LIVE_STATES
from worker.labels import LabelStore, LabelStoreError
from worker.store.columns import FOREVER
from worker.store.database import Database, DatabaseUnavailable
from worker.store.place import settle_place
from worker.store.queries import AccountHold, Backlog, read_backlog, read_holds
from worker.telemetry.metrics import Metrics

_ABANDONED = timedelta(hours=1)  # longer than any label takes to be written

log = structlog.get_logger()


class Housekeeping:
    """The slow ticks of one worker."""

    def __init__(
        self,
        database: Database,
        labels: LabelStore,
        metrics: Metrics,
        accounts: Iterable[str],
        key_problems: Callable[[], Iterable[str]],
    ) -> None:
        """`accounts` are the configured ones; `key_problems` says which keys cannot be read any more."""
        self._database, self._labels, self._metrics = database, labels, metrics
        self._accounts = tuple(accounts)
        self._key_problems = key_problems
        self._unroutable: frozenset[str] = frozenset()
        self._waiting: set[str] = set()  # accounts that wait for a person, and were logged

    async def refresh_gauges(self) -> None:
        """Set every gauge that is read from the database; they are the same in every worker."""
        try:
            await notice_restore(self._database)
            backlog = await read_backlog(self._database)
            holds = await read_holds(self._database)
        except DatabaseUnavailable as error:
            self._metrics.storage_errors.labels("gauges").inc()
            log.warning("database_unavailable", doing="gauges", error=str(error))
            return
        for account in self._accounts:
            self._set_gauges(account, [row for row in backlog if row.account == account])
            self._note_hold(account, holds.get(account))
        self._note_unroutable([row for row in backlog if row.account not in self._accounts])

    async def tidy(self) -> None:
        """Remove what crashes left in the label store, and repeat what an operator should not miss."""
        for problem in self._key_problems():
            log.warning("key_unreadable", problem=problem)
        try:
            removed = await self._labels.tidy(_ABANDONED)
        except LabelStoreError as error:
            log.warning("label_store_failed", error=str(error))
            return
        if removed:
            log.info("temporary_files_removed", count=removed)

    def _set_gauges(self, account: str, rows: list[Backlog]) -> None:
        counts = {row.state: row.count for row in rows}
        for state in LIVE_STATES:
            self._metrics.orders.labels(account, state).set(counts.get(state, 0))
        oldest = [row.oldest_due_at.timestamp() for row in rows if row.oldest_due_at is not None]
        self._metrics.orders_due.labels(account).set(sum(row.due for row in rows))
        self._metrics.oldest_due.labels(account).set(min(oldest, default=0))
        self._metrics.labels_missing.labels(account).set(sum(row.labels_missing for row in rows))

    def _note_hold(self, account: str, hold: AccountHold | None) -> None:
        forever = hold is not None and hold.until >= FOREVER
        seconds = 0.0 if hold is None else float("inf") if forever else hold.until.timestamp()
        self._metrics.account_held_until.labels(account).set(seconds)
        # Once more for whoever looks only at the newest log: after a restart the account may still wait for a person.
        if forever and account not in self._waiting:
            log.warning("account_waits", account=account, reason=str(hold))
        (self._waiting.add if forever else self._waiting.discard)(account)

    def _note_unroutable(self, rows: list[Backlog]) -> None:
        self._metrics.orders_unroutable.set(sum(row.count for row in rows))
        names = frozenset(row.account for row in rows)
        for name in sorted(names - self._unroutable):
            log.warning(
                "account_not_configured", account=name[:100], hint="its returns wait; configure it or mend them"
            )
        self._unroutable = names


async def notice_restore(database: Database) -> None:
    """Put in doubt what may have been created, when the database was restored or copied, or failed over."""
    if await settle_place(database):
        log.warning(
            "database_restored",
            hint="it was restored, copied or failed over: what may have been created since is looked up, or held",
        )
