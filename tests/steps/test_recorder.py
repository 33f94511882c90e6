"""What the recorder promises: nothing is lost while the database is away, and nothing is written twice."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.steps.scripted import ScriptedCarrier, make_loop
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.steps import recorder as recorder_module
from worker.store.database import Database, DatabaseUnavailable
from worker.store.records import record


async def test_a_commit_whose_answer_got_lost_is_recognised_and_makes_no_second_history(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def cut_after_commit(*arguments: object) -> set[int]:
        tries.append(1)
        written = await record(*arguments)  # type: ignore[arg-type]
        if len(tries) == 1:
            raise DatabaseUnavailable("the connection was cut")
        return written

    monkeypatch.setattr(recorder_module, "record", cut_after_commit)
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R1", "R2", state="tracking")
    await loop.turn()
    assert len(tries) == 2
    assert {row["tracking_status"] for row in await loop.rows()} == {"in_transit"}
    assert await _transitions(loop.database) == 2
    assert loop.metrics.leases_lost._value.get() == 0


async def test_results_wait_for_a_database_that_is_away(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def away_at_first(*arguments: object) -> set[int]:
        tries.append(1)
        if len(tries) < 4:
            raise DatabaseUnavailable("it is away")
        return await record(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder_module, "record", away_at_first)
    carrier = ScriptedCarrier()
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("R1")
    await loop.turn()
    (row,) = await loop.rows()
    assert (row["state"], row["carrier_ref"]) == ("tracking", "NR1")
    assert carrier.count("create") == 1


async def test_a_row_that_cannot_be_written_costs_the_others_of_its_batch_nothing(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()

    def track(reference: str) -> TrackingUpdate:
        # No adapter lets such a time through; were it to happen, neither database could store it.
        time = datetime(1, 1, 1, tzinfo=UTC)
        raw = "no JSON" if reference == "BAD" else "{}"
        return TrackingUpdate(TrackingStatus.IN_TRANSIT, "OnItsWay", time, raw)

    carrier.on_track = track
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=10)
    await loop.insert("A", "BAD", "C", state="tracking")
    await loop.turn()
    rows = {row["reference"]: row["tracking_status"] for row in await loop.rows()}
    assert (rows["A"], rows["C"]) == ("in_transit", "in_transit")


async def _transitions(database: Database) -> int:
    from sqlalchemy import text

    async with database.reading() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM status_transition"))).scalar_one())
