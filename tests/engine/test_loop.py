"""What the loop promises: places, fairness, leases, pace, and that one bad row costs the others nothing."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.engine.scripted import ScriptedCarrier, make_loop
from tests.process.running import until
from worker.carriers.port import OutcomeUnknown, Throttled, Unauthorized, Unavailable
from worker.domain.outcomes import Created
from worker.domain.pacing import Pace
from worker.domain.policy import MAX_CLAIMS
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL


async def test_only_as_many_creations_are_taken_as_can_be_sent_now(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=4)
    await loop.insert(*(f"R{number}" for number in range(20)))
    carrier.gate.clear()
    for _ in range(3):
        await loop.engine.turn()
    await until(lambda: carrier.count("create") == 4, 5)
    leased = [row for row in await loop.rows() if row["lease_owner"]]
    assert len(leased) == 4
    carrier.gate.set()
    await loop.settle()


async def test_polls_are_read_ahead_by_half_of_the_places_and_no_more(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=8)
    await loop.insert(*(f"R{number}" for number in range(50)), state="tracking")
    carrier.gate.clear()
    for _ in range(3):
        await loop.engine.turn()
    await until(lambda: carrier.count("track") == 8, 5)
    assert len([row for row in await loop.rows() if row["lease_owner"]]) == 12
    carrier.gate.set()
    await loop.settle()
    assert carrier.most_at_once == 8


async def test_a_backlog_is_worked_off_without_waiting_for_ticks(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=4)
    await loop.insert(*(f"R{number}" for number in range(60)), state="tracking")
    writing = asyncio.create_task(loop.recorder.run())
    running = asyncio.create_task(loop.engine.run())
    await until(lambda: carrier.count("track") == 60, 15)  # the tick is an hour
    await loop.engine.drain()
    await running
    writing.cancel()
    assert {row["lease_owner"] for row in await loop.rows()} == {None}


@pytest.mark.parametrize(("backlog", "few"), [("tracking", "pending"), ("pending", "tracking")])
async def test_a_backlog_of_one_step_does_not_starve_another(
    database: Database, tmp_path: Path, backlog: str, few: str
) -> None:
    """Polls come first in one turn of ten, which three of those turns are for; the backlog alone takes fifty."""
    carrier, draw = ScriptedCarrier(), [0.0]
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=4, chance=lambda: draw[0])
    await loop.insert(*(f"MANY{number}" for number in range(200)), state=backlog)
    await loop.insert(*(f"FEW{number}" for number in range(10)), state=few)
    for turn in range(30):
        draw[0] = 0.05 if turn % 10 == 9 else 0.5
        await loop.turn()
    assert sum(name.startswith("FEW") for _, name in carrier.calls) == 10
    assert len(carrier.calls) < 210  # the backlog still is one


async def test_a_sick_carrier_costs_the_other_account_nothing(database: Database, tmp_path: Path) -> None:
    sick, well = ScriptedCarrier(), ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"sick": sick, "well": well})
    await loop.insert(*(f"S{number}" for number in range(30)), account="sick")
    await loop.insert(*(f"W{number}" for number in range(12)), account="well")
    sick.gate.clear()
    writing = asyncio.create_task(loop.recorder.run())
    running = asyncio.create_task(loop.engine.run())
    await until(lambda: well.count("create") == 12, 15)
    assert sick.count("create") == 4
    sick.gate.set()
    await loop.engine.drain()
    await running
    writing.cancel()


async def test_a_step_that_crashes_costs_the_others_nothing_and_is_held_after_five_claims(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})

    def track(reference: str) -> TrackingUpdate:
        if reference == "BAD":
            raise RuntimeError("a defect")
        return TrackingUpdate(TrackingStatus.DELIVERED, "Delivered")

    carrier.on_track = track
    await loop.insert("BAD", "GOOD", state="tracking")
    for _ in range(MAX_CLAIMS + 1):
        await loop.turn()
        await loop.execute("UPDATE return_order SET lease_until = created_at WHERE lease_until IS NOT NULL")
    bad, good = await loop.rows()
    assert (good["state"], good["tracking_status"]) == ("completed", "delivered")
    assert (bad["state"], bad["error_code"]) == ("needs_attention", "worker_crashed")
    assert carrier.calls.count(("track", "BAD")) == MAX_CLAIMS


async def test_a_row_whose_call_could_outlive_its_lease_is_handed_back(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=1)
    await loop.insert("FIRST", "SECOND", state="tracking")
    carrier.gate.clear()
    await loop.engine.turn()
    await until(lambda: carrier.count("track") == 1, 5)
    loop.now[0] += 68.0  # 22 s are left; a call may take 20 s, and 2.5 s must remain
    carrier.gate.set()
    await loop.settle()
    assert carrier.calls == [("track", "FIRST")]
    second = (await loop.rows())[1]
    assert (second["lease_owner"], second["claims"]) == (None, 0)


async def test_a_drain_hands_back_what_was_not_started_and_records_what_was(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=1)
    await loop.insert("FIRST", "SECOND", state="tracking")
    carrier.gate.clear()
    await loop.engine.turn()
    await until(lambda: carrier.count("track") == 1, 5)
    draining = asyncio.create_task(loop.engine.drain())
    await asyncio.sleep(0)
    carrier.gate.set()
    await draining
    first, second = await loop.rows()
    assert (first["tracking_status"], first["lease_owner"]) == ("in_transit", None)
    assert (second["tracking_status"], second["lease_owner"], second["claims"]) == (None, None, 0)


async def test_the_pace_bounds_what_is_sent_and_takes_creations_first(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=50, pace=Pace(60))
    await loop.insert(*(f"T{number}" for number in range(20)), state="tracking")
    await loop.insert(*(f"C{number}" for number in range(4)))
    for _ in range(3):
        await loop.turn()
    assert carrier.count("create") == 4
    assert len(carrier.calls) == Pace(60).burst


async def test_a_refused_key_stops_the_account_and_leaves_its_returns_as_they_were(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=1)

    def refuse(_: str) -> Created:
        raise Unauthorized("the carrier refused the key (401)")

    carrier.on_create = refuse
    await loop.insert("R1", "R2", "R3")
    for _ in range(4):
        await loop.turn()
    assert len(carrier.calls) == 1
    rows = await loop.rows()
    assert {(row["state"], row["attempts"], row["error_code"], row["create_started_at"]) for row in rows} == {
        ("pending", 0, None, None)
    }
    loop.accounts["default"].key_fingerprint = lambda: "another key"
    carrier.on_create = lambda reference: Created(f"N{reference}", None)
    for _ in range(4):
        await loop.turn()
    assert {row["state"] for row in await loop.rows()} == {"tracking"}


async def test_a_key_replaced_while_the_old_one_is_being_refused_is_tried(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})

    def refuse(_: str) -> Created:
        loop.accounts["default"].key_fingerprint = lambda: "the new key"
        carrier.on_create = lambda reference: Created(f"N{reference}", None, has_label=False)
        raise Unauthorized("the carrier refused the key (401)")

    carrier.on_create = refuse
    await loop.insert("R1")
    await loop.turn()
    await loop.turn()
    assert {row["state"] for row in await loop.rows()} == {"tracking"}


async def test_nothing_is_claimed_while_results_cannot_be_written(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("R1")
    loop.recorder.behind = 1
    running = asyncio.create_task(loop.engine.run())
    for _ in range(2):  # two looks; a turn would be followed by an hour's sleep
        loop.now[0] += 1
        await until(lambda: loop.engine.running.turned_at == loop.now[0], 5)
    assert not carrier.calls
    shown = loop.metrics.registry.get_sample_value("returns_worker_last_tick_timestamp_seconds")
    assert shown == pytest.approx(time.time(), abs=30)  # the loop turns, though it does nothing: no alert of a stall
    loop.recorder.behind = 0
    await until(lambda: carrier.calls, 5)
    await loop.engine.drain()
    await running


async def test_being_told_to_wait_holds_the_account_and_counts_no_attempt(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=1)

    def wait(_: str) -> Created:
        raise Throttled("the carrier asks to wait (429)", retry_after=timedelta(seconds=300))

    carrier.on_create = wait
    await loop.insert("R1", "R2")
    for _ in range(3):
        await loop.turn()
    assert len(carrier.calls) == 1
    assert {(row["state"], row["attempts"], row["create_started_at"]) for row in await loop.rows()} == {
        ("pending", 0, None)
    }


async def test_an_unknown_outcome_is_never_sent_again(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})

    def lose(_: str) -> Created:
        raise OutcomeUnknown("the connection was cut after the creation was sent")

    carrier.on_create = lose
    await loop.insert("R1")
    for _ in range(3):
        await loop.turn()
        await loop.execute("UPDATE return_order SET due_at = created_at, retry_requested_at = created_at")
    assert carrier.count("create") == 1
    (row,) = await loop.rows()
    assert (row["state"], row["error_code"]) == ("needs_attention", "create_outcome_unknown")
    assert row["create_started_at"] is not None


async def test_a_number_that_another_return_has_goes_to_a_person(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    carrier.on_create = lambda _: Created("SAME", None, has_label=False)
    await loop.insert("R1", "R2")
    await loop.turn()
    rows = await loop.rows()
    assert sorted(row["state"] for row in rows) == ["needs_attention", "tracking"]
    assert {row["error_code"] for row in rows if row["state"] == "needs_attention"} == {"carrier_ref_taken"}


async def test_a_withdrawal_asked_for_while_a_worker_holds_the_row_is_not_lost(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("R1", state="tracking")
    carrier.gate.clear()
    await loop.engine.turn()
    await until(lambda: carrier.count("track") == 1, 5)
    await loop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    carrier.gate.set()
    await loop.settle()
    (held,) = await loop.rows()
    assert (held["state"], held["cancel_requested_at"] is not None) == ("tracking", True)
    await loop.turn()
    (row,) = await loop.rows()
    assert row["state"] == "cancelled"
    assert carrier.count("track") == 1


async def test_outages_of_the_carrier_are_retried_uncounted(database: Database, tmp_path: Path) -> None:
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})

    def fail(_: str) -> TrackingUpdate:
        raise Unavailable("the carrier answered 500")

    carrier.on_track = fail
    await loop.insert("R1", state="tracking")
    for _ in range(20):
        await loop.turn()
        await loop.execute("UPDATE return_order SET due_at = created_at, track_due_at = created_at")
    (row,) = await loop.rows()
    assert (row["state"], row["attempts"], row["error_code"]) == ("tracking", 0, "carrier_error")
    assert row["failing_since"] is not None
    assert carrier.count("track") == 20


async def test_nothing_due_writes_nothing(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}, pace=Pace(60))
    await loop.insert("R1", state="tracking")
    await loop.turn()
    before = await _writes(database)
    for _ in range(5):
        await loop.turn()
    assert await _writes(database) == before


async def _writes(database: Database) -> object:
    """Something that changes with every write: the WAL's position, or SQLite's data version of the file."""
    from sqlalchemy import text

    if database.dialect == POSTGRESQL:
        written = text("SELECT pg_current_xact_id_if_assigned(), txid_snapshot_xmax(txid_current_snapshot())")
        return await database.reading(lambda connection: connection.execute(written).one())
    assert database.path is not None
    return Path(f"{database.path}-wal").stat().st_mtime_ns
