"""What a poll costs the database, in numbers that no machine changes: statements, WAL, HOT updates, pages read."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from tests.databases import on_postgresql
from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.postgres import URL_VARIABLE
from tests.store.shop import Shop
from worker.domain.pacing import Pace
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL

pytestmark = pytest.mark.usefixtures("own_database")  # settings of the tables are changed, and statistics read


async def _followed(database: Database, folder: Path, count: int, pace: Pace | None = None) -> Loop:
    """A loop with so many polls due, of which none brings news."""
    loop = await make_loop(database, folder, {"default": ScriptedCarrier()}, max_in_flight=67, pace=pace)
    await loop.insert_followed(
        [f"T{number}" for number in range(count)], await database_now(database) - timedelta(hours=1)
    )
    await loop.execute("UPDATE return_order SET tracking_status = 'in_transit', carrier_status = 'OnItsWay'")
    return loop


@contextmanager
def _statements(database: Database) -> Iterator[list[str]]:
    """The first words of each statement that is sent; SQLite's writes have a BEGIN of their own."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(" ".join(statement.split()[:2]))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


AGENDA, CLAIM, RECORD = "SELECT lane.account,", ("WITH lane", "UPDATE return_order"), ("WITH x", "UPDATE return_order")
PACE = (["WITH briefly", "SELECT clock_timestamp()"], ["SELECT spent_until", "SELECT strftime('%Y-%m-%d"])


async def test_a_turn_of_a_hundred_polls_is_three_statements(database: Database, tmp_path: Path) -> None:
    loop, kind = await _followed(database, tmp_path, 150), database.dialect != POSTGRESQL
    with _statements(database) as sent:
        await loop.turn()
    assert len([row for row in await loop.rows() if row["lease_token"] == 1]) == 100
    assert sent == [AGENDA, CLAIM[kind], RECORD[kind]]


async def test_a_poll_whose_answer_names_its_own_label_codes_costs_no_statement_more(
    database: Database, tmp_path: Path
) -> None:
    """Nor does one that names others, from the second one on: the first is what they are known by."""
    loop, kind = await _followed(database, tmp_path, 4), database.dialect != POSTGRESQL
    carrier = loop.accounts["default"].carrier
    assert isinstance(carrier, ScriptedCarrier)
    carrier.codes = lambda reference: (f"7RET{reference}", "7IZP1") if reference == "T1" else (f"7RET{reference}",)
    await loop.execute(
        "INSERT INTO package (return_order_id, position, label_code)"
        " SELECT id, 1, '7RET' || reference FROM return_order"
    )
    polls = []
    for _ in range(2):
        with _statements(database) as sent:
            await loop.turn()
        polls.append(sent)
        await loop.execute("UPDATE return_order SET due_at = track_due_at, track_due_at = created_at")
        await loop.execute("UPDATE return_order SET due_at = created_at")
    more = [] if database.dialect == POSTGRESQL else ["INSERT INTO"]
    assert polls == [
        [AGENDA, CLAIM[kind], "SELECT o.account,", RECORD[kind], *more],
        [AGENDA, CLAIM[kind], RECORD[kind]],
    ]


async def test_a_limit_costs_a_turn_three_statements_more(database: Database, tmp_path: Path) -> None:
    loop, kind = await _followed(database, tmp_path, 150, Pace(60_000)), database.dialect != POSTGRESQL
    with _statements(database) as sent:
        await loop.turn()
    assert sent == [AGENDA, *PACE[kind], "UPDATE carrier_account", CLAIM[kind], RECORD[kind]]


async def test_a_backlog_costs_a_statement_for_every_ten_polls_at_most(database: Database, tmp_path: Path) -> None:
    """4 for a hundred on PostgreSQL when this was written: a turn and a batch wait for company."""
    loop = await _followed(database, tmp_path, 1000)
    writing = asyncio.create_task(loop.recorder.run())
    with _statements(database) as sent:
        await asyncio.wait_for(loop.engine.run(until_idle=True), 60)
    await loop.recorder.finish()
    writing.cancel()
    assert {row["lease_token"] for row in await loop.rows()} == {1}
    assert len(sent) < 100


async def test_an_idle_turn_is_one_statement(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier(), "other": ScriptedCarrier()})
    await loop.insert_followed(["T1"], await database_now(database) + timedelta(hours=1))
    with _statements(database) as sent:
        await loop.turn()
    assert sent == ["SELECT lane.account,"]


