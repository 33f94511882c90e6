"""Sends what is due to one webhook, under the lease of its subscriber, until nothing is left to send now.

What was sent is written down in batches; until then its return is told of nothing else, so that its news stays in
order. An event leaves the table only after its 2xx: where that is not written down it is sent again, with the same id.
A lease is longer than two requests, and no request begins that could end after it: a worker that takes over never
sends beside one that still does.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf

import structlog

from worker.domain.clocks import lease_margin
from worker.domain.delivery import Again, Ending, Endpoint, Try, Undelivered, Verdict, after, judged
from worker.engine.outage import say_away, say_back
from worker.engine.running import Tools
from worker.news.sender import Webhook
from worker.store.failures import DatabaseUnavailable, RowLocked
from worker.store.webhooks import Look, Outgoing, Results, hand_back, heads, record_tries, take_lease

DOING = "webhooks"
"""What fails where the database is away: for the log and the metric."""

_WINDOW = 500  # returns whose next event is read at a time
_LINGER = 0.05  # seconds that a result may wait for others
_BATCH = 100  # results after which none is waited for
_LOOK_EVERY = 1.0  # seconds until what others recorded, and what is to be sent again, is looked for once more
_PAUSE = 0.5  # seconds until results are written again that could not be

log = structlog.get_logger()


class LeaseOver(Exception):
    """The lease ended before the first byte was sent, as when the machine slept: another worker may send by now."""


class Lease:
    """The right to send to one webhook, for some time."""

    def __init__(self, tools: Tools, webhook: Webhook) -> None:
        self._tools, self._name = tools, webhook.name
        margin = lease_margin(timedelta(seconds=tools.timing.lease)).total_seconds()
        self.seconds = max(tools.timing.lease, 2 * webhook.timeout + margin)
        self._needed = webhook.timeout + margin / 2
        self._token, self._ends_at = 0, -inf

    async def take(self) -> bool:
        """Have it, if no other worker has."""
        began = self._tools.clock()
        token = await take_lease(self._tools.database, self._name, self._tools.owner, self.seconds)
        if token is not None:
            self._token, self._ends_at = token, began + self.seconds
        return token is not None

    async def record(self, judge: Callable[[Endpoint, datetime], Verdict]) -> Results | None:
        """Write down what follows from some tries, and have it for as long again; None: another worker has it."""
        began = self._tools.clock()
        results = await record_tries(
            self._tools.database, self._name, self._tools.owner, self._token, self.seconds, judge
        )
        self._ends_at = began + self.seconds if results is not None else -inf
        return results

    async def hand_back(self) -> None:
        """End it, if it is still ours."""
        await hand_back(self._tools.database, self._name, self._tools.owner, self._token)

    @property
    def is_ours(self) -> bool:
        """Whether it surely lasts."""
        return self._left > 0

    @property
    def is_to_be_renewed(self) -> bool:
        """Whether half of it is over: what is left then is still enough for a request."""
        return self._left <= self.seconds / 2

    @property
    def is_enough(self) -> bool:
        """Whether a request that begins now ends within it."""
        return self._left > self._needed

    def check(self) -> None:
        """Raise `LeaseOver` where it is over."""
        if not self.is_ours:
            raise LeaseOver

    @property
    def _left(self) -> float:
        return self._ends_at - self._tools.clock()


class Sending:
    """What one dispatcher has in hand while it has the lease."""

    def __init__(self, tools: Tools, webhook: Webhook, turn: asyncio.Lock, lease: Lease, found: Look) -> None:
        """`turn` is taken for each use of the database; `found`: how the endpoint does."""
        self._tools, self._webhook, self._turn, self._lease = tools, webhook, turn, lease
        self._endpoint, self._seen_at, self._seen_by = found.endpoint, found.now, tools.clock()
        self._queue, self._looked_at = deque[Outgoing](), -inf
        self._in_flight = dict[asyncio.Task[None], Outgoing]()
        self._tries, self._first_try_by, self._not_before = list[tuple[Outgoing, Try]](), inf, -inf
        self._stirred = asyncio.Event()

    def wake(self) -> None:
        """Something was recorded, or it is to end."""
        self._looked_at = -inf
        self._stirred.set()

    async def run(self, is_draining: Callable[[], bool]) -> None:
        """Send until nothing is left to send now, the lease is lost, or it is to end; what was sent is written down."""
        try:
            while True:
                self._stirred.clear()
                if self._is_to_be_written():
                    await self._write()
                if not self._lease.is_ours:
                    if self._tries or self._in_flight:
                        log.warning(
                            "webhook_lease_lost", subscriber=self._webhook.name, hint="what was sent is sent again"
                        )
                    return
                if not is_draining():
                    await self._begin()
                if not self._in_flight and not self._tries:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER if self._tries else _LOOK_EVERY):
                        await self._stirred.wait()
        finally:
            left = list(self._in_flight)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _begin(self) -> None:
        """Send as much as may be in flight beside what is."""
        now = self._now()
        free = self._endpoint.allowed(now, self._webhook.policy.most_in_flight) - len(self._in_flight)
        if free <= 0:
            if not self._in_flight:  # it is held, or left alone
                self._queue.clear()
            return
        probe = not self._endpoint.circuit.is_closed
        if probe:  # which is chosen each time
            self._queue.clear()
        if not self._queue and self._tools.clock() - self._looked_at >= _LOOK_EVERY:
            self._looked_at = self._tools.clock()
            busy = {each.message.return_order_id for each in (*self._in_flight.values(), *(o for o, _ in self._tries))}
            # One probe is what came last, the next what is due longest: a run of events that the endpoint refuses must
            # not keep the others from it.
            last = probe and self._endpoint.circuit.failures % 2 == 1
            try:
                async with self._turn:
                    found = await heads(self._tools.database, self._webhook.name, busy, _WINDOW, last=last)
            except DatabaseUnavailable as error:  # what is in flight goes on
                say_failed(self._tools, error, _LOOK_EVERY)
            else:
                self._queue.extend(found)
        for _ in range(min(free, len(self._queue))):
            if not self._lease.is_enough:
                return
            outgoing = self._queue.popleft()
            task = asyncio.create_task(self._send(outgoing, probe=probe))
            self._in_flight[task] = outgoing
            task.add_done_callback(self._ended)

    async def _send(self, outgoing: Outgoing, *, probe: bool) -> None:
        message = outgoing.message
        try:
            answered = await self._webhook.sender.send(message, datetime.now(UTC), self._lease.check)
        except LeaseOver:
            return
        except Exception:
            log.exception("webhook_crashed", subscriber=self._webhook.name, order_id=message.return_order_id)
            answered = Undelivered(Ending.NOT_SENT, "a defect of the worker's, which its log has")
        self._tools.metrics.webhook_deliveries.labels(self._webhook.name, answered.ending).inc()
        self._first_try_by = min(self._first_try_by, self._tools.clock())
        tried = Try(outgoing.id, outgoing.attempts, outgoing.first_attempt_at, answered, probe)
        self._tries.append((outgoing, tried))
        self._endpoint = after(self._endpoint, answered, self._webhook.policy, self._now(), probe=probe)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.pop(task, None)
        self._stirred.set()

    def _is_to_be_written(self) -> bool:
        clock = self._tools.clock()
        if clock < self._not_before:
            return False
        waits = not self._in_flight or clock >= self._first_try_by + _LINGER or len(self._tries) >= _BATCH
        return bool(self._tries and waits) or self._lease.is_to_be_renewed

    async def _write(self) -> None:
        """Write down what was sent, and renew the lease; where that cannot be done now, it is tried again."""
        written = self._tries
        self._tries, self._first_try_by = [], inf
        try:
            async with self._turn:
                results = await self._lease.record(lambda endpoint, now: self._judged(endpoint, written, now))
        except DatabaseUnavailable as error:
            self._tries, self._first_try_by = written + self._tries, -inf
            self._not_before = self._tools.clock() + _PAUSE
            say_failed(self._tools, error, _PAUSE)
            return
        say_back(self._tools.database, DOING)
        if results is None:
            self._tries = written
            return
        self._looked_at = -inf if written else self._looked_at  # what comes after it may be due
        self._endpoint, self._seen_at, self._seen_by = results.verdict.endpoint, results.now, self._tools.clock()
        for _, tried in self._tries:  # that ended meanwhile
            self._endpoint = after(self._endpoint, tried.answered, self._webhook.policy, results.now, probe=tried.probe)
        self._tell({outgoing.id: outgoing for outgoing, _ in written}, results)

    def _judged(self, endpoint: Endpoint, written: list[tuple[Outgoing, Try]], now: datetime) -> Verdict:
        tries, judges_ages = [tried for _, tried in written], self._tools.watch.is_believed
        return judged(endpoint, tries, self._webhook.policy, now, self._tools.chance, judges_ages=judges_ages)

    def _now(self) -> datetime:
        """The database's time, as far as it is known."""
        return self._seen_at + timedelta(seconds=self._tools.clock() - self._seen_by)

    def _tell(self, written: dict[int, Outgoing], results: Results) -> None:
        """Tell log and metrics what was written down."""
        metrics, name, verdict = self._tools.metrics, self._webhook.name, results.verdict
        for each in verdict.delivered:
            message = written[each].message
            metrics.webhook_delay.labels(name).observe(max((results.now - message.observed_at).total_seconds(), 0))
            log.debug("webhook_delivered", **_event(name, written[each]), reference=message.reference)
        for again in verdict.again:
            log.debug("webhook_undelivered", **_failed(name, written, again), retry_in=again.wait.total_seconds())
        for given_up in verdict.given_up:
            metrics.webhook_given_up.labels(name).inc()
            log.warning("webhook_given_up", **_failed(name, written, given_up))
        before, endpoint = results.before, verdict.endpoint
        if endpoint.hold is not None and endpoint.hold != before.hold:
            hold = endpoint.hold
            log.warning("webhook_held", subscriber=name, code=hold.code, until=hold.until, error=hold.message)
        if before.circuit.is_closed and not endpoint.circuit.is_closed:
            until, why = endpoint.circuit.open_until, verdict.again[-1].message if verdict.again else None
            failures = endpoint.circuit.failures
            log.warning("webhook_circuit_opened", subscriber=name, failures=failures, until=until, error=why)
        elif endpoint.circuit.is_closed and not before.circuit.is_closed:
            log.info("webhook_circuit_closed", subscriber=name, after_failures=before.circuit.failures)


def say_failed(tools: Tools, error: DatabaseUnavailable, retry_in: float) -> None:
    """The database did not do what was asked of it."""
    tools.metrics.storage_errors.labels(DOING).inc()
    if isinstance(error, RowLocked):  # somebody's open transaction: the database itself is well
        log.debug("webhook_row_locked", error=str(error))
    else:
        say_away(tools.database, DOING, error, retry_in=retry_in)


def _event(subscriber: str, outgoing: Outgoing) -> dict[str, object]:
    message = outgoing.message
    return {
        "subscriber": subscriber,
        "order_id": message.return_order_id,
        "type": message.type,
        "position": message.position,
        "webhook_id": message.id,
    }


def _failed(subscriber: str, written: dict[int, Outgoing], again: Again) -> dict[str, object]:
    return _event(subscriber, written[again.id]) | {"attempts": again.attempts, "error": again.message}
