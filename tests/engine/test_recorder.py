"""What the recorder promises: nothing is lost while the database is away, and nothing is written twice."""

from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from tests.engine.scripted import ScriptedCarrier, make_loop
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.engine import recorder as recorder_module
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.records import record
from worker.store.schema import migrate


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


async def test_a_row_that_somebody_locks_keeps_neither_the_loop_nor_the_others_and_is_written_in_the_end(
    postgres_url: str, tmp_path: Path
) -> None:
    database = Database(postgres_url)
    await migrate(database)
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}, max_in_flight=10)
    await loop.insert("A", "B", "C", state="tracking")
    await loop.insert("D")
    loop.accounts["default"].carrier.gate.clear()  # type: ignore[attr-defined]
    await loop.engine.turn()
    shop = await asyncpg.connect(postgres_url)
    async with shop.transaction():
        await shop.execute("SELECT 1 FROM return_order WHERE reference IN ('B', 'D') FOR UPDATE")
        loop.accounts["default"].carrier.gate.set()  # type: ignore[attr-defined]
        await loop.settle()
        rows = {row["reference"]: row["lease_owner"] for row in await loop.rows()}
        assert rows == {"A": None, "B": "test", "C": None, "D": "test"}
        assert loop.recorder.behind == 0  # the loop goes on
        assert {before.reference for before, _ in loop.recorder.unrecorded} == {"B", "D"}
    await shop.close()
    await loop.recorder.finish()
    rows = {row["reference"]: row["state"] for row in await loop.rows()}
    assert rows == dict.fromkeys("ABCD", "tracking")
    assert loop.recorder.unrecorded == []
    assert loop.metrics.leases_lost._value.get() == 0
    await database.close()


async def _transitions(database: Database) -> int:
    from sqlalchemy import text

    lines = text("SELECT count(*) FROM status_transition")
    return int(await database.reading(lambda connection: connection.execute(lines).scalar_one()))