@asynccontextmanager
async def _counted(loop: Loop) -> AsyncIterator[dict[str, int]]:
    """WAL bytes, updates of `return_order` by whether they were HOT, and pages of it looked at, while it lasts."""

    async def read() -> dict[str, int]:
        # The loop's statements follow each other on one connection, which reports its counts when it is told to.
        def flush(connection: Connection) -> None:
            if int(connection.execute(text("SHOW server_version_num")).scalar_one()) < 150000:
                pytest.skip("before PostgreSQL 15 a connection cannot be told to report its counts")
            connection.execute(text("SELECT pg_stat_force_next_flush()"))

        await loop.database.reading(flush)
        return dict(await loop.database.reading(lambda connection: connection.execute(_COUNTS).mappings().one()))

    before: dict[str, int] = await read()
    counts: dict[str, int] = {}
    yield counts
    counts |= {name: value - before[name] for name, value in (await read()).items()}


_COUNTS = text("""
SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal, t.n_tup_upd AS updates, t.n_tup_hot_upd AS hot,
       (io.heap_blks_hit + io.heap_blks_read + io.idx_blks_hit + io.idx_blks_read)::bigint AS pages
  FROM pg_stat_user_tables t JOIN pg_statio_user_tables io USING (relid) WHERE t.relname = 'return_order'""")


async def _as_filled(url: str) -> None:
    """Nothing tidies up while we count, and what we begin with is tidy."""
    async with Shop.at(url) as shop:
        await shop.run("ALTER TABLE return_order SET (autovacuum_enabled = off)")
        await shop.run("VACUUM (ANALYZE) return_order")


@pytest.mark.skipif(URL_VARIABLE in os.environ, reason="on a server with other users their WAL would be counted")
@on_postgresql
async def test_a_poll_writes_a_kilobyte_of_wal_at_most_and_its_claim_is_hot(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    """828 bytes, and 91 of 100 claims, when this was written; an index on a claimed column leaves no claim HOT."""
    polls = 1000
    loop = await _followed(database, tmp_path, polls)
    await _as_filled(postgres_url)
    async with _counted(loop) as counted:
        for _ in range(polls // 100):
            await loop.turn()
    assert counted["updates"] == 2 * polls  # the claim, and the record
    assert counted["hot"] > 0.8 * polls
    assert counted["wal"] < 1000 * polls


@on_postgresql
async def test_every_index_of_the_returns_is_worth_its_wal(database: Database) -> None:
    """A poll moves the row and so makes an entry in each, some 107 bytes of WAL; the last four have few rows, or none
    that is followed.
    """
    names = text("SELECT indexname FROM pg_indexes WHERE tablename = 'return_order' ORDER BY 1")
    assert set(await database.reading(lambda connection: connection.execute(names).scalars().all())) == {
        "return_order_pkey",
        "return_order_reference_key",  # a shop may not insert a reference twice
        "return_order_carrier_ref",  # no two returns may be one at the carrier
        "return_order_due",  # the queue
        "return_order_needs_attention",  # what a person is asked about
        "return_order_withdrawn",  # what goes before all that is due longer
        "return_order_erasable",  # what is over, by its end: made once, when a return ends
        "return_order_erasing",  # whose files are still to be removed
    }


@on_postgresql
async def test_a_snapshot_that_somebody_holds_makes_a_backlog_no_dearer(
    database: Database, postgres_url: str, tmp_path: Path
) -> None:
    """Without a mark to go on from, the last turn would look at twice as many pages as the first."""
    loop = await _followed(database, tmp_path, 2000)
    await _as_filled(postgres_url)
    pages = []
    async with Shop.at(postgres_url) as other:
        await other.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.value("SELECT count(*) FROM return_order")
        for _ in range(19):
            async with _counted(loop) as counted:
                await loop.turn()
            pages.append(counted["pages"])
        await other.run("COMMIT")
    assert max(pages[-5:]) < 1.5 * min(pages[:5])


@on_postgresql
async def test_what_is_over_makes_a_poll_no_dearer(database: Database, postgres_url: str, tmp_path: Path) -> None:
    """But for a level or two of each index; the table has 500 pages in the end."""
    pages = []
    for number, done in enumerate((0, 20_000)):
        async with Shop.at(postgres_url) as shop:
            await shop.run(
                "INSERT INTO return_order (reference, carrier_ref, payload, state, next_step, due_at)"
                f" SELECT 'D' || n, 'D' || n, '{{}}', 'completed', 'track', NULL FROM generate_series(1, {done}) n"
            )
        loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
        await loop.insert_followed([f"T{number}"], await database_now(database))
        await _as_filled(postgres_url)
        async with _counted(loop) as counted:
            await loop.turn()
        pages.append(counted["pages"])
    assert pages[1] < pages[0] + 40
