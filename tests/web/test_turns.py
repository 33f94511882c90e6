"""All pages together have one connection and a short time: on each database what takes longer is ended there."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from worker.settings import Settings
from worker.settings.model import DatabaseSettings
from worker.store.database import Database
from worker.store.failures import DatabaseReplaced, DatabaseUnavailable
from worker.store.transactions import in_transaction, reading
from worker.web.turns import Busy, Turns

PATIENCE = 0.3
LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000000) SELECT max(i) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


@reading
def look(connection: Connection, statement: str) -> None:
    connection.execute(text(statement)).all()


@in_transaction
def change(connection: Connection, statement: str) -> None:
    connection.execute(text("INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')"))
    connection.execute(text(statement)).all()


async def looking(_: Settings, database: Database, statement: str) -> None:
    await look(database, statement)


async def changing(_: Settings, database: Database, statement: str) -> None:
    await change(database, statement)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_what_a_page_asks_for_too_long_is_ended_in_the_database_and_the_next_one_is_answered(
    migrated_url: str, kind: str
) -> None:
    turns = Turns(Settings(database=DatabaseSettings(url=migrated_url)), lambda: migrated_url, patience=PATIENCE)
    beside = Database(migrated_url, pool_size=1)
    try:
        await answered(turns)  # a connection is there
        began = time.monotonic()
        with pytest.raises((Busy, DatabaseUnavailable)):
            await turns.ask(looking, LONG[kind])
        with pytest.raises(DatabaseUnavailable):
            await turns.act(changing, LONG[kind])
        await answered(turns)
        assert time.monotonic() - began < 10  # each of the two would have taken a minute
        await change(beside, "SELECT 1")  # what was cut left neither a row nor a lock
    finally:
        await turns.close()
        await beside.close()


async def answered(turns: Turns) -> None:
    """On a busy machine a connection alone may take longer than a page may."""
    for _ in range(20):
        with suppress(Busy, DatabaseUnavailable):
            return await turns.ask(looking, "SELECT 1")
    raise AssertionError("nothing is answered any more")


def some_turns(**options: float) -> Turns:
    return Turns(Settings(), lambda: "sqlite:///returns.db", **options)


async def test_one_page_is_answered_at_a_time_and_who_waits_too_long_is_told() -> None:
    at_it, most = 0, 0

    async def page() -> None:
        nonlocal at_it, most
        async with turns.taken():
            at_it += 1
            most = max(most, at_it)
            await asyncio.sleep(0.02)
            at_it -= 1

    turns = some_turns(patience=0.1, share=1e9)
    came = await asyncio.gather(*(page() for _ in range(20)), return_exceptions=True)
    assert most == 1
    assert 1 <= came.count(None) <= 6
    assert all(each is None or isinstance(each, Busy) for each in came)


async def test_readers_who_reload_without_a_pause_have_their_share_of_the_time_and_no_more() -> None:
    turns, busy, over_at = some_turns(share=0.5), 0.0, time.monotonic() + 1.0

    async def reader() -> None:
        nonlocal busy
        while time.monotonic() < over_at:
            async with turns.taken():
                began = time.monotonic()
                await asyncio.sleep(0.02)
                busy += min(time.monotonic(), over_at) - min(began, over_at)

    await asyncio.gather(*(reader() for _ in range(10)))
    assert 0.2 <= busy <= 0.2 + 0.5 + 0.1  # what was saved up, and half of the time


async def test_what_counts_rows_is_asked_once_for_all_who_reload_and_again_after_an_act() -> None:
    asked = 0

    async def count(*_: object) -> int:
        nonlocal asked
        asked += 1
        return asked

    turns = some_turns()
    assert [(await turns.ask_lately(count))[0] for _ in range(10)] == [1] * 10
    await turns.act(count)
    assert (await turns.ask_lately(count))[0] == 3


async def test_a_reader_who_began_before_an_act_ended_leaves_nothing_old_to_those_who_come_after_it() -> None:
    counting, go_on, is_held = asyncio.Event(), asyncio.Event(), False

    async def count(*_: object) -> bool:
        seen = is_held
        counting.set()
        await go_on.wait()
        return seen

    async def hold(*_: object) -> None:
        nonlocal is_held
        is_held = True

    turns = some_turns()
    early = asyncio.create_task(turns.ask_lately(count))
    await counting.wait()
    await turns.act(hold)
    go_on.set()
    assert (await early)[0] is False
    assert (await turns.ask_lately(count))[0] is True


@pytest.mark.parametrize("has_time", [True, False])
async def test_of_a_worker_that_stops_an_act_comes_to_its_end_or_hands_back_what_it_has(has_time: bool) -> None:
    began, carrier, came = asyncio.Event(), asyncio.Event(), list[str]()

    async def poll(*_: object) -> None:
        began.set()
        try:
            await carrier.wait()
            came.append("recorded")
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            came.append("handed back")
            raise

    turns = some_turns()
    answer = asyncio.create_task(turns.act(poll))
    await began.wait()
    answer.cancel()  # as the listener does
    stopping = asyncio.create_task(turns.drain())
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await turns.act(poll)
    assert (came, stopping.done()) == ([], False)
    carrier.set() if has_time else stopping.cancel()
    await asyncio.wait({stopping})
    await turns.close()
    assert came == ["recorded" if has_time else "handed back"]


async def test_what_takes_too_long_to_count_is_not_asked_again_at_once_and_an_older_answer_is_shown() -> None:
    asked, is_slow = 0, True

    async def count(*_: object) -> int:
        nonlocal asked
        asked += 1
        if is_slow:
            await asyncio.Event().wait()
        return asked

    turns = some_turns(patience=0.05)
    for _ in range(3):
        with pytest.raises(Busy):
            await turns.ask_lately(count)
    assert asked == 1
    turns, is_slow = some_turns(patience=0.05), False
    assert (await turns.ask_lately(count))[0] == 2
    is_slow = True
    turns._kept = {name: replace(kept, until=0.0) for name, kept in turns._kept.items()}
    for _ in range(3):
        answer, ago = await turns.ask_lately(count)
        assert answer == 2 and ago > 0
    assert asked == 3


async def test_a_file_that_was_replaced_while_the_worker_has_it_open_is_asked_nothing() -> None:
    def replaced() -> None:
        raise DatabaseReplaced("it was replaced")

    async def never(*_: object) -> None:
        raise AssertionError

    turns = Turns(Settings(), lambda: "sqlite:///returns.db", replaced)
    for asking in (turns.ask, turns.act):
        with pytest.raises(DatabaseReplaced):
            await asking(never)
