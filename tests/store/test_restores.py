"""A copy of a database, or one that was set back, is noticed before anything is created from it again."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.postgres import PostgresServer
from tests.store.conftest import Open
from tests.store.rows import CALL, OVER, insert, insert_tracked, now, settled, take, take_one
from tests.store.shop import Shop
from worker.domain.lifecycle import State, Step
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.durability import risks
from worker.store.failures import DatabaseReplaced, DatabaseUnavailable
from worker.store.records import record
from worker.store.restores import declare_restored, settle_place
from worker.store.sqlite_file import AlreadyRunning, SqliteFile


def held(opened: Open, url: str) -> Database:
    database = opened(url)
    database.hold_file()
    return database


async def test_a_database_that_stays_where_it_is_is_trusted(opened: Open, url: str, shop: Shop) -> None:
    database = held(opened, url)
    assert await settle_place(database) is False
    await insert(shop, "R-1")
    assert await settle_place(database) is False
    order = await take_one(database)
    assert not order.doubtful
    assert await start_creation(database, order, CALL) is not None


async def test_what_was_not_at_the_carrier_is_in_doubt_after_a_restore_and_what_comes_later_is_not(
    opened: Open, url: str, shop: Shop
) -> None:
    database = held(opened, url)
    await settle_place(database)
    old = await insert(shop, "OLD")
    earlier = await take_one(database, lease=OVER)
    assert await declare_restored(database) == 1
    new = await insert(shop, "NEW")
    assert await start_creation(database, earlier, CALL) is None
    orders = {claimed.order.id: claimed.order for claimed in await take(database)}
    assert (orders[old].doubtful, orders[new].doubtful) == (True, False)
    assert await start_creation(database, orders[old], CALL) is None
    assert await start_creation(database, orders[new], CALL) is not None


async def test_a_doubt_that_was_settled_does_not_come_back(opened: Open, url: str, shop: Shop) -> None:
    database = held(opened, url)
    await settle_place(database)
    await insert(shop, "R-1")
    await declare_restored(database)
    order = await take_one(database)
    again = settled(order, State.PENDING, due_at=now(seconds=-1))
    await record(database, [(order, again)])
    assert not (await take_one(database)).doubtful


@on_sqlite
async def test_a_copied_file_is_noticed(opened: Open, url: str, tmp_path: Path) -> None:
    database = held(opened, url)
    await settle_place(database)
    await database.close()
    shutil.copy(tmp_path / "returns.db", tmp_path / "copy.db")
    assert await settle_place(held(opened, f"sqlite:///{tmp_path}/copy.db")) is True
    assert await settle_place(held(opened, url)) is False


@on_sqlite
async def test_a_file_that_was_set_back_in_place_is_noticed_if_anything_was_sent_since(
    opened: Open, url: str, shop: Shop, tmp_path: Path
) -> None:
    await insert(shop, "R-1")
    database = held(opened, url)
    await settle_place(database)
    await shop.run("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = (tmp_path / "returns.db").read_bytes()
    (tmp_path / "nothing-sent.db").write_bytes(backup)
    order = await take_one(database)
    assert await start_creation(database, order, CALL) is not None
    await database.close()
    shop.connection.close()

    for rest in ("-wal", "-shm"):
        (tmp_path / f"returns.db{rest}").unlink(missing_ok=True)
    (tmp_path / "returns.db").write_bytes(backup)  # the same file number as before
    restored = held(opened, url)
    assert await settle_place(restored) is True
    assert (await take_one(restored)).doubtful
    assert await settle_place(restored) is False


@on_sqlite
async def test_nothing_is_sent_from_a_file_that_another_one_replaced(
    opened: Open, url: str, shop: Shop, tmp_path: Path
) -> None:
    await insert(shop, "R-1")
    database = held(opened, url)
    await settle_place(database)
    order = await take_one(database)
    (tmp_path / "elsewhere.db").write_bytes((tmp_path / "returns.db").read_bytes())
    (tmp_path / "elsewhere.db").replace(tmp_path / "returns.db")
    with pytest.raises(DatabaseReplaced):
        await start_creation(database, order, CALL)
    with pytest.raises(DatabaseReplaced):
        await take(database)


def test_a_second_worker_on_one_file_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    (tmp_path / "returns.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "returns.db")
    first = SqliteFile(tmp_path / "returns.db")
    for name in ("returns.db", "link.db"):
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            SqliteFile(tmp_path / name)
    first.close()
    SqliteFile(tmp_path / "returns.db").close()


def test_a_killed_worker_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from worker.store.sqlite_file import SqliteFile;"
        "held = SqliteFile(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    file = tmp_path / "returns.db"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning):
            SqliteFile(file)
        process.send_signal(signal.SIGKILL)
        process.wait()
        SqliteFile(file).close()


def test_an_unreadable_witness_is_a_new_one(tmp_path: Path) -> None:
    file = tmp_path / "returns.db"
    file.touch()
    (tmp_path / "returns.db-worker").write_bytes(b"\xff garbage" + 300 * b"x")
    held_file = SqliteFile(file)
    assert held_file.creations == 0
    held_file.sent(7)
    place = held_file.place
    held_file.close()
    again = SqliteFile(file)
    assert (again.creations, again.place) == (7, place)
    again.close()


def test_a_witness_that_cannot_be_written_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "returns.db"
    file.touch()
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            SqliteFile(file)
    SqliteFile(file).close()


@on_postgresql
async def test_a_copied_database_is_noticed(
    own_database: None, opened: Open, url: str, shop: Shop, postgres_server: PostgresServer
) -> None:
    await insert(shop, "R-1")
    await insert_tracked(shop, "R-2")
    database = opened()
    assert await settle_place(database) is False
    order = await take_one(database)
    await database.close()
    name, copy = url.rsplit("/", 1)[1], f"{url.rsplit('/', 1)[1]}_copy"
    await shop.connection.close()
    async with Shop.at(postgres_server.url) as admin:
        await admin.run(f"CREATE DATABASE {copy} TEMPLATE {name}")
    copied = opened(f"{url}_copy")
    assert await start_creation(copied, order, CALL) is None  # before anybody looked where it is
    assert await settle_place(copied) is True
    assert await settle_place(copied) is False
    (tracked,) = await take(copied, Step.TRACK)
    assert tracked.order.carrier_ref == "NR-R-2"
    postgres_server.drop_database(f"{url}_copy")


@on_postgresql
async def test_a_standby_that_took_over_is_noticed(
    own_database: None, opened: Open, url: str, shop: Shop, postgres_server: PostgresServer
) -> None:
    """It may not have had the last commits."""
    await insert(shop, "R-1")
    await shop.run("CREATE ROLE onlooker LOGIN")  # without rights
    with postgres_server.standby() as standby:
        following = opened(standby.url(url))
        seen = await risks(opened(url.replace("postgres@", "onlooker@")))
        assert any("its standbys follow asynchronously" in risk for risk in seen)
        with pytest.raises(DatabaseUnavailable, match="standby"):
            await settle_place(following)
        standby.promote()
        assert await settle_place(following) is True
        assert (await take_one(following)).doubtful
        await following.close()
    await shop.run("DROP ROLE onlooker")


@on_postgresql
async def test_the_place_tells_cluster_database_table_and_timeline(shop: Shop) -> None:
    place = await shop.value("SELECT returns_worker_place()")
    expected = await shop.row(
        "SELECT (SELECT system_identifier FROM pg_control_system()) AS cluster,"
        " (SELECT oid FROM pg_database WHERE datname = current_database()) AS database,"
        " (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline"
    )
    cluster, database, table, timeline = place.split("/")
    assert (int(cluster), int(database), int(timeline, 16)) == tuple(expected.values())
    assert int(table) == await shop.value("SELECT CAST('return_order'::regclass AS oid)")
