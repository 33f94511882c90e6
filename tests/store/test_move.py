"""A SQLite database comes to PostgreSQL whole, whatever is in it, or not at all."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.conftest import Open
from tests.store.shop import Shop
from worker.store.accounts import register_accounts
from worker.store.backup import copy
from worker.store.database import Database
from worker.store.move import Copied, CopyRefused, RowsRefused, copy_to
from worker.store.move.rows import TABLES
from worker.store.move.source import Source
from worker.store.move.values import Unfit, document
from worker.store.moved import DatabaseMoved, moved_to
from worker.store.place import declare_restored, settle_place
from worker.store.schema import SchemaState, migrate, schema_state

PLACE = "postgresql://db.example/shop"
MOMENT = "2026-01-02 03:04:05.678"
_LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
ALL = (*(table.name for table in TABLES), "carrier_account")

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


@pytest.fixture
def source(opened: Open, url: str) -> Database:
    database = opened(url)
    database.hold_file()
    return database


@pytest.fixture
async def target(opened: Open, postgres_url: str) -> AsyncIterator[Database]:
    yield opened(postgres_url)


async def move(source: Database, target: Database, *, dry_run: bool = False) -> Copied:
    return await copy_to(source, target, PLACE, lambda done, total: None, dry_run=dry_run)


async def everything(shop: Shop) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, moments and documents read."""
    return {
        table: [
            {name: _read(name, value) for name, value in row.items()}
            for row in await shop.fetch(f"SELECT * FROM {table} ORDER BY 1")
        ]
        for table in ALL
    }


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in {"payload", "raw", "document"}:
        return json.loads(value, parse_float=Decimal, parse_int=Decimal)
    if name.endswith(("_at", "_until", "_since", "carrier_time")) and isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


