"""A row that cannot be read is set aside for a person; the others go on, and nothing of it is lost or written over."""

import asyncio
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.databases import elsewhere, migrated, on_postgresql, on_sqlite
from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.postgres import PostgresServer
from tests.store.rows import LEASE, insert_tracked, now
from tests.store.shop import Shop
from worker.domain.by_hand import Person, retry
from worker.domain.lifecycle import Step
from worker.domain.policy import Policy
from worker.store import payloads
from worker.store.claims import Lane, claim, claim_seen
from worker.store.database import Database
from worker.store.payloads import LARGEST_PAYLOAD, read_payloads
from worker.store.upkeep.history import find_orders
from worker.usecases.desk import Desk

LARGE = '{"customer": "' + "x" * LARGEST_PAYLOAD + '"}'
ME = Person("me")


async def _as_before_the_bound(shop: Shop, reference: str, payload: str, **columns: Any) -> None:
    """A row that was there before the triggers were, or got past what refuses it today."""
    values: dict[str, Any] = {"reference": reference, "payload": payload} | columns
    insert = (
        f"INSERT INTO return_order ({', '.join(values)})"
        f" VALUES ({', '.join(f'${number}' for number in range(1, len(values) + 1))})"
    )
    if shop.sqlite:
        await shop.run("DROP TRIGGER IF EXISTS return_order_payload_size_insert")
        await shop.run("PRAGMA ignore_check_constraints = ON")
    else:
        await shop.run("SET session_replication_role = replica")
    await shop.run(insert, *values.values())
    await shop.run("PRAGMA ignore_check_constraints = OFF" if shop.sqlite else "SET session_replication_role = origin")


async def _worked_off(database: Database, folder: Path, **options: Any) -> Loop:
    loop = await make_loop(database, folder, {"default": ScriptedCarrier()}, max_in_flight=8, **options)
    writing = asyncio.create_task(loop.recorder.run())
    await asyncio.wait_for(loop.engine.run(until_idle=True), 30)
    await loop.recorder.finish()
    writing.cancel()
    return loop


def _ends(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[str, str | None]]:
    return {row["reference"]: (row["state"], row["error_code"]) for row in rows}


PARKED = ("needs_attention", "unreadable_row")
MADE = ("tracking", None)


