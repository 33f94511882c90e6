"""What a person decides is written as a worker writes: fenced, with its history, never over a worker's own result."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from worker.domain.by_hand import Person, Refusal, WayOut, cancel, found, not_created, retry
from worker.domain.decision import Decision
from worker.domain.lifecycle import State, Step
from worker.domain.policy import Policy
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.records import record
from worker.store.upkeep.choice import Choice, choose
from worker.usecases.desk import Desk, Settled

ANNA = Person("anna@shop", "looked in the portal")
POLICY = Policy(settles_after=timedelta(0))

IN_DOUBT = "state = 'needs_attention', error_code = 'create_outcome_unknown', due_at = NULL"
EARLIER = "create_started_at = created_at, first_attempt_at = created_at"


def desk(database: Database, patience: float = 0.0) -> Desk:
    return Desk(database, ANNA, lambda _: POLICY, "command:test", patience=patience)


async def act(database: Database, way_out: WayOut, **choice: object) -> list[Settled]:
    return await desk(database).settle(await choose(database, Choice(**choice)), way_out)  # type: ignore[arg-type]


async def history(loop: Loop) -> list[tuple[str, str, str]]:
    lines = text("SELECT old_value, new_value, reason FROM status_transition ORDER BY id")
    rows = await loop.database.reading(lambda connection: connection.execute(lines).all())
    return [tuple(row) for row in rows]  # type: ignore[misc]


async def test_a_person_s_finding_is_adopted_and_followed_without_another_creation(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("R1")
    await loop.execute(f"UPDATE return_order SET {IN_DOUBT}, {EARLIER}")
    (settled,) = await act(database, found("9RET1"))
    assert isinstance(settled.outcome, Decision)
    (row,) = await loop.rows()
    assert (row["state"], row["carrier_ref"], row["lease_owner"]) == ("tracking", "9RET1", None)
    assert await history(loop) == [
        (
            "needs_attention",
            "tracking",
            "resolved: it is 9RET1 at the carrier; by anna@shop: looked in the portal",
        )
    ]
    await loop.turn()
    await loop.turn()
    assert carrier.count("create") == 0
    assert {name for name, _ in carrier.calls} == {"label", "track"}


async def test_what_is_surely_not_there_is_created_once_more_and_only_once(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("R1", "R2")
    await loop.execute(f"UPDATE return_order SET {IN_DOUBT}, {EARLIER}")
    done = await act(database, not_created, states=[State.NEEDS_ATTENTION], error_code="create_outcome_unknown")
    assert [type(each.outcome) for each in done] == [Decision, Decision]
    again = await act(database, not_created)
    assert [type(each.outcome) for each in again] == [Refusal, Refusal]
    await loop.turn()
    await loop.turn()
    assert carrier.count("create") == 2
    assert {row["state"] for row in await loop.rows()} == {"tracking"}


async def test_a_number_that_another_return_has_is_refused_and_nothing_is_changed(
    database: Database, tmp_path: Path
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("9RET1", state="tracking")
    await loop.insert("R1")
    await loop.execute(f"UPDATE return_order SET {IN_DOUBT}, {EARLIER} WHERE reference = 'R1'")
    (settled,) = await act(database, found("9RET1"), states=[State.NEEDS_ATTENTION])
    assert isinstance(settled.outcome, Refusal)
    _, row = await loop.rows()
    assert (row["state"], row["carrier_ref"], row["lease_owner"]) == ("needs_attention", None, None)
    assert await history(loop) == []


async def test_a_preview_changes_nothing(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R1", "R2")
    await loop.execute("UPDATE return_order SET state = 'rejected', due_at = NULL WHERE reference = 'R1'")
    before = await loop.rows()
    would = await desk(database).preview(await choose(database, Choice()), retry)
    assert [type(each.outcome) for each in would] == [Decision, Refusal]
    assert await loop.rows() == before


async def test_a_row_that_a_worker_holds_is_left_to_it(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R1")
    (held,) = await claim(database, [Lane("default", Step.CREATE, 1)], "worker", timedelta(seconds=60))
    (settled,) = await act(database, cancel)
    assert isinstance(settled.outcome, Refusal)
    assert "leased to a worker" in settled.outcome.reason
    assert (await loop.rows())[0]["lease_token"] == held.order.lease_token


async def test_a_worker_that_comes_back_after_a_person_decided_writes_nothing(
    database: Database, tmp_path: Path
) -> None:
    from worker.domain.decide import decide
    from worker.domain.outcomes import Created

    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R1")
    (late,) = await claim(database, [Lane("default", Step.CREATE, 1)], "worker", timedelta(seconds=-1))
    await loop.execute(f"UPDATE return_order SET {IN_DOUBT}, {EARLIER}")
    await act(database, found("9RET1"))
    decision = decide(late.order, Created("9RET2", None), late.claimed_at, POLICY, 0.5)
    assert await record(database, [(late.order, decision)]) == set()
    assert (await loop.rows())[0]["carrier_ref"] == "9RET1"


async def test_a_withdrawal_by_a_person_is_asked_for_and_carried_out_by_the_worker(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("R1")
    await loop.insert("R2", state="tracking")
    await act(database, cancel)
    assert {row["cancel_requested_at"] is not None for row in await loop.rows()} == {True}
    await loop.turn()
    assert {row["state"] for row in await loop.rows()} == {"cancelled"}
    assert carrier.count("create") == 0
    _, _, reason = (await history(loop))[0]
    assert reason == "withdrawal asked for; by anna@shop: looked in the portal"


async def test_filters_choose_by_state_code_account_age_and_number(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier(), "other": ScriptedCarrier()})
    await loop.insert("R1", "R2", "R3")
    await loop.insert("R4", account="other")
    await loop.execute(f"UPDATE return_order SET {IN_DOUBT} WHERE reference IN ('R1', 'R2', 'R4')")
    held = [State.NEEDS_ATTENTION]
    assert len(await choose(database, Choice())) == 4
    assert len(await choose(database, Choice(states=held, error_code="create_outcome_unknown"))) == 3
    assert len(await choose(database, Choice(account="other", states=held))) == 1
    assert len(await choose(database, Choice(states=held, limit=2))) == 2
    assert await choose(database, Choice(error_code="carrier_refused")) == []
    assert await choose(database, Choice(older_than=timedelta(hours=1))) == []
    assert len(await choose(database, Choice(older_than=timedelta(0)))) == 4