def fill(file: Path) -> None:
    """Returns in every state, with leases, intents, requests and all that belongs to them; ids with gaps."""
    connection = sqlite3.connect(file)
    insert = "INSERT INTO return_order (id, account, reference, payload, due_at, state, next_step, carrier_ref) VALUES"
    for number, state in enumerate(("pending", "tracking", "completed", "rejected", "needs_attention", "cancelled")):
        step = "create" if state == "pending" else "track"
        due = MOMENT if state in {"pending", "tracking"} else None
        payload = json.dumps({"name": "Zoë 🎁", "number": number, "price": 1.10})
        values = (10 * number + 1, "default", f"R-{state}", payload, due, state, step, f"NR-{number}")
        connection.execute(f"{insert} (?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.executescript(f"""
      UPDATE return_order SET create_started_at = '{MOMENT}', first_attempt_at = '{MOMENT}', lookups = 1,
             lease_owner = 'a:1:x', lease_until = '2026-01-02 03:04:05', lease_token = 9007199254740993, claims = 2
       WHERE state = 'pending';
      UPDATE return_order SET cancel_requested_at = '{MOMENT}' WHERE state = 'tracking';
      UPDATE return_order SET due_at = '2030-01-01 00:00:00' WHERE state = 'tracking';
      INSERT INTO status_transition (id, return_order_id, observed_at, field, new_value, raw)
        VALUES (5, 11, '{MOMENT}', 'state', 'tracking', '{{"orderNumber": 12345678901234567890, "x": 1e2}}'),
               (900, 11, '{MOMENT}', 'tracking_status', 'unknown', NULL);
      DELETE FROM status_transition WHERE id = 900;
      INSERT INTO package (return_order_id, position, label_code) VALUES (11, 1, 'A'), (11, 2, NULL), (21, 1, 'B');
      INSERT INTO label (return_order_id, position, location, media_type, byte_count, page_count, sha256, fetched_at)
        VALUES (11, 1, 'file:///x.pdf', 'application/pdf', 5000000000, 2, 'ab', '{MOMENT}');
      INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, archived_at, document)
        VALUES (7, 'default', 'R-archived', 'NR-archived', '{MOMENT}', '{MOMENT}',
                '{{"order": {{"id": 7, "price": 1.10}}, "transitions": []}}');
      INSERT INTO carrier_account (name, spent_until, held_until, hold_code, hold_message, refused_key, failures)
        VALUES ('default', '{MOMENT}', '9999-12-31 23:59:59.000', 'carrier_key_refused', 'said no', 'abc', 3);
    """)
    connection.commit()
    connection.close()


async def test_everything_arrives_as_it_was_and_new_rows_get_new_ids(
    source: Database, target: Database, postgres_url: str, shop: Shop, tmp_path: Path
) -> None:
    fill(tmp_path / "returns.db")
    before = await everything(shop)
    copied = await move(source, target)
    assert {name: len(rows) for name, rows in before.items()} == copied.counts
    assert copied.changed == set()
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == before
        new = await there.value("INSERT INTO return_order (reference, payload) VALUES ('NEW', '{}') RETURNING id")
        assert new == 52
        line = "INSERT INTO status_transition (return_order_id, field) VALUES (52, 'state') RETURNING id"
        assert await there.value(line) == 901  # 900 was deleted, and is never given again
    assert await moved_to(source) == PLACE
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
    ):
        with pytest.raises(sqlite3.IntegrityError, match="have moved to another database"):
            await shop.run(statement)
    assert await shop.fetch("SELECT name FROM sqlite_master WHERE name LIKE 'move_change%'") == []


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
    assert await moved_to(source) is None
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")


ODD = [
    ("reference", "'R' || char(0) || 'x'", "return_order 1: reference holds a NUL character"),
    ("reference", "CAST(x'52ff' AS text)", "return_order 1: reference holds bytes that are not UTF-8"),
    ("carrier_status", "x'00ff'", "return_order 1: carrier_status is no text"),
    ("attempts", "3000000000", "return_order 1: attempts is no whole number of 32 bits"),
    ("lease_token", "9223372036854775808", "return_order 1: lease_token is no whole number of 64 bits"),
    ("updated_at", "'yesterday'", "return_order 1: updated_at is no moment"),
    ("payload", "'{\"n\": 1e400000}'", "return_order 1: PostgreSQL refuses its return_order: value overflows"),
    (
        "reference",
        "hex(randomblob(9000))",
        "PostgreSQL refuses its return_order: index row",
    ),
]


@pytest.mark.parametrize(("column", "value", "said"), ODD, ids=[f"{odd[0]}-{odd[2][-12:]}" for odd in ODD])
async def test_a_row_that_postgresql_cannot_keep_is_named_and_nothing_is_copied(
    source: Database, target: Database, shop: Shop, column: str, value: str, said: str
) -> None:
    values = {"reference": "'R'", "payload": "'{}'"} | {column: value}
    await shop.run(f"INSERT INTO return_order ({', '.join(values)}) VALUES ({', '.join(values.values())})")
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('GOOD', '{}')")
    with pytest.raises(RowsRefused, match=said) as refused:
        await move(source, target)
    assert len(refused.value.problems) == 1
    assert await schema_state(target) is SchemaState.MISSING
    assert await moved_to(source) is None
    await shop.run("DELETE FROM return_order WHERE id = 1")
    assert (await move(source, target)).counts["return_order"] == 1


async def test_rows_that_belong_to_no_return_are_named(source: Database, target: Database, shop: Shop) -> None:
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
    assert copied.changed == {"return_order 1: payload", "status_transition 1: raw"}
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
            assert json.loads(fitted.text) == clean
        assert "\x00" not in fitted.text
    with pytest.raises(Unfit):
        document("{} \x00")


async def test_what_others_do_meanwhile_is_copied_too(
    source: Database, target: Database, postgres_url: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inserted, changed in any column, taken from one another, deleted: by whichever program."""
    fill(tmp_path / "returns.db")
    read, done = Source.read, []

    def interrupted(self: Source, ids: Any) -> Any:
        found = read(self, ids)
        if not done:  # after the bulk was read and before it is written
            done.append(True)
            other = sqlite3.connect(tmp_path / "returns.db")
            other.executescript("""
              PRAGMA foreign_keys = ON;
              INSERT OR REPLACE INTO return_order (reference, payload) VALUES ('NEW', '{}');
              UPDATE return_order SET due_at = '2031-01-01 00:00:00' WHERE id = 11;
              UPDATE return_order SET reference = 'FREED' WHERE id = 31;
              UPDATE return_order SET reference = 'R-rejected' WHERE id = 41;
              DELETE FROM return_order WHERE id = 21;
              UPDATE label SET sha256 = 'cd' WHERE return_order_id = 11;
              INSERT INTO status_transition (return_order_id, field, reason) VALUES (51, 'state', 'by hand');
              DELETE FROM package WHERE return_order_id = 11 AND position = 2;
            """)
            other.close()
        return found

    monkeypatch.setattr(Source, "read", interrupted)
    await move(source, target)
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == await everything(shop)


