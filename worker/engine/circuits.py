"""Leaves an account alone whose carrier fails again and again, for all workers, and lets one of them try at a time."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from worker.domain.health import Circuit, Health, admitted, after, is_tried, is_well, probed
from worker.domain.lifecycle import Step
from worker.domain.outcomes import Outcome
from worker.domain.ramp import ANY, UNCOUNTED
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.store.accounts import Agenda
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable, RowLocked
from worker.store.holds import change_health
from worker.telemetry.metrics import Metrics

log = structlog.get_logger()


class Circuits:
    """The circuits of this process' accounts; what they are is in the accounts' rows, for every process."""

    def __init__(self, database: Database, metrics: Metrics, lease: float) -> None:
        """`lease` is in seconds: a probe that does not come back within it is forgotten."""
        self._database, self._metrics, self._lease = database, metrics, timedelta(seconds=lease)

    def admit(self, account: Account, agenda: Agenda) -> tuple[Mapping[Step, int], Step | None]:
        """What may be taken of what is due, and which step of that is a probe."""
        before, account.health = account.health, agenda.health
        for name, circuit in agenda.health.circuits.items():
            if circuit.is_closed:  # by another worker, or by a person
                _tell(account, name, before.circuits[name], circuit, agenda.now)
        account.paused = account.paused or agenda.health.account.is_open(agenda.now)
        account.stopped = agenda.stopped_address is not None and agenda.stopped_address == account.address
        due = {**agenda.due, Step.CREATE: 0} if agenda.creations_held else agenda.due
        untried, account.untried = account.untried, None
        # Nothing is sent that would have to be counted: what is in doubt is looked up, and the rest checked.
        health = replace(agenda.health, ramp=UNCOUNTED) if account.stopped else agenda.health
        taken, probe = admitted(health, due, agenda.now, untried)
        account.careful = health.ramp.allowed(agenda.now) is not None
        account.held_back = due.get(Step.CREATE, 0) > taken.get(Step.CREATE, 0) and not agenda.health.account.is_open(
            agenda.now
        )
        return taken, probe

    async def take_probe(self, account: Account, step: Step) -> bool:
        """Be the one that tries, if nobody else is; the next row of this step is the probe."""
        taken = False

        def take(health: Health, now: datetime) -> Health:
            nonlocal taken
            taken = not is_tried(health, step, now)
            return probed(health, step, now + self._lease) if taken else health

        try:
            account.health = await change_health(self._database, account.name, take)
        except RowLocked:
            return False
        account.probe = step if taken else None
        return taken

    async def return_probe(self, account: Account) -> None:
        """There was nothing to try it with: the next one may."""
        step, account.probe = account.probe, None
        if step is not None:
            account.untried = step
            with suppress(RowLocked):  # then it is the next one's in a lease
                await change_health(self._database, account.name, lambda health, now: probed(health, step, now))

    async def heard(
        self,
        account: Account,
        order: ReturnOrder,
        outcome: Outcome | None,
        now: datetime,
        *,
        probe: bool,
        sent_at: datetime | None = None,
    ) -> bool:
        """Let the carrier's answer, or its silence, count; most answers change nothing, and cost nothing.

        Whether more creations may be in flight from now on.
        """
        breaker, before = account.policy.breaker, account.health
        if probe and is_well(order, outcome) is None:
            account.untried = order.queue
        if not probe and after(before, order, outcome, breaker, now, probe=False, sent_at=sent_at) == before:
            return False

        def change(health: Health, at: datetime) -> Health:
            nonlocal before, now
            before, now = health, at
            return after(health, order, outcome, breaker, at, probe=probe, sent_at=sent_at)

        try:
            account.health = await change_health(self._database, account.name, change)
        except DatabaseUnavailable:
            self._metrics.storage_errors.labels("record").inc()  # the next answer tells the same
            return False
        account.paused = account.paused or account.health.account.is_open(now)
        if account.health.ramp != before.ramp and account.health.ramp.allowed(now) == 1:
            account.slowdowns += 1
        for name, circuit in account.health.circuits.items():
            _tell(account, name, before.circuits[name], circuit, now)
        return (account.health.ramp.allowed(now) or ANY) > (before.ramp.allowed(now) or ANY)


def _tell(account: Account, circuit: str, before: Circuit, now: Circuit, at: datetime) -> None:
    if now.is_open(at) and now.failures > before.failures:
        log.warning(
            "circuit_opened", account=account.name, circuit=circuit, failures=now.failures, until=now.open_until
        )
    elif now.is_closed and not before.is_closed:
        log.info("circuit_closed", account=account.name, circuit=circuit, after_failures=before.failures)
