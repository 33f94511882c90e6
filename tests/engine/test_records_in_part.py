"""A creation's number is written down whatever else its answer holds; what could not be kept is said in the history."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.databases import on_postgresql
from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.process.running import until
from worker.carriers.port import Refused
from worker.domain.outcomes import Created
from worker.domain.returns import PackageInfo
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.engine import recorder as recorder_module
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.records import record

# 1024 characters of four bytes each, which do not compress: more than an entry of PostgreSQL's btree may hold.
_LONG = "".join(map(chr, random.Random(16).sample(range(0x20000, 0x2A6D0), 1024)))
# Deeper than max_stack_depth lets PostgreSQL read; at a fifth of it, it depends on the server's build and on Python.
_DEEP = "[" * 50_000 + "]" * 50_000

_UNSTORABLE: dict[str, dict[str, Any]] = {
    "no_position": {"packages": (PackageInfo(0, "A"),)},
    "a_position_that_is_none": {"packages": (PackageInfo(None, "A"),)},  # type: ignore[arg-type]
}
_UNSTORABLE_ON_POSTGRESQL: dict[str, dict[str, Any]] = {
    "no_json": {"raw": "no JSON"},
    "too_deep": {"raw": _DEEP},
    "a_number_beyond_json": {"raw": '{"price": 1e400000}'},
    "a_code_beyond_an_index": {"packages": (PackageInfo(1, _LONG),)},
    "a_position_beyond_an_integer": {"packages": (PackageInfo(10**30, "A"),)},
    "twice_one_position": {"packages": (PackageInfo(1, "A"), PackageInfo(1, "B"))},
}
_ODD: dict[str, dict[str, Any]] = {
    "half_a_surrogate_pair": {"raw": '{"a": "\\ud800"}', "return_url": "https://x/\ud800", "packages": ()},
    "nul": {"raw": '{"a": "\\u0000"}', "packages": (PackageInfo(1, "A\x00", "\x00"),)},
    "megabytes": {"return_url": "https://x/" + "é" * 3_000_000, "packages": (PackageInfo(1, "A", "x" * 5_000_000),)},
}


def _answers(**changes: Any) -> ScriptedCarrier:
    carrier = ScriptedCarrier()
    carrier.on_create = lambda reference: Created(
        f"N{reference}", None, **{"has_label": False, "raw": '{"ok": 1}', **(changes if reference == "BAD" else {})}
    )
    return carrier


async def _created(database: Database, folder: Path, **changes: Any) -> Loop:
    loop = await make_loop(database, folder, {"default": _answers(**changes)})
    await loop.insert("BAD", "GOOD")
    await loop.turn()
    return loop


async def _history(database: Database, reference: str = "BAD") -> list[dict[str, Any]]:
    lines = text(
        "SELECT t.* FROM status_transition t JOIN return_order o ON o.id = t.return_order_id"
        " WHERE o.reference = :reference ORDER BY t.id"
    ).bindparams(reference=reference)
    rows = await database.reading(lambda connection: connection.execute(lines).mappings().all())
    return [dict(row) for row in rows]


async def _assert_followed(loop: Loop, *, in_part: bool = True) -> None:
    """Number and state stand, the lease has ended, nothing was sent again, and the history says what is missing."""
    rows = {row["reference"]: row for row in await loop.rows()}
    for reference in ("BAD", "GOOD"):
        row = rows[reference]
        assert (row["state"], row["carrier_ref"]) == ("tracking", f"N{reference}")
        assert (row["lease_owner"], row["error_code"], row["next_step"]) == (None, None, "track")
        assert row["due_at"] is not None
    carrier = loop.accounts["default"].carrier
    assert isinstance(carrier, ScriptedCarrier)
    assert carrier.count("create") == 2
    states = [line for line in await _history(loop.database) if line["field"] == "state"]
    assert [(line["old_value"], line["new_value"]) for line in states] == [("pending", "tracking")]
    assert states[0]["reason"].startswith("created at the carrier")
    assert ("could not be kept" in states[0]["reason"]) is in_part
    assert (states[0]["raw"] is None) is in_part
    assert loop.recorder.unrecorded == []


@pytest.mark.parametrize("what", _UNSTORABLE)
async def test_the_record_of_a_creation_cannot_fail_for_what_is_optional(
    database: Database, tmp_path: Path, what: str
) -> None:
    # Given a pending return, whose creation is answered with a number and something that no database takes
    loop = await _created(database, tmp_path, **_UNSTORABLE[what])
    # Then its number and state stand, and nothing else is lost in silence
    await _assert_followed(loop)


@on_postgresql
@pytest.mark.parametrize("what", _UNSTORABLE_ON_POSTGRESQL)
async def test_nor_for_what_postgresql_alone_refuses(database: Database, tmp_path: Path, what: str) -> None:
    await _assert_followed(await _created(database, tmp_path, **_UNSTORABLE_ON_POSTGRESQL[what]))


@pytest.mark.parametrize("what", _ODD)
async def test_odd_and_large_texts_are_kept_as_far_as_they_can_be(
    database: Database, tmp_path: Path, what: str
) -> None:
    await _assert_followed(await _created(database, tmp_path, **_ODD[what]), in_part=False)


@pytest.mark.usefixtures("own_database")
@on_postgresql
async def test_a_rule_that_somebody_added_does_not_cost_a_creation_its_number(
    database: Database, tmp_path: Path
) -> None:
    loop = await make_loop(database, tmp_path, {"default": _answers(packages=(PackageInfo(1, "", "x"),))})
    await loop.execute("ALTER TABLE package ADD CONSTRAINT tidy CHECK (label_code <> '')")
    await loop.insert("BAD", "GOOD")
    await loop.turn()
    await _assert_followed(loop)


@pytest.mark.usefixtures("own_database")
@on_postgresql
async def test_a_refusal_whose_words_cannot_be_stored_is_a_refusal_all_the_same(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()

    def refuse(reference: str) -> Created:
        raise Refused("the carrier answered 400: \u0141 is no city", raw='{"city": "\u0141\u00f3d\u017a"}')

    carrier.on_create = refuse
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.execute("ALTER TABLE return_order ADD CONSTRAINT plain CHECK (error_message ~ '^[ -~]*$')")
    await loop.insert("BAD")
    await loop.turn()
    (row,) = await loop.rows()
    assert (row["state"], row["error_code"], row["lease_owner"]) == ("rejected", "carrier_refused", None)
    assert row["error_message"] == "the carrier answered 400: \\u0141 is no city"


@on_postgresql
async def test_a_poll_that_cannot_be_written_whole_is_written_in_part_and_costs_the_others_of_its_batch_nothing(
    database: Database, tmp_path: Path
) -> None:
    carrier = ScriptedCarrier()
    carrier.on_track = lambda reference: TrackingUpdate(
        TrackingStatus.IN_TRANSIT, "OnItsWay", None, _DEEP if reference == "BAD" else "{}"
    )
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=10)
    await loop.insert("A", "BAD", "C", state="tracking")
    await loop.turn()
    rows = await loop.rows()
    assert [(row["tracking_status"], row["lease_owner"]) for row in rows] == [("in_transit", None)] * 3
    (line,) = await _history(database)
    assert (line["carrier_status"], line["raw"]) == ("OnItsWay", None)
    assert "could not be kept" in line["reason"]


@on_postgresql
async def test_a_row_that_was_locked_meanwhile_is_written_in_part_too(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    del postgres_url
    loop = await make_loop(database, tmp_path, {"default": _answers(raw="no JSON")})
    await loop.insert("BAD", "GOOD")
    carrier = loop.accounts["default"].carrier
    assert isinstance(carrier, ScriptedCarrier)
    carrier.gate.clear()
    await loop.engine.turn()
    await until(lambda: carrier.count("create") == 2, 10)  # the intents are committed, and no answer has come
    async with AsyncEngine(database.engine).connect() as shop:
        await shop.execute(text("SELECT 1 FROM return_order WHERE reference = 'BAD' FOR UPDATE"))
        carrier.gate.set()
        await loop.settle()
        await shop.rollback()
    await loop.recorder.finish()
    await _assert_followed(loop)


async def test_a_record_in_part_is_fenced_as_any_other(database: Database, tmp_path: Path) -> None:
    # Given a creation whose answer cannot be stored whole, and whose return somebody else has taken meanwhile
    carrier = _answers(**_UNSTORABLE["no_position"])
    loop = await make_loop(database, tmp_path, {"default": carrier})
    await loop.insert("BAD")
    carrier.gate.clear()
    await loop.engine.turn()
    await until(lambda: carrier.count("create") == 1, 10)
    await loop.execute("UPDATE return_order SET lease_token = lease_token + 1")
    carrier.gate.set()
    await loop.settle()
    # Then nothing of it is written, and the number is said
    (row,) = await loop.rows()
    assert (row["state"], row["carrier_ref"], row["lease_owner"]) == ("pending", None, "test")
    assert await _history(database) == []
    assert loop.metrics.leases_lost._value.get() == 1


async def test_a_database_that_goes_away_between_the_whole_and_the_part_is_waited_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[bool] = []

    async def away_for_the_part(to: Database, made: Any) -> set[int]:
        ((before, decision),) = made
        tries.append(bool(decision.packages))
        if before.reference == "BAD" and len(tries) == 2:
            raise DatabaseUnavailable("the disk is full")
        return await record(to, made)

    monkeypatch.setattr(recorder_module, "record", away_for_the_part)
    loop = await make_loop(database, tmp_path, {"default": _answers(**_UNSTORABLE["no_position"])}, max_in_flight=1)
    await loop.insert("BAD")
    await loop.turn()
    assert tries == [True, False, True, False]
    (row,) = await loop.rows()
    assert (row["state"], row["carrier_ref"]) == ("tracking", "NBAD")


async def test_a_number_that_another_return_has_is_noticed_in_part_too(database: Database, tmp_path: Path) -> None:
    loop = await _created(database, tmp_path, **_UNSTORABLE["no_position"])
    carrier = loop.accounts["default"].carrier
    assert isinstance(carrier, ScriptedCarrier)
    carrier.on_create = lambda _: Created("NGOOD", None, has_label=False, **_UNSTORABLE["no_position"])
    await loop.insert("SAME")
    await loop.turn()
    row = (await loop.rows())[-1]
    assert (row["state"], row["error_code"], row["carrier_ref"]) == ("needs_attention", "carrier_ref_taken", None)


@on_postgresql
async def test_what_a_refused_row_quotes_is_not_taken_for_a_number_that_is_taken(
    database: Database, tmp_path: Path
) -> None:
    """PostgreSQL's detail of a broken rule holds the row, and so the carrier's words."""
    await _assert_followed(await _created(database, tmp_path, packages=(PackageInfo(0, "carrier_ref"),)))


@on_postgresql
@pytest.mark.usefixtures("own_database")
async def test_a_rule_that_is_asked_at_the_commit_costs_its_row_alone_and_is_no_outage(
    database: Database, tmp_path: Path
) -> None:
    """A shop's deferred constraint trigger; a request is answered in a transaction of several statements."""
    loop = await make_loop(database, tmp_path, {"default": _answers()})
    await loop.insert("BAD", "GOOD", state="tracking")
    await loop.execute("UPDATE return_order SET retry_requested_at = now()")
    await loop.execute(
        "CREATE FUNCTION shop_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it stays'; END $$"
    )
    await loop.execute(
        "CREATE CONSTRAINT TRIGGER shop_rule AFTER UPDATE OF retry_requested_at ON return_order"
        " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.reference = 'BAD') EXECUTE FUNCTION shop_rule()"
    )
    async with asyncio.timeout(10):
        await loop.turn()
    asked = {row["reference"]: row["retry_requested_at"] is not None for row in await loop.rows()}
    assert asked == {"BAD": True, "GOOD": False}
    assert loop.recorder.unrecorded == []
