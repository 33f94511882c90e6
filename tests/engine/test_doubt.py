"""A restore that is noticed between a claim and its record leaves the return in doubt."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.domain.cases import NOW, PAST, SEARCHABLE, sent
from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.process.running import until
from worker.carriers.port import NotSent
from worker.domain.by_hand import Person, retry
from worker.domain.decide import decide
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import action_for
from worker.domain.outcomes import Absent, Created
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.engine.running import Timing
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.records import record
from worker.store.restores import declare_restored
from worker.store.upkeep.choice import Choice, choose, take
from worker.usecases.desk import Desk

REJECTED = "UPDATE return_order SET state = 'rejected', due_at = NULL, error_code = 'carrier_refused'"


async def taken(loop: Loop) -> ReturnOrder:
    """The one row, claimed before the restore is noticed."""
    (claimed,) = await claim(loop.database, [Lane("default", Step.CREATE, 1)], "w", timedelta(seconds=60))
    await restored(loop)
    return claimed.order


async def restored(loop: Loop) -> None:
    await loop.execute("UPDATE return_order SET updated_at = created_at")
    await declare_restored(loop.database)


async def test_a_return_put_back_meanwhile_is_not_created_unseen(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("A")
    await loop.execute(REJECTED)
    await loop.execute("UPDATE return_order SET retry_requested_at = created_at")
    order = await taken(loop)
    outcome = action_for(order, can_cancel=False)
    assert not isinstance(outcome, Step)
    await record(database, [(order, decide(order, outcome, order.due_at or order.created_at, Policy(), 0.5))])  # type: ignore[arg-type]
    await loop.turn()
    assert carrier.count("create") == 0
    assert (await loop.rows())[0]["error_code"] == "create_outcome_unknown"


async def test_nor_is_one_that_a_person_retried(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("A")
    await loop.execute(REJECTED)
    (claimed,) = await take(database, [1], "command", timedelta(seconds=60))
    await restored(loop)
    decision = retry(claimed.order, Person("anna"), claimed.claimed_at, Policy())
    await record(database, [(claimed.order, decision)])  # type: ignore[list-item]
    await loop.turn()
    assert carrier.count("create") == 0


async def test_nor_is_one_whose_creation_did_not_reach_the_carrier(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("A")

    def create(_: str) -> Created:
        raise NotSent("no connection")

    carrier.on_create = create
    carrier.gate.clear()
    await loop.engine.turn()
    await until(lambda: carrier.count("create") == 1, 10)
    await restored(loop)
    carrier.gate.set()
    await loop.settle()
    await loop.execute("UPDATE return_order SET due_at = created_at")
    await loop.turn()
    assert carrier.count("create") == 1
    assert (await loop.rows())[0]["state"] == "needs_attention"


def test_look_ups_from_before_a_restore_do_not_count_after_it() -> None:
    doubtful = sent(lookups=1, doubtful_since=PAST, created_at=NOW - timedelta(days=1))
    outcome = action_for(doubtful, can_cancel=True)
    assert not isinstance(outcome, Step)
    order = decide(doubtful, outcome, NOW, SEARCHABLE, 0.5).order
    assert (order.state, order.create_started_at, order.lookups) == (State.PENDING, NOW, 0)
    again = decide(order, Absent(), NOW, SEARCHABLE, 0.5).order
    assert again.create_started_at == NOW


async def test_what_is_not_any_more_what_it_was_chosen_for_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("A", "B")
    await loop.execute("UPDATE return_order SET state = 'needs_attention', due_at = NULL, error_code = 'carrier_error'")
    choice = Choice(states=[State.NEEDS_ATTENTION], error_code="carrier_error")
    ids = await choose(database, choice)
    await loop.execute("UPDATE return_order SET state = 'pending', due_at = created_at WHERE reference = 'A'")
    desk = Desk(database, Person("anna"), lambda _: Policy(), "command", choice, patience=0.0)
    refused, done = await desk.settle(ids, retry)
    assert "not what was chosen" in getattr(refused.outcome, "reason", "")
    assert done.outcome.order.state is State.PENDING  # type: ignore[union-attr]


@pytest.mark.parametrize("lease", [25.0, 90.0])
async def test_the_shortest_lease_that_may_be_configured_lets_work_begin(
    database: Database, tmp_path: Path, lease: float
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, timing=Timing(lease=lease, tick=1.0))
    await loop.insert("A")
    loop.now[0] += 1.0
    await loop.turn()
    assert carrier.count("create") == 1