async def test_a_payload_that_is_too_large_parks_its_row_and_no_other(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R-1")
    await _as_before_the_bound(shop, "LARGE", LARGE)
    await loop.insert("R-2")
    loop = await _worked_off(database, tmp_path)
    rows = await loop.rows("id, reference, state, error_code, error_message, lease_owner, due_at")
    assert _ends(rows) == {"R-1": MADE, "LARGE": PARKED, "R-2": MADE}
    large = next(row for row in rows if row["reference"] == "LARGE")
    assert large["error_message"] == "its payload is larger than 1,000,000 bytes of JSON text"
    assert (large["lease_owner"], large["due_at"]) == (None, None)
    (line,) = await shop.transitions(large["id"])
    assert (line["old_value"], line["new_value"]) == ("pending", "needs_attention")


async def test_a_label_whose_payload_cannot_be_read_is_not_sought_and_its_return_is_followed(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await _as_before_the_bound(shop, "LARGE", LARGE, state="tracking", next_step="label", carrier_ref="9RET1")
    await shop.run(f"UPDATE return_order SET label_due_at = {shop.moment(-5)}, track_due_at = {shop.moment(-1)}")
    (row,) = await (await _worked_off(database, tmp_path)).rows()
    assert (row["state"], row["label_error_code"], row["label_due_at"]) == ("tracking", "unreadable_row", None)
    assert row["tracking_status"] == "in_transit"


async def test_a_withdrawal_needs_no_payload(database: Database, shop: Shop, tmp_path: Path) -> None:
    await _as_before_the_bound(shop, "LARGE", LARGE)
    await shop.run(f"UPDATE return_order SET cancel_requested_at = {shop.moment()}")
    assert _ends(await (await _worked_off(database, tmp_path)).rows()) == {"LARGE": ("cancelled", None)}


async def test_a_payload_is_mended_where_it_was_set_aside_and_then_it_is_created(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await _as_before_the_bound(shop, "LARGE", LARGE)
    await _worked_off(database, tmp_path)
    await shop.run("UPDATE return_order SET payload = '{}'")
    desk = Desk(database, ME, lambda _: Policy(), "me")
    (settled,) = await desk.settle([await shop.value("SELECT id FROM return_order")], retry)
    assert settled.outcome.order.state == "pending"
    assert _ends(await (await _worked_off(database, tmp_path)).rows()) == {"LARGE": MADE}


MOMENTS = {
    "sqlite": [("first_attempt_at", "0000-01-01 00:00:00"), ("status_since", "soon"), ("created_at", "-4713-11-24")],
    "postgresql": [
        ("status_since", "infinity"),
        ("status_since", "-infinity"),
        ("status_since", "0044-03-15 12:00:00+00 BC"),
        ("status_since", "294276-01-01 00:00:00+00"),
    ],
}


async def _without_checks(shop: Shop) -> None:
    """What an owner, or a program that switched them off, can do."""
    drop = "ALTER TABLE return_order DROP CONSTRAINT return_order_status_since_form_check"
    await shop.run("PRAGMA ignore_check_constraints = ON" if shop.sqlite else drop)


@pytest.mark.usefixtures("own_database")
async def test_a_moment_that_cannot_be_parks_its_row_and_stays_what_it_is(
    database: Database, shop: Shop, tmp_path: Path, kind: str
) -> None:
    """It would mean another thing if it were forgotten: how far a look-up goes back, for one."""
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R-1", *(f"{column}-{number}" for number, (column, _) in enumerate(MOMENTS[kind])))
    await _without_checks(shop)
    for number, (column, moment) in enumerate(MOMENTS[kind]):
        await shop.run(f"UPDATE return_order SET {column} = '{moment}' WHERE reference = '{column}-{number}'")
    loop = await _worked_off(database, tmp_path)
    for number, (column, moment) in enumerate(MOMENTS[kind]):
        columns = f"state, error_code, error_message, {column} = '{moment}' AS kept"
        row = await shop.row(f"SELECT {columns} FROM return_order WHERE reference = '{column}-{number}'")
        assert (row["state"], row["error_code"], bool(row["kept"])) == (*PARKED, True), (column, moment)
        assert f"what stands in {column} cannot be read" in row["error_message"]
    assert await shop.value("SELECT state FROM return_order WHERE reference = 'R-1'") == "tracking"


@pytest.mark.usefixtures("own_database")
async def test_a_person_is_told_what_to_set_right_and_nothing_is_done_to_such_a_row(
    database: Database, shop: Shop, tmp_path: Path, kind: str
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R-1")
    column, moment = MOMENTS[kind][0]
    await _without_checks(shop)
    await shop.run(f"UPDATE return_order SET {column} = '{moment}'")
    await _worked_off(database, tmp_path)
    desk = Desk(database, ME, lambda _: Policy(), "me", patience=0)
    order_id = await shop.value("SELECT id FROM return_order")
    (settled,) = await desk.settle([order_id], retry)
    assert f"what stands in {column} cannot be read" in settled.outcome.reason
    good = "now()" if not shop.sqlite else "'2026-01-01 00:00:00'"
    await shop.run(f"UPDATE return_order SET {column} = {good}")
    (settled,) = await desk.settle([order_id], retry)
    assert settled.outcome.order.state == "pending"


HALF_BROKEN = ('{"customer": {"name": "A', "", "[1, 2", '{"a": "\\ud800"}', b"\x00\xff", b'{"a": "\xff"}')


@on_sqlite
async def test_half_a_json_document_stops_nobody(database: Database, shop: Shop, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await loop.insert("R-1")
    for number, payload in enumerate(HALF_BROKEN):
        await _as_before_the_bound(shop, f"P-{number}", payload)
        await _as_before_the_bound(
            shop, f"T-{number}", payload, state="tracking", next_step="track", carrier_ref=number
        )
    states = {row["reference"]: row["state"] for row in await (await _worked_off(database, tmp_path)).rows()}
    assert set(states.values()) == {"tracking"}  # a payload that is no JSON is the adapter's to reject


async def test_a_byte_that_is_no_utf_8_stops_nobody(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """No start is made on a database that keeps whatever it is given; what else may come to stand there is met."""
    url = postgres_server.create_database()
    await asyncio.to_thread(elsewhere, migrated(url))
    async with Shop.at(url) as shop:
        unencoded = "UPDATE pg_database SET encoding = pg_char_to_encoding('SQL_ASCII') WHERE datname ="
        await shop.run(f"{unencoded} current_database()")
    async with Shop.at(url) as shop:
        for statement in (
            "INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')",
            "INSERT INTO return_order (reference, payload) VALUES (E'R-\\xff', E'{\"a\": \"\\xff\"}')",
        ):
            await shop.run(statement)
    database = Database(url)
    rows = await (await _worked_off(database, tmp_path)).rows("state, error_code")
    assert [order.reference for order in await find_orders(database)] == ["(id 2)", "R-1"]
    await database.close()
    assert [(row["state"], row["error_code"]) for row in rows] == [MADE, PARKED]
    postgres_server.drop_database(url)


async def test_a_claim_reads_no_more_than_its_bound(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is handed back, and taken by the next one; of what is too large not a byte is read."""
    monkeypatch.setattr(payloads, "_BUDGET", 1_000_000)
    monkeypatch.setattr(payloads, "_AT_ONCE", 3)
    for number in range(3):
        await _as_before_the_bound(shop, f"LARGE-{number}", '{"a": "' + "x" * 5_000_000 + '"}')
    text = '{"a": "' + "x" * 100_000 + '"}'
    for number in range(20):
        await shop.run("INSERT INTO return_order (reference, payload) VALUES ($1, $2)", f"R-{number}", text)
    claimed = await claim(database, [Lane("default", Step.CREATE, 100)], "worker-1", LEASE)
    tracemalloc.start()
    taken = await read_payloads(database, claimed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(taken) == 23
    assert sum(each.order.payload_unreadable is not None for each in taken) == 3
    assert 10 <= sum(each.order.payload is not None for each in taken) <= 12
    assert peak < 4_000_000


@pytest.mark.long
@pytest.mark.usefixtures("own_database")
@pytest.mark.parametrize(
    "payload",
    [
        "jsonb_build_object('a', repeat(chr(1), 200000000))",  # its text has 1.2 GB
        "jsonb_build_object('a', (SELECT jsonb_agg(1e131071) FROM generate_series(1, 9000)))",  # the same, in 110 kB
    ],
    ids=["control characters", "numbers"],
)
@on_postgresql
async def test_what_the_server_itself_cannot_write_out_is_set_aside(
    database: Database, shop: Shop, tmp_path: Path, payload: str
) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    await shop.run("SET session_replication_role = replica")
    for number in range(3):
        await shop.run(f"INSERT INTO return_order (reference, payload) VALUES ('LARGE-{number}', {payload})")
    await loop.insert("R-1")
    rows = await (await _worked_off(database, tmp_path)).rows("reference, state, error_code, claims")
    assert _ends(rows) == {"LARGE-0": PARKED, "LARGE-1": PARKED, "LARGE-2": PARKED, "R-1": MADE}


@pytest.mark.long
@pytest.mark.usefixtures("own_database")
@on_postgresql
async def test_twelve_rows_of_sixty_megabytes_take_neither_memory_nor_time(database: Database, shop: Shop) -> None:
    """They took 1.6 GB and a minute, of everybody."""
    await shop.run("SET session_replication_role = replica")
    await shop.run(
        "INSERT INTO return_order (reference, payload)"
        " SELECT 'LARGE-' || n, jsonb_build_object('a', repeat('x' || n, 30000000)) FROM generate_series(1, 12) n"
    )
    tracemalloc.start()
    began = time.monotonic()
    taken = await read_payloads(database, await claim(database, [Lane("default", Step.CREATE, 12)], "w", LEASE))
    assert time.monotonic() - began < 10
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert [each.order.payload_unreadable for each in taken] == [payloads.TOO_LARGE] * 12


@pytest.mark.usefixtures("own_database")
@on_postgresql
async def test_a_row_whose_storage_is_damaged_costs_a_sweep_no_other(database: Database, shop: Shop) -> None:
    good, bad = await insert_tracked(shop, "R-1"), await insert_tracked(shop, "R-2")
    await shop.run("ALTER TABLE return_order ALTER error_message SET STORAGE EXTERNAL")
    await shop.run(f"UPDATE return_order SET error_message = repeat('x', 100000) WHERE id = {bad}")
    # What was stored apart is gone.
    table = "SELECT reltoastrelid FROM pg_class WHERE oid = CAST('return_order' AS regclass)"
    await shop.run(f"DELETE FROM pg_class WHERE oid = ({table})")
    claimed = await claim_seen(database, "default", ["NR-R-1", "NR-R-2"], now(seconds=5), "worker-1", LEASE)
    assert [each.order.id for each in claimed] == [good]
