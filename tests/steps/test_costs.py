"""What a poll costs the database, in numbers that no machine changes: statements, WAL, HOT updates, pages read."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.postgres import URL_VARIABLE
from tests.steps.scripted import Loop, ScriptedCarrier, make_loop
from tests.store.shop import Shop
from worker.domain.pacing import Pace
from worker.store.accounts import database_now
from worker.store.database import POSTGRESQL, Database

ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


async def _followed(database: Database, folder: Path, count: int, pace: Pace | None = None) -> Loop:
    """A loop with so many polls due, of which none brings news."""
    loop = await make_loop(database, folder, {"default": ScriptedCarrier()}, max_in_flight=80, pace=pace)
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

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)


AGENDA, CLAIM, RECORD = "SELECT lane.account,", ("WITH lane", "UPDATE return_order"), ("WITH x", "UPDATE return_order")
PACE = (["WITH briefly", "SELECT clock_timestamp()"], ["SELECT spent_until", "SELECT strftime('%Y-%m-%d"])


async def test_a_turn_of_a_hundred_polls_is_three_statements(database: Database, tmp_path: Path) -> None:
    loop, kind = await _followed(database, tmp_path, 150), database.dialect != POSTGRESQL
    with _statements(database) as sent:
        await loop.turn()
    assert len([row for row in await loop.rows() if row["lease_token"] == 1]) == 100
    assert sent == [AGENDA, CLAIM[kind], RECORD[kind]]


async def test_a_limit_costs_a_turn_three_statements_more(database: Database, tmp_path: Path) -> None:
    loop, kind = await _followed(database, tmp_path, 150, Pace(60_000)), database.dialect != POSTGRESQL
    with _statements(database) as sent:
        await loop.turn()
    assert sent == [AGENDA, *PACE[kind], "UPDATE carrier_account", CLAIM[kind], RECORD[kind]]


async def test_an_idle_turn_is_one_statement(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier(), "other": ScriptedCarrier()})
    await loop.insert_followed(["T1"], await database_now(database) + timedelta(hours=1))
    with _statements(database) as sent:
        await loop.turn()
    assert sent == ["SELECT lane.account,"]


@asynccontextmanager
async def _written(loop: Loop) -> AsyncIterator[dict[str, int]]:
    """WAL bytes, and updates of `return_order` by whether they were HOT, while it lasts."""

    async def read() -> dict[str, int]:
        # The loop's statements follow each other on one connection, which reports its counts when it is told to.
        async with loop.database.reading() as connection:
            await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        async with loop.database.reading() as connection:
            found = await connection.execute(
                text(
                    "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS wal, n_tup_upd AS updates,"
                    " n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'return_order'"
                )
            )
            return dict(found.mappings().one())

    before, counts = await read(), {}
    yield counts
    counts |= {name: value - before[name] for name, value in (await read()).items()}


@pytest.mark.skipif(URL_VARIABLE in os.environ, reason="on a server with other users their WAL would be counted")
@ON_POSTGRESQL
async def test_what_a_poll_writes(database: Database, postgres_url: str, tmp_path: Path) -> None:
    polls = 1000
    loop = await _followed(database, tmp_path, polls)
    async with Shop.at(postgres_url) as shop:
        await shop.run("ALTER TABLE return_order SET (autovacuum_enabled = off)")
        await shop.run("VACUUM (ANALYZE) return_order")
    async with _written(loop) as written:
        for _ in range(polls // 100):
            await loop.turn()
    print(written)
    assert written["updates"] == 2 * polls
