"""Builders: rows as a shop or an earlier step left them, claims, and decisions as `decide` would make them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.store.shop import Shop
from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.lifecycle import State, Step
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.store.claimed import Claimed
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.payloads import read_payloads
from worker.store.records import record

LEASE = timedelta(seconds=90)
CALL = timedelta(seconds=25)
"""What must be left of a lease for a creation to be sent."""
OVER = timedelta(seconds=-1)
"""A lease that is over as soon as it is taken."""


async def insert(
    shop: Shop, reference: str, account: str = "default", *, due: float | None = -1, **columns: Any
) -> int:
    """A row that becomes due so many seconds from now; returns its id."""
    values: dict[str, Any] = {"account": account, "reference": reference, "payload": '{"items": []}'} | columns
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    moment = "NULL" if due is None else shop.moment(due)
    return int(
        await shop.value(
            f"INSERT INTO return_order ({', '.join(values)}, due_at) VALUES ({places}, {moment}) RETURNING id",
            *values.values(),
        )
    )


async def insert_tracked(shop: Shop, reference: str, account: str = "default", **columns: Any) -> int:
    """A row the carrier has, whose status is to be asked for."""
    return await insert(
        shop,
        reference,
        account,
        **{"state": "tracking", "next_step": "track", "carrier_ref": f"NR-{reference}", "tracking_status": "unknown"}
        | columns,
    )


async def take(
    database: Database, step: Step = Step.CREATE, *, account: str = "default", quota: int = 10, lease: timedelta = LEASE
) -> list[Claimed]:
    """Claim from one lane, and read the payloads."""
    return await read_payloads(database, await claim(database, [Lane(account, step, quota)], "worker-1", lease))


async def take_one(database: Database, step: Step = Step.CREATE, lease: timedelta = LEASE) -> ReturnOrder:
    """The one row that is due, claimed."""
    (claimed,) = await take(database, step, lease=lease)
    return claimed.order


def now(**offset: float) -> datetime:
    """Our clock, which in tests is the database's too; whole milliseconds, as SQLite keeps them."""
    moment = datetime.now(UTC) + timedelta(**offset)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def created(order: ReturnOrder, carrier_ref: str = "NR-1", **changes: Any) -> Decision:
    """The carrier made it."""
    after = order._replace(
        state=State.TRACKING,
        next_step=Step.TRACK,
        carrier_ref=carrier_ref,
        tracking_status=TrackingStatus.PRE_TRANSIT,
        followed_since=now(),
        create_started_at=order.create_started_at or now(),
        due_at=now(minutes=15),
        track_due_at=now(minutes=15),
        claims=0,
    )
    transitions = (
        Transition("state", order.state, State.TRACKING, reason="created at the carrier", raw='{"orderNumber": 1}'),
        Transition("tracking_status", None, TrackingStatus.PRE_TRANSIT),
    )
    return Decision(after._replace(**changes), StepOutcome.CREATED, transitions)


def polled(order: ReturnOrder, word: str = "Onderweg", **changes: Any) -> Decision:
    """The carrier said where it is."""
    after = order._replace(
        tracking_status=TrackingStatus.IN_TRANSIT,
        carrier_status=word,
        due_at=now(minutes=30),
        track_due_at=now(minutes=30),
        claims=0,
    )
    seen = Transition("tracking_status", order.tracking_status, TrackingStatus.IN_TRANSIT, word)
    return Decision(after._replace(**changes), StepOutcome.CHANGED, (seen,))


def settled(order: ReturnOrder, state: State = State.REJECTED, **changes: Any) -> Decision:
    """Nothing is left to do; the row waits for a person or for nobody."""
    after = order._replace(state=state, due_at=None, label_due_at=None, track_due_at=None, claims=0)
    transition = Transition("state", order.state, state, reason="settled")
    return Decision(after._replace(**changes), StepOutcome.REJECTED, (transition,))


async def record_one(database: Database, order: ReturnOrder, carrier_ref: str) -> None:
    """Record a creation."""
    assert await record(database, [(order, created(order, carrier_ref))]) == {order.id}
