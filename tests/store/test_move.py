"""A SQLite database comes to PostgreSQL whole, whatever is in it, or not at all."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.conftest import Open
from tests.store.moving import (
    EVENT,
    EVENT_VALUES,
    INSERT,
    MOMENT,
    PLACE,
    everything,
    fill,
    has_arrived,
    is_retired,
    move,
)
from tests.store.shop import Shop
from worker.store.accounts import register_accounts
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.restores import DatabaseMoved, declare_restored, settle_place
from worker.store.schema import SchemaState, migrate, schema_state
from worker.store.upkeep.move import CopyRefused, RowsRefused, copy_to
from worker.store.upkeep.move.rows import SHARED, Unfit, document
from worker.store.upkeep.move.source import Source
from worker.store.upkeep.move.target import Target

_LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=20)


pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


@pytest.fixture
def source(opened: Open, url: str) -> Database:
    database = opened(url)
    database.hold_file()
    return database


@pytest.fixture
def target(opened: Open, postgres_url: str) -> Database:
    return opened(postgres_url)


async def test_everything_arrives_as_it_was_and_new_rows_get_new_ids(
    source: Database, target: Database, postgres_url: str, shop: Shop, tmp_path: Path
) -> None:
    fill(tmp_path / "returns.db")
    before = await everything(shop)
    copied = await move(source, target)
    assert {name: len(rows) for name, rows in before.items()} == copied.counts
    assert copied.changed == []
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == before
        new = await there.value("INSERT INTO return_order (reference, payload) VALUES ('NEW', '{}') RETURNING id")
        assert new == 52
        line = "INSERT INTO status_transition (return_order_id, field) VALUES (52, 'state') RETURNING id"
        assert await there.value(line) == 901  # 900 was deleted, and is never given again
        event = f"INSERT INTO return_event ({EVENT[4:]}) VALUES ('shop', {EVENT_VALUES}) RETURNING id"
        assert await there.value(event.replace(f"'{MOMENT}'", "now()")) == 71
    assert await shop.value("SELECT moved_to FROM database_place") == PLACE
    assert await settle_place(target) is False


async def test_the_retired_file_refuses_the_shop_a_worker_and_a_command_that_is_under_way(
    source: Database, target: Database, shop: Shop, tmp_path: Path
) -> None:
    fill(tmp_path / "returns.db")
    await move(source, target)
    for statement in (
        "INSERT INTO return_order (reference, payload) VALUES ('R', '{}')",
        "UPDATE return_order SET payload = '{}' WHERE state = 'rejected'",
        "UPDATE return_order SET retry_requested_at = datetime('now')",
        "UPDATE return_order SET lease_token = lease_token + 1",
        "DELETE FROM return_event",  # who reads there would miss what is new
    ):
        with pytest.raises(sqlite3.IntegrityError, match="have moved to another database"):
            await shop.run(statement)


async def test_a_doubt_goes_along_and_no_false_one_arises(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    await declare_restored(source)
    since = await shop.value("SELECT restored_at FROM database_place")
    await move(source, target)
    assert await settle_place(target) is False
    async with Shop.at(postgres_url) as there:
        restored_at = await there.value("SELECT restored_at FROM database_place")
        assert restored_at == datetime.fromisoformat(since).replace(tzinfo=UTC)


async def test_a_copied_file_that_no_worker_has_seen_yet_is_noticed_before_it_moves(
    opened: Open, source: Database, target: Database, postgres_url: str, tmp_path: Path
) -> None:
    await settle_place(source)
    fill(tmp_path / "returns.db")
    connection = sqlite3.connect(tmp_path / "returns.db")
    connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    connection.close()
    copy = opened(f"sqlite:///{tmp_path}/copy.db")
    copy.hold_file()
    await move(copy, target)
    async with Shop.at(postgres_url) as there:
        assert await there.value("SELECT restored_at FROM database_place") is not None


async def test_a_dry_run_does_it_all_and_changes_nothing(
    source: Database, target: Database, shop: Shop, tmp_path: Path
) -> None:
    fill(tmp_path / "returns.db")
    copied = await move(source, target, dry_run=True)
    assert copied.counts["return_order"] == 6
    assert await schema_state(target) is SchemaState.MISSING
    assert not await is_retired(shop)
    await shop.run(INSERT)


async def test_a_dry_run_copies_one_moment_while_the_shop_goes_on(
    source: Database, target: Database, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "returns.db")
    put = Target.put

    async def late(self: Target, *words: Any) -> Any:
        await shop.run("INSERT INTO return_order (reference, payload) VALUES (hex(randomblob(9)), '{}')")
        return await put(self, *words)

    monkeypatch.setattr(Target, "put", late)
    copied = await move(source, target, dry_run=True)
    assert copied.counts["return_order"] == 6
    assert await shop.value("SELECT count(*) FROM return_order") > 6


ODD = [
    ("reference", "'R' || char(0) || 'x'", "return_order 1: reference holds a NUL character"),
    ("reference", "CAST(x'52ff' AS text)", "return_order 1: reference holds bytes that are not UTF-8"),
    ("carrier_status", "x'00ff'", "return_order 1: carrier_status is no text"),
    ("attempts", "3000000000", "return_order 1: attempts is no whole number of 32 bits"),
    ("lease_token", "9223372036854775808", "return_order 1: lease_token is no whole number of 64 bits"),
    ("updated_at", "'yesterday'", "return_order 1: updated_at is no moment"),
    ("payload", "'{\"n\": 1e400000}'", "return_order 1: PostgreSQL refuses it: value overflows"),
    (
        "reference",
        "hex(randomblob(9000))",
        "PostgreSQL refuses it: index row",
    ),
]


@pytest.mark.parametrize(("column", "value", "said"), ODD, ids=[f"{odd[0]}-{odd[2][-12:]}" for odd in ODD])
async def test_a_row_that_postgresql_cannot_keep_is_named_and_nothing_is_copied(
    source: Database, target: Database, shop: Shop, column: str, value: str, said: str
) -> None:
    await settle_place(source)
    values = {"reference": "'R'", "payload": "'{}'"} | {column: value}
    await shop.run(f"INSERT INTO return_order ({', '.join(values)}) VALUES ({', '.join(values.values())})")
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('GOOD', '{}')")
    with pytest.raises(RowsRefused, match=said) as refused:
        await move(source, target)
    assert len(refused.value.problems) == 1
    assert await schema_state(target) is SchemaState.MISSING
    assert await settle_place(source) is False
    await shop.run("DELETE FROM return_order WHERE id = 1")
    assert (await move(source, target)).counts["return_order"] == 1


async def test_every_row_that_cannot_be_kept_is_named_in_whichever_table(
    source: Database, target: Database, shop: Shop
) -> None:
    await shop.run("INSERT INTO return_order (id, reference, payload) VALUES (1, 'R', '{}')")
    for position, code in enumerate(("'A' || char(0)", "'B'", "'C' || char(0)"), 1):
        await shop.run(f"INSERT INTO package (return_order_id, position, label_code) VALUES (1, {position}, {code})")
    await shop.run("INSERT INTO carrier_account (name, hold_message) VALUES ('default', x'ff')")
    with pytest.raises(RowsRefused) as refused:
        await move(source, target)
    assert refused.value.problems == [
        "package 1: label_code holds a NUL character",
        "package 3: label_code holds a NUL character",
        "carrier_account default: hold_message is no text",
    ]


async def test_a_row_that_is_read_back_differently_is_named(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await migrate(target)
    await shop.run("INSERT INTO return_order (id, reference, payload) VALUES (7, 'R', '{\"n\": 1}')")
    async with Shop.at(postgres_url) as there:
        await there.run("""CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
          $$BEGIN NEW.payload := '{"n": 2}'; RETURN NEW; END$$""")
        await there.run("CREATE TRIGGER meddle BEFORE INSERT ON return_order FOR EACH ROW EXECUTE FUNCTION meddle()")
        with pytest.raises(RowsRefused, match="return_order 7: PostgreSQL does not keep it as it is"):
            await move(source, target)
        assert await there.fetch("SELECT * FROM return_order") == []
    assert not await is_retired(shop)


async def test_rows_that_belong_to_no_return_are_named_before_the_file_is_retired(
    source: Database, target: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Source, "retire")
    await shop.run("PRAGMA foreign_keys = OFF")
    await shop.run("INSERT INTO package (return_order_id, position) VALUES (7, 1)")
    with pytest.raises(RowsRefused, match="package 1: belongs to no return"):
        await move(source, target)


async def test_what_json_in_postgresql_cannot_say_is_replaced_and_named(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    payload = rb'{"a": "x\u0000y\\u0000", "b": "\ud83c\udf81\ud800", "c": "' + b'\xff"}'
    shop.connection.execute("INSERT INTO return_order (reference, payload) VALUES ('R', CAST(? AS text))", (payload,))
    await shop.run("INSERT INTO status_transition (return_order_id, field, raw) VALUES (1, 'state', '{\"n\": NaN}')")
    copied = await move(source, target)
    assert copied.changed == ["return_order 1: payload", "status_transition 1: raw"]
    async with Shop.at(postgres_url) as there:
        kept = json.loads(await there.value("SELECT payload FROM return_order"))
        assert kept == {"a": "x\ufffdy\\u0000", "b": "🎁\ufffd", "c": "\ufffd"}
        assert json.loads(await there.value("SELECT raw FROM status_transition")) == {"text": '{"n": NaN}'}


@given(st.recursive(_LEAF, lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_document_says_the_same_but_for_what_cannot_be_said(kind: str, value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        fitted = document(text)
        clean = json.loads(text.replace("\\u0000", "\\ufffd")) if "\\\\" not in text else None
        if clean is not None:
            assert json.loads(fitted) == clean
        assert "\x00" not in fitted
    with pytest.raises(Unfit):
        document("{} \x00")


async def test_the_shop_is_refused_before_anything_is_copied(
    source: Database, target: Database, postgres_url: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "returns.db")
    put = Target.put

    async def watched(self: Target, *words: Any) -> Any:
        with pytest.raises(sqlite3.IntegrityError, match="have moved to another database"):
            await shop.run(INSERT)
        return await put(self, *words)

    monkeypatch.setattr(Target, "put", watched)
    await move(source, target)
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == await everything(shop)


async def test_what_a_worker_noted_of_an_account_there_gives_way_and_other_accounts_stay(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await migrate(target)
    await register_accounts(target, ["default", "other"])
    await shop.run(f"INSERT INTO {SHARED[0].name} (name, hold_message) VALUES ('default', 'the moved one')")
    await move(source, target)
    async with Shop.at(postgres_url) as there:
        found = {row["name"]: row["hold_message"] for row in await there.fetch(f"SELECT * FROM {SHARED[0].name}")}
    assert found == {"default": "the moved one", "other": None}


async def test_a_target_with_returns_is_refused_and_so_is_another_one_once_it_has_moved(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    await move(source, target)
    assert await has_arrived(source, target)
    with pytest.raises(DatabaseMoved, match=PLACE):
        await copy_to(source, target, "postgresql://elsewhere/shop", lambda done, total: None)
    await shop.run("UPDATE database_place SET moved_to = NULL")
    with pytest.raises(CopyRefused, match="has returns already"):
        await move(source, target)


async def test_what_was_lost_after_a_complete_move_is_not_copied_again_from_the_older_file(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    await move(source, target)
    async with Shop.at(postgres_url) as there:
        await there.run("DELETE FROM return_order")
    with pytest.raises(CopyRefused, match="was complete, but its returns are gone: restore it from a backup"):
        await move(source, target)


async def test_what_somebody_reads_in_the_target_is_waited_for_before_the_file_is_retired(
    source: Database, target: Database, postgres_url: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(target)
    monkeypatch.delattr(Source, "retire")
    monkeypatch.setattr("worker.store.upkeep.move.target._LOCK_TIMEOUT", "20ms")
    async with Shop.at(postgres_url) as reader:
        await reader.run("BEGIN")
        await reader.fetch("SELECT * FROM label")
        with pytest.raises(DatabaseUnavailable, match="lock timeout"):
            await move(source, target)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM return_order",
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " VALUES (1, 1, 'file:///x', 'application/pdf', 1, 'x')",
        "UPDATE carrier_account SET held_until = '2036-01-01 00:00:00'",
        "UPDATE database_place SET restored_at = '2026-01-01 00:00:00'",
        "INSERT INTO worker_presence VALUES ('host:1:abc', '2036-01-01 00:00:00')",
        "INSERT INTO status_transition (return_order_id, field, new_value) VALUES (1, 'state', 'pending')",
    ],
)
async def test_nothing_can_be_written_to_a_file_that_was_moved_away_from(
    source: Database, target: Database, shop: Shop, statement: str
) -> None:
    await shop.run("INSERT INTO return_order (id, reference, payload) VALUES (1, 'R', '{}')")
    await register_accounts(source, ["default"])
    await move(source, target)
    with pytest.raises(sqlite3.IntegrityError, match="have moved to another database"):
        await shop.run(statement)


@pytest.mark.parametrize("trigger", ["TRIGGER shop_rule BEFORE INSERT", "CONSTRAINT TRIGGER shop_rule AFTER INSERT"])
async def test_a_rule_of_the_shops_own_there_is_met_before_the_file_is_retired_for_good(
    source: Database, target: Database, postgres_url: str, shop: Shop, tmp_path: Path, trigger: str
) -> None:
    fill(tmp_path / "returns.db")
    await migrate(target)
    late = " DEFERRABLE INITIALLY DEFERRED" if "CONSTRAINT" in trigger else ""
    async with Shop.at(postgres_url) as there:
        await there.run(
            "CREATE FUNCTION shop_rule() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$"
        )
        await there.run(
            f"CREATE {trigger} ON return_order{late} FOR EACH ROW WHEN (NEW.reference = 'R-rejected')"
            " EXECUTE FUNCTION shop_rule()"
        )
        with pytest.raises(RowsRefused, match=r"^return_order 31: PostgreSQL refuses it: no$"):
            await move(source, target)
        assert await there.value("SELECT count(*) FROM return_order") == 0
    assert not await is_retired(shop)
    await shop.run(INSERT)
