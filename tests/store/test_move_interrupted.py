"""A move that fails, is interrupted or is killed anywhere leaves one database in use at most, and two ways on."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.databases import elsewhere
from tests.store.conftest import Open
from tests.store.moving import INSERT, PLACE, RETIRE, everything, fill, has_arrived, is_retired, move
from tests.store.shop import Shop
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.restores import DatabaseMoved, settle_place
from worker.store.schema import SchemaState, migrate, schema_state
from worker.store.sqlite_file import SqliteFile
from worker.store.upkeep.backup import copy
from worker.store.upkeep.move import CopyRefused, abandon
from worker.store.upkeep.move.target import Target

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


@pytest.fixture
def source(opened: Open, url: str) -> Database:
    database = opened(url)
    database.hold_file()
    return database


@pytest.fixture
def target(opened: Open, postgres_url: str) -> Database:
    return opened(postgres_url)


def cut_off(url: str) -> None:
    """End every connection to this database, as a restart of the server does."""

    async def cut() -> None:
        connection = await asyncpg.connect(url)
        others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        await connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity {others}")
        await connection.close()

    elsewhere(cut())


async def test_a_target_that_goes_away_in_the_midst_of_it_leaves_the_file_in_use_and_in_no_doubt(
    source: Database, target: Database, postgres_url: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle_place(source)
    fill(tmp_path / "returns.db")
    before, put = await everything(shop), Target.put

    async def cut(self: Target, *words: Any) -> Any:
        cut_off(postgres_url)
        return await put(self, *words)

    monkeypatch.setattr(Target, "put", cut)
    with pytest.raises(DatabaseUnavailable):
        await move(source, target)
    assert await everything(shop) == before
    assert not await is_retired(shop)
    assert await settle_place(source) is False


async def test_a_copy_that_is_interrupted_leaves_the_file_in_use(
    source: Database, target: Database, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "returns.db")

    async def interrupted(*_: object) -> Any:
        assert await is_retired(shop)
        raise asyncio.CancelledError

    monkeypatch.setattr(Target, "put", interrupted)
    with pytest.raises(asyncio.CancelledError):
        await move(source, target)
    await shop.run(INSERT)


async def test_a_commit_whose_answer_is_lost_leaves_the_file_retired_and_once_more_completes_it(
    source: Database, target: Database, postgres_url: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    with monkeypatch.context() as patched:
        patched.setattr(SqliteFile, "sent", lambda *_, **__: cut_off(postgres_url))  # the last step before the commit
        with pytest.raises(DatabaseUnavailable):
            await move(source, target)
    assert await is_retired(shop)
    assert not await has_arrived(source, target)
    assert await has_arrived(source, target)


async def test_a_commit_that_is_still_under_way_is_waited_for_before_a_file_is_opened_again(
    opened: Open, source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await migrate(target)
    await shop.run(RETIRE)
    async with Shop.at(postgres_url) as killed, Shop.at(postgres_url) as there:
        transaction = AsyncEngine(target.engine).connect()
        await transaction.start()
        await transaction.run_sync(Target)  # as the server still has it when the command was killed
        await (await transaction.get_raw_connection()).driver_connection.execute(INSERT)
        opening = asyncio.create_task(abandon(source, opened(postgres_url), PLACE))
        await killed.see_waiting()
        await transaction.commit()
        await transaction.close()
        with pytest.raises(CopyRefused, match="has returns"):
            await opening
        assert await there.value("SELECT count(*) FROM return_order") == 1
    assert await is_retired(shop)


async def test_a_file_is_not_opened_again_where_nobody_can_say_what_the_target_has(
    opened: Open, source: Database, target: Database, shop: Shop
) -> None:
    await shop.run(RETIRE)
    with pytest.raises(DatabaseUnavailable):
        await abandon(source, opened("postgresql://127.0.0.1:1/shop"), PLACE)
    with pytest.raises(DatabaseMoved, match=f"its copy to {PLACE} may not be complete"):
        await abandon(source, target, "postgresql://elsewhere/shop")
    assert await is_retired(shop)
    assert await schema_state(target) is SchemaState.MISSING


async def test_the_way_out_is_said_where_somebody_inserted_into_the_target_before_the_move_was_complete(
    source: Database, target: Database, postgres_url: str, shop: Shop
) -> None:
    await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R', '{}')")
    await migrate(target)
    await shop.run(RETIRE)
    async with Shop.at(postgres_url) as there:
        await there.run("INSERT INTO return_order (reference, payload) VALUES ('NEW', '{}')")
        with pytest.raises(CopyRefused, match=r"returns that are not of this file: stop what inserts there"):
            await move(source, target)
        with pytest.raises(CopyRefused, match="has returns"):
            await abandon(source, target, PLACE)
        assert await is_retired(shop)
        await there.run("DELETE FROM return_order")
        await move(source, target)
        assert await there.value("SELECT reference FROM return_order") == "R"


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
import asyncio, json, os, signal, sys
from worker.store import upgrade
from worker.store.upkeep import move
from worker.store.database import Database
from worker.store.upkeep.move.source import Source
from worker.store.upkeep.move.target import Target
from worker.store.sqlite_file import SqliteFile

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def and_then_killed(function):
    return lambda *words, **named: killed(function(*words, **named))

def arm(point):
    if point == "before the file is retired":
        Source.retire = killed
    elif point == "when it is retired":
        Source.retire = and_then_killed(Source.retire)
    elif point == "in the midst of the copy":
        Target.count = killed
    elif point == "before the commit":
        SqliteFile.sent = and_then_killed(SqliteFile.sent)
    else:
        Source.complete = killed

async def copy(source_url, target_url):
    source, target = Database(source_url), Database(target_url)
    source.hold_file()
    await move.copy_to(source, target, "postgresql://db.example/shop", lambda done, total: None)

for line in sys.stdin:
    point, *urls = json.loads(line)
    pid = os.fork()
    if pid == 0:
        arm(point)
        asyncio.run(copy(*urls))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
POINTS = (
    "before the file is retired",
    "when it is retired",
    "in the midst of the copy",
    "before the commit",
    "after the commit",
)
Killed = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="module")
def crashing() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported everything, and forks for each copy that is to be killed."""
    words, folder = [sys.executable, "-c", CRASHING], Path(__file__).parents[2]
    with subprocess.Popen(words, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.communicate()


@pytest.fixture
async def killed(
    opened: Open,
    url: str,
    target: Database,
    postgres_url: str,
    shop: Shop,
    tmp_path: Path,
    crashing: subprocess.Popen[str],
) -> Killed:
    """A copy of a filled file that a worker has used, killed at some point; nothing is in use twice."""
    worker = opened(url)
    worker.hold_file()
    await settle_place(worker)
    await worker.close()
    fill(tmp_path / "returns.db")

    async def killed_at(point: str) -> None:
        assert crashing.stdin is not None and crashing.stdout is not None
        crashing.stdin.write(json.dumps([point, url, postgres_url]) + "\n")
        crashing.stdin.flush()
        assert int(await asyncio.to_thread(crashing.stdout.readline)) == -signal.SIGKILL
        assert await is_retired(shop) is (point != POINTS[0])
        assert (await schema_state(target) is SchemaState.CURRENT) is (point == POINTS[-1])

    return killed_at


@pytest.mark.parametrize("point", POINTS)
async def test_a_copy_that_is_killed_anywhere_leaves_one_database_in_use_at_most_and_once_more_completes_it(
    opened: Open, url: str, target: Database, postgres_url: str, shop: Shop, killed: Killed, point: str
) -> None:
    before = await everything(shop)
    await killed(point)
    if point == POINTS[0]:
        await shop.run(INSERT)
        before = await everything(shop)
    else:
        with pytest.raises(sqlite3.IntegrityError):
            await shop.run(INSERT)
    again = opened(url)
    again.hold_file()
    assert await has_arrived(again, target) is (point == POINTS[-1])
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == before
        assert await there.value("SELECT restored_at FROM database_place") is None
    assert await is_retired(shop)
    assert await shop.value("SELECT move_completed_at FROM database_place") is not None


@pytest.mark.parametrize("point", POINTS)
async def test_a_file_is_opened_again_where_the_copy_did_not_arrive_and_nowhere_else(
    opened: Open, url: str, target: Database, postgres_url: str, shop: Shop, killed: Killed, point: str
) -> None:
    await killed(point)
    again = opened(url)
    again.hold_file()
    if point == POINTS[-1]:
        for said in ("has returns: run copy-to once more", "is complete"):
            with pytest.raises(CopyRefused, match=said):
                await abandon(again, target, PLACE)
            assert await is_retired(shop)
            assert await has_arrived(again, target)
        return
    # Only a commit that may have been tried casts a doubt: the URL could lead to another database by now.
    assert await abandon(again, target, PLACE) is (point == "before the commit")
    assert await abandon(again, target, PLACE) is False
    assert await schema_state(target) is SchemaState.MISSING
    await shop.run(INSERT)
    before = await everything(shop)
    assert not await has_arrived(again, target)
    async with Shop.at(postgres_url) as there:
        assert await everything(there) == before