async def test_a_target_with_returns_is_refused_and_so_is_another_one_once_it_has_moved(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    await move(source, target)
    assert (await move(source, target)).already
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


async def test_the_way_out_is_said_where_somebody_inserted_into_the_target_before_the_move_was_complete(
    source: Database, target: Database, postgres_url: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    await migrate(target)
    monkeypatch.setattr(Source, "retire", _retired_and_then_stopped(Source.retire))
    with pytest.raises(KeyboardInterrupt):
        await move(source, target)
    async with Shop.at(postgres_url) as there:
        await there.run("INSERT INTO return_order (reference, payload) VALUES ('NEW', '{}')")
        with pytest.raises(CopyRefused, match=r"the move is not complete\. Stop what inserts there"):
            await move(source, target)
        await there.run("DELETE FROM return_order")
        monkeypatch.undo()
        await move(source, target)
        assert await there.value("SELECT reference FROM return_order") == "R"


def _retired_and_then_stopped(retire: Callable[[Source, str], None]) -> Callable[[Source, str], None]:
    def stopped(self: Source, place: str) -> None:
        retire(self, place)
        raise KeyboardInterrupt

    return stopped


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM return_order",
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " VALUES (1, 1, 'file:///x', 'application/pdf', 1, 'x')",
        "UPDATE carrier_account SET held_until = '2036-01-01 00:00:00'",
        "UPDATE database_place SET restored_at = '2026-01-01 00:00:00'",
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


@pytest.mark.parametrize("brought_back", ["lifted by hand", "a backup put back in place"])
async def test_a_file_that_is_brought_back_to_use_after_a_move_is_in_doubt(
    opened: Open, url: str, target: Database, tmp_path: Path, brought_back: str
) -> None:
    source = opened(url)
    source.hold_file()
    await migrate(source)
    await settle_place(source)
    async with Shop.at(url) as shop:
        await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
        copy(tmp_path / "returns.db", tmp_path / "before.db")
        await move(source, target)
        if brought_back == "lifted by hand":
            await shop.run("UPDATE database_place SET moved_to = NULL, move_completed_at = NULL")
    await source.close()
    if brought_back != "lifted by hand":
        for end in ("-wal", "-shm"):
            (tmp_path / f"returns.db{end}").unlink(missing_ok=True)
        (tmp_path / "returns.db").write_bytes((tmp_path / "before.db").read_bytes())  # the same file, as `cp` leaves it
    again = opened(url)
    again.hold_file()
    assert await settle_place(again)


CRASHING = """
import asyncio, os, signal, sys
from worker.store import move
from worker.store.database import Database
from worker.store.move.source import Source
from worker.store.move.target import Target

def killed(at):
    os.kill(os.getpid(), signal.SIGKILL)

point, source_url, target_url = sys.argv[1:]
if point == "bulk":
    Target.put = lambda self, bundles: killed(point)
elif point == "before the file is retired":
    Source.retire = lambda self, place: killed(point)
elif point == "between the commits":
    retire = Source.retire
    Source.retire = lambda self, place: (retire(self, place), killed(point))
else:
    move._Move.run = (lambda run: lambda self, database: _after(run(self, database)))(move._Move.run)
    async def _after(running):
        await running
        killed(point)

async def main():
    source, target = Database(source_url), Database(target_url)
    source.hold_file()
    await move.copy_to(source, target, "postgresql://db.example/shop", lambda done, total: None)

asyncio.run(main())
"""


@pytest.mark.parametrize("point", ["bulk", "before the file is retired", "between the commits", "after both commits"])
async def test_a_copy_that_is_killed_anywhere_leaves_one_database_in_use_at_most_and_once_more_completes_it(
    opened: Open, url: str, target: Database, postgres_url: str, shop: Shop, tmp_path: Path, point: str
) -> None:
    fill(tmp_path / "returns.db")
    before = await everything(shop)
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CRASHING, point, url, postgres_url],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    retired = point in {"between the commits", "after both commits"}
    assert (await shop.value("SELECT moved_to FROM database_place") == PLACE) is retired
    arrived = await schema_state(target) is SchemaState.CURRENT
    assert arrived is (point == "after both commits")
    insert = "INSERT INTO return_order (id, reference, payload) VALUES (77, 'LATER', '{}')"
    if retired:
        with pytest.raises(sqlite3.IntegrityError):
            await shop.run(insert)
    else:
        await shop.run(insert)
        before = await everything(shop)
    again = opened(url)
    again.hold_file()
    copied = await move(again, target)
    assert copied.already is arrived
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == before
    assert await moved_to(again) == PLACE
