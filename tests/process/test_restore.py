"""A database that was set back to a backup: nothing that was created since is created again unseen."""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.postgres import PostgresServer
from tests.process.nursery import nursery
from tests.process.running import PILOT_PAYLOAD, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import trickle

Start = Callable[..., RunningWorker]


class Backup:
    """The whole database as it was at one moment."""

    def __init__(self, url: str, folder: Path, server: PostgresServer | None) -> None:
        self._url, self._folder, self._server = url, folder, server
        self._name = url.rsplit("/", 1)[1]

    async def make(self) -> None:
        if self._server is None:
            await Shop(self._url).execute("VACUUM INTO ?1", str(self._folder / "backup.db"))
        else:
            await Shop(self._server.url).execute(f"CREATE DATABASE {self._name}_backup TEMPLATE {self._name}")

    async def restore(self) -> None:
        if self._server is None:
            for rest in ("", "-wal", "-shm"):
                (self._folder / f"returns.db{rest}").unlink(missing_ok=True)
            shutil.copy(self._folder / "backup.db", self._folder / "returns.db")
            return
        admin = Shop(self._server.url)
        await admin.execute(f"DROP DATABASE {self._name}")
        await admin.execute(f"ALTER DATABASE {self._name}_backup RENAME TO {self._name}")


@on_postgresql
async def test_a_dump_restored_into_another_database_goes_on_and_creates_nothing_twice(
    start: Start, shop: Shop, carrier: Simulator, config: Path, postgres_server: PostgresServer
) -> None:
    worker = await start().ready()
    await shop.insert("DONE")
    await until(lambda: shop.is_in("DONE", "completed"), 15, lambda: worker.log_text)
    assert (await typed(config, "accounts", "hold", "default"))[0] == 0
    await shop.insert("IZI-1")
    dump = f"{shop.url.rsplit('/', 1)[1]}.dump"
    await asyncio.to_thread(postgres_server.dump, shop.url, dump)
    assert (await typed(config, "accounts", "release", "default"))[0] == 0
    await until(lambda: _created(shop, 2), 15, lambda: worker.log_text)
    worker.kill()

    url = postgres_server.create_database()
    try:
        await asyncio.to_thread(postgres_server.restore, dump, url)
        config.write_text(config.read_text().replace(shop.url, url))
        restored = Shop(url)
        assert (await typed(config, "accounts", "release", "default"))[0] == 0
        again = await start().ready()
        assert again.saw("database_restored")
        await until(lambda: restored.is_in("IZI-1", "needs_attention"), 15, lambda: again.log_text)
        await restored.insert("NEW")
        await until(lambda: restored.is_in("NEW", "completed"), 15, lambda: again.log_text)
        assert len(carrier.requests("create")) == 3
        again.kill()
    finally:
        postgres_server.drop_database(url)


@pytest.fixture
def backup(database_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Backup:
    server = None if database_url.startswith("sqlite") else request.getfixturevalue("postgres_server")
    return Backup(database_url, tmp_path, server)


async def test_what_was_created_since_the_backup_is_found_at_the_carrier_or_asked_of_a_person(
    start: Start, shop: Shop, carrier: Simulator, backup: Backup
) -> None:
    first = await start().ready()
    await shop.insert("DONE")
    await until(lambda: shop.is_in("DONE", "completed"), 15, lambda: first.log_text)
    assert await first.stopped() == 0
    await shop.insert("IZI-1")
    await shop.insert("RP-1", PILOT_PAYLOAD, account="pilot")
    await backup.make()
    second = await start().ready()
    for reference in ("IZI-1", "RP-1"):
        await until(lambda reference=reference: shop.is_in(reference, "tracking"), 15, lambda: second.log_text)
    assert not second.saw("database_restored")
    assert await second.stopped() == 0
    assert (len(carrier.requests("create")), len(carrier.requests("rp_create"))) == (2, 1)

    await backup.restore()
    third = await start().ready()
    assert third.saw("database_restored")
    await shop.insert("NEW")
    await until(lambda: shop.is_in("NEW", "completed"), 15, lambda: third.log_text)
    await until(lambda: shop.is_in("IZI-1", "needs_attention"), 5, lambda: third.log_text)
    await until(lambda: shop.is_in("RP-1", "completed"), 15, lambda: third.log_text)
    order = await shop.order("IZI-1")
    assert order["error_code"] == "create_outcome_unknown"
    assert "restored or copied" in order["error_message"]
    assert any(str(line["reason"]).endswith("adopted") for line in await shop.history("RP-1"))
    assert (await shop.order("DONE"))["state"] == "completed"
    assert (len(carrier.requests("create")), len(carrier.requests("rp_create"))) == (3, 1)


@on_sqlite
async def test_a_file_that_is_replaced_under_a_worker_ends_it_and_the_next_one_looks_before_it_sends(
    start: Start, shop: Shop, carrier: Simulator, backup: Backup
) -> None:
    worker = await start().ready()
    await backup.make()
    await shop.insert("LATER")
    await until(lambda: shop.is_in("LATER", "completed"), 15, lambda: worker.log_text)
    await backup.restore()
    assert await worker.ended(15) == 1
    assert "was replaced" in worker.log_text
    again = await start().ready()
    assert again.saw("database_restored")


async def test_a_backup_from_before_the_first_start_is_noticed_too(
    start: Start, shop: Shop, carrier: Simulator, backup: Backup, config: Path
) -> None:
    output = config.with_name("migrate.log")
    assert nursery().start("--config", str(config), "migrate", errors=output).wait() == 0
    await shop.insert("IZI-1")
    await backup.make()
    first = await start().ready()
    await until(lambda: shop.is_in("IZI-1", "tracking"), 15, lambda: first.log_text)
    assert await first.stopped() == 0
    await backup.restore()
    second = await start().ready()
    await until(lambda: shop.is_in("IZI-1", "needs_attention"), 15, lambda: second.log_text)
    assert len(carrier.requests("create")) == 1


@on_sqlite
async def test_a_result_in_hand_is_said_when_its_file_is_gone(
    start: Start, shop: Shop, carrier: Simulator, backup: Backup
) -> None:
    worker = await start().ready()
    await backup.make()
    carrier.inject("create", trickle(0.002))
    await shop.insert("FLYING")
    await until(lambda: carrier.orders, 10, lambda: worker.log_text)
    await backup.restore()
    assert await worker.ended(20) == 1
    said = worker.saw("result_not_recorded")
    assert said is not None
    assert (said["reference"], said["carrier_ref"]) == ("FLYING", next(iter(carrier.orders)))


@on_sqlite
async def test_a_second_worker_on_one_sqlite_file_is_refused_and_a_restart_after_a_kill_is_not(
    start: Start, shop: Shop
) -> None:
    first = await start().ready()
    second = start()
    assert await second.ended() == 1
    assert f"process {first.process.pid}" in second.log_text
    first.kill()
    third = await start().ready()
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "completed"), 15, lambda: third.log_text)


