"""Tells webhooks of what changed: for each of them one dispatcher in each worker, of which one at a time sends.

A dispatcher sleeps while nothing is due. What this worker records wakes it; by a tick, which is one read, it finds what
others recorded. Where something is due it takes the lease of its subscriber, has all of it sent
(`worker.engine.sending`), and hands the lease back.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from math import inf

import structlog

from worker.domain.cadence import grown
from worker.domain.delivery import Ending
from worker.engine.outage import say_back
from worker.engine.running import Tools
from worker.engine.sending import DOING, Lease, Sending, say_failed
from worker.news.sender import Webhook
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.webhooks import EndpointState, describe, look, read_endpoints
from worker.telemetry.metrics import Metrics

_TICK = 5.0  # seconds until an idle dispatcher looks for what others recorded
_TAKEN_AGAIN = 1.0  # seconds until a lease that another worker has is asked for again, while something is due
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between tries at a database that is away
_AFTER_DEFECT = 30.0  # seconds
_RELEASE = "once its endpoint takes news again: returns-worker webhooks release NAME"

log = structlog.get_logger()


class News:
    """All dispatchers of one worker."""

    def __init__(self, tools: Tools, webhooks: Sequence[Webhook]) -> None:
        turn = asyncio.Lock()  # together they use one connection at a time: returns come first
        self._database = tools.database
        self._dispatchers = [Dispatcher(tools, webhook, turn) for webhook in webhooks]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._tasks = [asyncio.create_task(each.run()) for each in self._dispatchers]

    def wake(self) -> None:
        """Something was recorded that may be news."""
        for each in self._dispatchers:
            each.wake()

    async def checks(self) -> dict[str, str]:
        """How each endpoint does, in a few words, by what it is called in /readyz; raises `DatabaseUnavailable`."""
        names = [each.name for each in self._dispatchers]
        states = await read_endpoints(self._database) if names else {}
        return {f"webhook {name}": describe(states[name]) for name in names if name in states}

    async def settle(self) -> None:
        """Return once all is sent that can be sent now, for a worker that is to end when it has nothing left to do."""
        for each in self._dispatchers:
            await each.settle()

    def begin_to_drain(self) -> None:
        """Begin no request any more."""
        for each in self._dispatchers:
            each.drain()

    async def drain(self) -> None:
        """Wait for what is in flight, until it is written down and the leases are handed back."""
        self.begin_to_drain()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """End at once what still runs, and close the connections."""
        self.begin_to_drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in self._dispatchers:
            await each.close()


class NewsGauges:
    """The gauges with a webhook's name, and which of them were said to wait."""

    def __init__(self, database: Database, metrics: Metrics, names: Collection[str]) -> None:
        """`names` are the configured webhooks."""
        self._database, self._metrics, self._names = database, metrics, names
        self._waiting: set[str] = set()  # those that wait for a person, and were logged
        metrics.expect_webhooks(names, Ending)

    async def read(self) -> None:
        """Set them; raises `DatabaseUnavailable`."""
        states = await read_endpoints(self._database) if self._names else {}
        for name in self._names:
            if (state := states.get(name)) is not None:
                self._set(name, state)

    def _set(self, name: str, state: EndpointState) -> None:
        metrics, hold = self._metrics, state.endpoint.hold
        metrics.webhook_pending.labels(name).set(state.pending)
        metrics.webhook_oldest.labels(name).set(state.oldest_at.timestamp() if state.oldest_at is not None else 0)
        forever = hold is not None and hold.until is None
        until = state.endpoint.rests_until
        metrics.webhook_held_until.labels(name).set(inf if forever else until.timestamp() if until is not None else 0)
        # Said by each worker: after a restart it may still wait for a person, and the newest log must say so.
        if forever and name not in self._waiting:
            log.warning("webhook_waits", subscriber=name, reason=describe(state), hint=_RELEASE)
        (self._waiting.add if forever else self._waiting.discard)(name)


class Dispatcher:
    """Sends what waits for one webhook, whenever this worker has its lease."""

    def __init__(self, tools: Tools, webhook: Webhook, turn: asyncio.Lock) -> None:
        """`turn` is taken for each use of the database."""
        self.name = webhook.name
        self._tools, self._webhook, self._turn = tools, webhook, turn
        self._wake, self._idle = asyncio.Event(), asyncio.Event()
        self._sending: Sending | None = None
        self._draining = False

    def wake(self) -> None:
        """Look for something to send now."""
        self._wake.set()
        if self._sending is not None:
            self._sending.wake()

    def drain(self) -> None:
        """Begin no request any more, and end after those in flight."""
        self._draining = True
        self.wake()

    async def settle(self) -> None:
        """Return once all is sent that can be sent now, or when it is to end."""
        if self._draining:
            return
        self._idle.clear()
        self.wake()
        await self._idle.wait()

    async def close(self) -> None:
        """Close the connections to the endpoint."""
        await self._webhook.sender.close()

    async def run(self) -> None:
        """Send until it is to end; a database that is away, and a defect of ours, are waited out."""
        failures = 0
        while not self._draining:
            self._wake.clear()
            try:
                pause = await self._send_what_is_due()
                failures = 0
                say_back(self._tools.database, DOING)
            except DatabaseUnavailable as error:
                failures += 1
                pause = grown(_FIRST_PAUSE, 2.0, failures, _LONGEST_PAUSE) * (0.5 + self._tools.chance() / 2)
                say_failed(self._tools, error, pause)
                if not self._draining:
                    await asyncio.sleep(pause)
                continue
            except Exception:
                log.exception("webhook_crashed", subscriber=self._webhook.name, hint="it goes on, and nothing is lost")
                pause = _AFTER_DEFECT
            if not self._wake.is_set():
                self._idle.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._idle.clear()
        self._idle.set()

    async def _send_what_is_due(self) -> float:
        """Send what can be sent now; how many seconds there is nothing to do, unless something is recorded."""
        tools, webhook = self._tools, self._webhook
        async with self._turn:
            found = await look(tools.database, webhook.name)
        if found is None or found.next_at is None:
            return _TICK
        if found.next_at > found.now or not found.endpoint.allowed(found.now, webhook.policy.most_in_flight):
            moments = (found.next_at, found.endpoint.circuit.open_until, found.endpoint.rests_until)
            left = [(each - found.now).total_seconds() for each in moments if each is not None and each > found.now]
            return min(max(left, default=_TICK), _TICK)
        lease = Lease(tools, webhook)
        async with self._turn:
            if not await lease.take():
                return _TAKEN_AGAIN
        self._sending = Sending(tools, webhook, self._turn, lease, found)
        try:
            await self._sending.run(is_draining=lambda: self._draining)
        finally:
            self._sending = None
            with suppress(DatabaseUnavailable):  # then it runs out
                async with self._turn:
                    await lease.hand_back()
        return 0.0 if lease.is_ours else _TAKEN_AGAIN
