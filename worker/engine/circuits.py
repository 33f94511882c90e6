"""Leaves an account alone whose carrier fails again and again; one worker at a time tries whether it is well again."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog

from worker.domain.circuits import Breaker, Circuit, Health, admitted, after, is_tried, is_well, probed
from worker.domain.lifecycle import Step
from worker.domain.outcomes import Outcome
from worker.domain.ramp import ANY, UNCOUNTED
from worker.domain.returns import ReturnOrder
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable, RowLocked
from worker.store.holds import change_health
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()


class Admitted(NamedTuple):
    """What may be taken of what is due."""

    due: Mapping[Step, int]  # rows of each queue
    probe: Step | None  # the queue whose row is a probe


class Circuits:
    """One account's circuits and its ramp as this process knows them; its row has them for every process."""

    def __init__(self, account: str, breaker: Breaker, database: Database, metrics: Metrics, lease: timedelta) -> None:
        """All is well until something else is heard; a probe that does not come back within a `lease` is forgotten."""
        self._account, self._breaker, self._lease = account, breaker, lease
        self._database, self._metrics = database, metrics
        self._health = Health()
        self._untried: Step | None = None  # the queue whose probe came to nothing the last time
        self._probe: Step | None = None  # the queue whose next row finds out whether the carrier is well again
        self.is_open = False  # the account is left alone
        self.counts = False  # its creations in flight are counted
        self.holds_back = False  # more creations are due than may be sent
        self.slowdowns = 0  # how often a failure here put the account back to one creation in flight

    @property
    def probes_creations(self) -> bool:
        """Whether the creation that is taken next shall find out whether creations go well again."""
        return self._probe is Step.CREATE

    def notice(self, health: Health, due: Mapping[Step, int], now: datetime, *, sends: bool) -> Admitted:
        """What may be taken of what is due, now that the account's row says `health`.

        Where it `sends` no creation none is counted: what is in doubt is looked up, and the rest checked.
        """
        before, self._health = self._health, health
        for name, circuit in health.circuits.items():
            if circuit.is_closed:  # by another worker, or by a person
                self._tell(name, before.circuits[name], circuit, now)
        self.is_open = health.account.is_open(now)
        untried, self._untried = self._untried, None
        counted = health if sends else replace(health, ramp=UNCOUNTED)
        admission = Admitted(*admitted(counted, due, now, untried))
        self.counts = counted.ramp.allowed(now) is not None
        self.holds_back = due.get(Step.CREATE, 0) > admission.due.get(Step.CREATE, 0) and not self.is_open
        return admission

    async def take_probe(self, step: Step) -> bool:
        """Be the one that tries, unless another worker is; the next row of this step is the probe then."""
        taken = False

        def take(health: Health, now: datetime) -> Health:
            nonlocal taken
            taken = not is_tried(health, step, now)
            return probed(health, step, now + self._lease) if taken else health

        try:
            self._health = await change_health(self._database, self._account, take)
        except RowLocked:
            return False
        self._probe = step if taken else None
        return taken

    def spend_probe(self, queue: Step) -> bool:
        """A row of this queue is about to be begun: whether it is the probe. Only one is."""
        spent = self._probe is queue
        if spent:
            self._probe = None
        return spent

    async def return_probe(self) -> None:
        """No row was found to try it with: the next worker may."""
        step, self._probe = self._probe, None
        if step is not None:
            self._untried = step
            with suppress(RowLocked):  # then it ends with the lease
                await change_health(self._database, self._account, lambda health, now: probed(health, step, now))

    async def heard(
        self, order: ReturnOrder, outcome: Outcome | None, now: datetime, *, probe: bool, sent_at: datetime
    ) -> bool:
        """Let the carrier's answer, or its silence, count; whether more creations may be in flight from now on.

        Most answers change nothing, and cost nothing.
        """
        before = self._health
        if probe and is_well(order, outcome) is None:
            self._untried = order.queue
        if not probe and after(before, order, outcome, self._breaker, now, probe=False, sent_at=sent_at) == before:
            return False

        def change(health: Health, at: datetime) -> Health:
            nonlocal before, now
            before, now = health, at
            return after(health, order, outcome, self._breaker, at, probe=probe, sent_at=sent_at)

        try:
            self._health = health = await change_health(self._database, self._account, change)
        except DatabaseUnavailable:
            self._metrics.storage_errors.labels("record").inc()  # the next answer counts the same way
            return False
        self.is_open = self.is_open or health.account.is_open(now)
        if health.ramp != before.ramp and health.ramp.allowed(now) == 1:
            self.slowdowns += 1
        for name, circuit in health.circuits.items():
            self._tell(name, before.circuits[name], circuit, now)
        return (health.ramp.allowed(now) or ANY) > (before.ramp.allowed(now) or ANY)

    def _tell(self, circuit: str, before: Circuit, now: Circuit, at: datetime) -> None:
        of = {"account": self._account, "circuit": circuit}
        if now.is_open(at) and now.failures > before.failures:
            log.warning("circuit_opened", **of, failures=now.failures, until=now.open_until)
        elif now.is_closed and not before.is_closed:
            log.info("circuit_closed", **of, after_failures=before.failures)