@on_sqlite
async def test_a_backup_restored_on_another_path_goes_on_and_creates_nothing_twice(
    start: Start, shop: Shop, carrier: Simulator, config: Path, tmp_path: Path
) -> None:
    worker = await start().ready()
    assert await worker.metric("returns_worker_last_backup_timestamp_seconds") == 0
    await shop.insert("DONE")
    await until(lambda: shop.is_in("DONE", "completed"), 15, lambda: worker.log_text)
    for account, reference, payload in (("default", "IZI-1", None), ("pilot", "RP-1", PILOT_PAYLOAD)):
        assert (await typed(config, "accounts", "hold", account))[0] == 0
        await shop.insert(reference, payload, account=account)
    (tmp_path / "backups").mkdir()
    code, _, said = await typed(config, "backup", str(tmp_path / "backups"), "--keep", "3")
    assert code == 0, said
    made = time.time()
    (copy,) = (tmp_path / "backups").iterdir()
    gauge = "returns_worker_last_backup_timestamp_seconds"

    async def told() -> bool:
        return abs(await worker.metric(gauge) - made) < 60

    await until(told, 5)
    for account in ("default", "pilot"):
        assert (await typed(config, "accounts", "release", account))[0] == 0
    await shop.insert("IZI-2")
    await shop.insert("RP-2", PILOT_PAYLOAD, account="pilot")
    await until(lambda: _created(shop, 5), 15, lambda: worker.log_text)
    worker.kill()  # the disk it was on is gone
    assert (len(carrier.requests("create")), len(carrier.requests("rp_create"))) == (3, 2)

    (tmp_path / "elsewhere").mkdir()
    shutil.copy(copy, tmp_path / "elsewhere" / "returns.db")
    config.write_text(config.read_text().replace(f"{tmp_path}/returns.db", f"{tmp_path}/elsewhere/returns.db"))
    restored = Shop(f"sqlite:///{tmp_path}/elsewhere/returns.db")
    for account in ("default", "pilot"):
        assert (await typed(config, "accounts", "release", account))[0] == 0
        assert (await typed(config, "accounts", "hold", account, "--no-create"))[0] == 0
    again = await start().ready()
    assert again.saw("database_restored")
    await restored.insert("IZI-2")  # the shop knows that it is not there any more
    await restored.insert("RP-2", PILOT_PAYLOAD, account="pilot")
    assert "4 pending returns are looked up, or left to a person" in (await typed(config, "restored"))[2]
    for account in ("default", "pilot"):
        assert (await typed(config, "accounts", "release", account))[0] == 0
    for reference, state in (
        ("IZI-1", "needs_attention"),
        ("IZI-2", "needs_attention"),
        ("RP-1", "completed"),
        ("RP-2", "completed"),
    ):
        await until(lambda each=(reference, state): restored.is_in(*each), 15, lambda: again.log_text)
    await restored.insert("NEW")
    await until(lambda: restored.is_in("NEW", "completed"), 15, lambda: again.log_text)
    for reference in ("IZI-1", "IZI-2"):
        (sent,) = [number for number, order in carrier.orders.items() if reference in str(order)]
        code, _, said = await typed(config, "resolve", reference, "--carrier-ref", sent)
        assert code == 0, said
        await until(lambda reference=reference: restored.is_in(reference, "completed"), 15, lambda: again.log_text)
    assert (await restored.order("DONE"))["state"] == "completed"
    assert (len(carrier.requests("create")), len(carrier.requests("rp_create"))) == (4, 2)


async def _created(shop: Shop, count: int) -> bool:
    (row,) = await shop.execute("SELECT count(*) AS created FROM return_order WHERE carrier_ref IS NOT NULL")
    return bool(row["created"] == count)
