"""Registers who is told of news, says how much of it waits, and drops what was not taken for too long."""

from collections.abc import Sequence

import structlog

from worker.domain.news import Subscriber, SubscriberKind
from worker.engine.running import Tools
from worker.store.failures import DatabaseUnavailable
from worker.store.news import register_subscribers
from worker.store.outbox import MISSED, OUTBOX, UNSENT, drop_old, read_standings

_BATCH = 1_000  # events in one transaction
_BUDGET = 5.0  # seconds of one look; the next one goes on where it ended

log = structlog.get_logger()


class Subscribers:
    """Those that are registered in the database, as one worker sees them."""

    def __init__(self, tools: Tools, configured: Sequence[Subscriber]) -> None:
        """`configured` are those of this worker's settings."""
        self._database, self._metrics = tools.database, tools.metrics
        self._clock, self._watch = tools.clock, tools.watch
        self._configured = configured
        self._known: set[str] = set()
        self._after = dict.fromkeys((OUTBOX, UNSENT, MISSED), 0)
        tables = [each.name for each in configured if each.kind is SubscriberKind.TABLE]
        tools.metrics.expect_subscribers([each.name for each in configured], tables)

    async def register(self) -> None:
        """Have those of the settings told from now on; raises `KindChanged`, and `DatabaseUnavailable`."""
        others = await register_subscribers(self._database, self._configured)
        if self._configured:
            log.info("subscribers_registered", subscribers=[each.name for each in self._configured])
        if others:
            hint = "news for them waits up to their `keep`; one that is gone: returns-worker webhooks retire NAME"
            log.info("subscribers_of_others", subscribers=others, hint=hint)

    async def read(self) -> None:
        """Set the gauges; raises `DatabaseUnavailable`."""
        standings = await read_standings(self._database)
        for each in standings:
            self._metrics.news_served.labels(each.name).set(each.is_served)
            if each.kind is SubscriberKind.TABLE:
                self._metrics.news_pending.labels(each.name).set(each.pending)
                oldest = each.oldest.timestamp() if each.oldest is not None else 0
                self._metrics.news_oldest.labels(each.name).set(oldest)
                self._metrics.news_keep.labels(each.name).set(each.keep.total_seconds())
        names = {each.name for each in standings}
        for name in self._known - names:
            self._metrics.forget_subscriber(name)
        self._known = names

    async def tidy(self) -> None:
        """Set the gauges, and drop what is older than `keep`, for some seconds; nothing while the clock is doubted."""
        until = self._clock() + _BUDGET
        try:
            await self.read()
            for table in self._after if self._watch.is_believed else ():
                await self._drop(table, until)
        except DatabaseUnavailable as error:
            log.debug("news_waits", error=str(error))

    async def _drop(self, table: str, until: float) -> None:
        counts: dict[str, int] = {}
        while True:
            dropped = await drop_old(self._database, table, self._after[table], _BATCH)
            self._after[table] = dropped.after or 0
            for name, count in dropped.counts.items():
                counts[name] = counts.get(name, 0) + count
            if dropped.after is None or self._clock() >= until:
                break
        for name, count in counts.items() if table != MISSED else ():
            self._metrics.news_dropped.labels(name).inc(count)
            hint = "they waited longer than its `keep`: is it still read, or reached?"
            log.warning("news_dropped", subscriber=name, count=count, hint=hint)
