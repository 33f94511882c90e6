"""A carrier that does what a test says, call by call, behind the real port; and a loop around it on a real database."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from worker.carriers.port import Carrier, Creation, LabelDocument, LabelNotReady, Pacer, Unpaced
from worker.domain.cadence import Ladder
from worker.domain.outcomes import Created, Tracked
from worker.domain.pacing import Pace
from worker.domain.policy import Backoff, Policy
from worker.domain.ramp import Ramp
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.engine.account import Account
from worker.engine.clock_watch import ClockWatch
from worker.engine.loop import Engine
from worker.engine.meter import Meter
from worker.engine.recorder import Recorder
from worker.engine.report import Report
from worker.engine.running import Timing, Tools
from worker.labels import FileLabelStore
from worker.store.accounts import register_accounts
from worker.store.columns import sqlite_text
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.holds import begin_with_one, change_health
from worker.telemetry.metrics import Metrics

POLICY = Policy(default_ladder=Ladder(first=timedelta(hours=1)), backoff=Backoff(first=timedelta(hours=1)))


class ScriptedCarrier:
    """Counts its calls; while `gate` is closed they wait in it."""

    warnings = ()

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls: list[tuple[str, str]] = []
        self.most_at_once = 0
        self.pacer: Pacer = Unpaced()
        self._at_once = 0
        self.on_create: Callable[[str], Created] = lambda reference: Created(f"N{reference}", None, has_label=False)
        self.codes: Callable[[str], Sequence[str]] = lambda _: ()
        self.on_track: Callable[[str], TrackingUpdate] = lambda _: TrackingUpdate(TrackingStatus.IN_TRANSIT, "OnItsWay")

    def prepare(self, order: ReturnOrder) -> Creation:
        return Creation({"reference": order.reference})

    async def create(self, creation: Creation) -> Created:
        await self._called("create", creation.body["reference"])
        return self.on_create(creation.body["reference"])

    async def label(self, order: ReturnOrder) -> LabelDocument:
        await self._called("label", order.reference)
        raise LabelNotReady("not yet")

    async def track(self, order: ReturnOrder) -> Tracked:
        await self._called("track", order.reference)
        codes = tuple(enumerate(self.codes(order.reference), start=1))
        return Tracked(self.on_track(order.reference), codes=codes)

    async def ping(self) -> None: ...

    async def close(self) -> None: ...

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.calls if name == operation)

    async def _called(self, operation: str, reference: str) -> None:
        await self.pacer.permit()
        self.calls.append((operation, reference))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.gate.wait()
        finally:
            self._at_once -= 1


@dataclass
class Loop:
    """A loop on a real database, with a clock that the test moves."""

    database: Database
    accounts: dict[str, Account]
    engine: Engine
    tools: Tools
    recorder: Recorder
    metrics: Metrics
    now: list[float] = field(default_factory=lambda: [1000.0])

    async def settle(self) -> None:
        """Let everything that was started end, and write it down."""
        while self.engine.running.tasks:
            await asyncio.wait(self.engine.running.tasks)
        await self.recorder.flush()

    async def turn(self) -> float:
        """One turn, with everything it started."""
        pause = (await self.engine.turn()).pause
        await self.settle()
        return pause

    async def rows(self, columns: str = "*") -> list[dict[str, Any]]:
        wanted = text(f"SELECT {columns} FROM return_order ORDER BY id")
        found = await self.database.reading(lambda connection: connection.execute(wanted).mappings().all())
        return [dict(row) for row in found]

    async def insert(self, *references: str, account: str = "default", state: str = "pending") -> None:
        cast = "CAST(:payload AS jsonb)" if self.database.dialect == POSTGRESQL else ":payload"
        step, ref = ("track", ":reference") if state == "tracking" else ("create", "NULL")
        insert = text(
            f"INSERT INTO return_order (account, reference, payload, state, next_step, carrier_ref)"
            f" VALUES (:account, :reference, {cast}, :state, '{step}', {ref})"
        )
        same = {"account": account, "payload": json.dumps({}), "state": state}
        rows = [same | {"reference": reference} for reference in references]
        await self.database.transaction(lambda connection: connection.execute(insert, rows))

    async def insert_followed(self, references: Sequence[str], due_at: datetime) -> None:
        """Rows that the carrier has, each with its reference as its number, due at a moment."""
        moment = due_at if self.database.dialect == POSTGRESQL else sqlite_text(due_at)
        cast = "CAST(:payload AS jsonb)" if self.database.dialect == POSTGRESQL else ":payload"
        statement = text(
            "INSERT INTO return_order (reference, carrier_ref, payload, state, next_step, tracking_status, due_at,"
            f" track_due_at) VALUES (:reference, :reference, {cast}, 'tracking', 'track', 'pending', :due, :due)"
        )
        rows = [{"reference": reference, "payload": "{}", "due": moment} for reference in references]
        await self.database.transaction(lambda connection: connection.execute(statement, rows))
        await self.execute(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
            " SELECT id, 1, 'file:x', 'application/pdf', 1, 'x' FROM return_order o"
            " WHERE NOT EXISTS (SELECT 1 FROM label l WHERE l.return_order_id = o.id)"
        )

    async def due_now(self) -> int:
        """How many rows are due and not worked on."""
        now = "now()" if self.database.dialect == POSTGRESQL else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
        due = text(f"SELECT count(*) FROM return_order WHERE due_at <= {now}")
        return int(await self.database.reading(lambda connection: connection.execute(due).scalar_one()))

    async def execute(self, statement: str) -> None:
        await self.database.transaction(lambda connection: connection.execute(text(statement)))


def _paced(carrier: "ScriptedCarrier | Callable[[Meter], Carrier]", meter: Meter) -> Carrier:
    if not isinstance(carrier, ScriptedCarrier):
        return carrier(meter)
    carrier.pacer = meter
    return carrier


async def make_loop(
    database: Database,
    folder: Path,
    carriers: "Mapping[str, ScriptedCarrier | Callable[[Meter], Carrier]]",
    *,
    max_in_flight: int = 4,
    pace: Pace | None = None,
    timing: Timing | None = None,
    chance: Callable[[], float] = lambda: 0.5,
    full_speed: bool = True,
) -> Loop:
    """`full_speed`: a moment ago the accounts created as many as there are places for; else a worker just started."""
    now = [1000.0]
    metrics, timing = Metrics("test"), timing or Timing(lease=90.0, tick=3600.0)
    meters = {name: Meter(database, name, pace, lambda: now[0]) for name in carriers}
    accounts = {
        name: Account(
            name=name,
            carrier=_paced(carrier, meters[name]),
            policy=POLICY,
            timeout=20.0,
            max_in_flight=max_in_flight,
            meter=meters[name],
            key_fingerprint=lambda: "key",
            is_number=str.isalnum,
            database=database,
            metrics=metrics,
            lease=timedelta(seconds=timing.lease),
        )
        for name, carrier in carriers.items()
    }
    report = Report(metrics)
    recorder = Recorder(database, report.recorded, report.lost, report.storage_failed)
    tools = Tools(
        database=database,
        accounts=accounts,
        labels=FileLabelStore(folder),
        recorder=recorder,
        metrics=metrics,
        owner="test",
        timing=timing,
        clock=lambda: now[0],
        watch=ClockWatch(lambda: now[0], accounts),
        chance=chance,
    )
    await register_accounts(database, list(accounts))
    await begin_with_one(database, list(accounts))
    if full_speed:
        for name in accounts:
            await change_health(database, name, lambda health, now: replace(health, ramp=Ramp(64, now, now)))
    return Loop(database, accounts, Engine(tools), tools, recorder, metrics, now)
