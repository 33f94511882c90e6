"""Hints: what wakes, what does not, and that a hint which is lost is only lost."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.proxy import Proxy
from tests.store.conftest import Open
from tests.store.rows import CALL, LEASE, created, insert, now, polled, take, take_one
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store import hints
from worker.store.claims import claim_seen, hand_back, start_creation
from worker.store.database import Database
from worker.store.hints import watch
from worker.store.records import record
from worker.store.restores import settle_place
from worker.store.upkeep.intake import NewReturn, insert_returns

Heard = Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, bool]]


class Watched:
    """A running `watch`, and what it said."""

    def __init__(self) -> None:
        self.wakes = self.claimed = 0
        self.losses: list[tuple[str, int]] = []
        self._changed = asyncio.Event()

    def wake(self) -> None:
        self.wakes += 1
        self._changed.set()

    def lost(self, error: str, tries: int, _retry_in: float) -> None:
        self.losses.append((error, tries))
        self._changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def watching(database: Database, watched: Watched | None = None) -> AsyncIterator[Watched]:
    watched = watched or Watched()
    task = asyncio.create_task(watch(database, watched.wake, lambda: watched.claimed, watched.lost))
    try:
        await watched.until(lambda: watched.wakes == 1)  # it wakes once when it begins: it may have missed something
        yield watched
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def heard(url: str, kind: str) -> AsyncIterator[Heard]:
    """Whether doing something notifies the workers; a mark of our own, sent behind it, tells when all was said."""
    assert kind == "postgresql"  # SQLite does not tell who committed
    listening, marking = [await asyncpg.connect(url) for _ in range(2)]
    said: list[str] = []
    marked = asyncio.Event()
    await listening.add_listener("returns_worker", lambda *_: said.append("wake"))
    await listening.add_listener("mark", lambda *_: marked.set())

    async def hears(work: Coroutine[Any, Any, Any]) -> bool:
        await work
        marked.clear()
        await marking.execute("NOTIFY mark")
        await asyncio.wait_for(marked.wait(), 10)
        found = bool(said)
        said.clear()
        return found

    yield hears
    await listening.close()
    await marking.close()


async def test_what_the_shop_commits_wakes(database: Database, shop: Shop) -> None:
    async with watching(database) as watched:
        statements = (
            """INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')""",
            "UPDATE return_order SET cancel_requested_at = created_at",
            "UPDATE return_order SET retry_requested_at = created_at",
        )
        for count, statement in enumerate(statements, 2):
            await shop.run(statement)
            await watched.until(lambda count=count: watched.wakes >= count)
        assert watched.wakes == 4
        assert watched.losses == []


@on_postgresql
async def test_only_what_the_shop_does_is_notified_and_not_the_workers_own_work(
    database: Database, shop: Shop, heard: Heard
) -> None:
    assert await heard(insert(shop, "R-1"))
    (claimed,) = await take(database)
    order = claimed.order
    assert not await heard(take(database))
    assert not await heard(hand_back(database, [order]))
    order = await take_one(database)
    started = await start_creation(database, order, CALL)
    order = order._replace(create_started_at=started)
    assert not await heard(record(database, [(order, created(order, due_at=now(), track_due_at=now()))]))
    order = await take_one(database, Step.TRACK)
    assert not await heard(record(database, [(order, polled(order))]))
    assert not await heard(claim_seen(database, "default", ["NR-1"], now(seconds=5), "worker-1", LEASE))
    assert not await heard(settle_place(database))
    for column in ("cancel_requested_at", "retry_requested_at"):
        assert await heard(shop.run(f"UPDATE return_order SET {column} = now()"))
    assert not await heard(shop.run("UPDATE return_order SET updated_at = now()"))
    assert await heard(insert_returns(database, [NewReturn("default", "R-2", {})]))


@on_postgresql
async def test_a_roll_back_is_not_notified_and_a_transaction_is_once(shop: Shop, url: str) -> None:
    said: list[str] = []
    listening = await asyncpg.connect(url)
    await listening.add_listener("returns_worker", lambda *_: said.append("wake"))
    for end in ("ROLLBACK", "COMMIT"):
        await shop.run("BEGIN")
        for number in range(100):
            await insert(shop, f"R-{number}")
        await shop.run(end)
    await listening.execute("SELECT 1")  # notifications come before the answer
    await asyncio.sleep(0)
    assert said == ["wake"]
    await listening.close()


@on_postgresql
async def test_a_shop_with_column_grants_and_no_right_to_notify_wakes_too(
    own_database: None, shop: Shop, heard: Heard
) -> None:
    role = f"shop_{await shop.value('SELECT current_database()')}"
    await shop.run("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    await shop.run("REVOKE EXECUTE ON FUNCTION pg_notify(text, text) FROM PUBLIC")
    await shop.run(f"CREATE ROLE {role}")
    try:
        await shop.run(f"GRANT INSERT (reference, payload) ON return_order TO {role}")
        await shop.run(f"SET ROLE {role}")
        assert await heard(shop.run("INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')"))
    finally:
        await shop.run("RESET ROLE")
        await shop.run(f"DROP OWNED BY {role}")
        await shop.run(f"DROP ROLE {role}")


@on_postgresql
@pytest.mark.parametrize("trigger", ["return_order_wake_on_insert", "return_order_wake_on_request"])
async def test_each_trigger_can_be_switched_off(own_database: None, shop: Shop, heard: Heard, trigger: str) -> None:
    await shop.run(f"ALTER TABLE return_order DISABLE TRIGGER {trigger}")
    on_insert = await heard(insert(shop, "R-1"))
    on_request = await heard(shop.run("UPDATE return_order SET cancel_requested_at = now()"))
    assert (on_insert, on_request) == (trigger.endswith("request"), trigger.endswith("insert"))


@on_postgresql
async def test_other_databases_of_the_cluster_are_not_heard(
    database: Database, opened: Open, empty_url: str, shop: Shop
) -> None:
    async with watching(database) as watched, Shop.at(empty_url) as elsewhere:
        await elsewhere.run("NOTIFY returns_worker")
        await insert(shop, "R-1")
        await watched.until(lambda: watched.wakes == 2)
        assert watched.wakes == 2


@on_postgresql
@pytest.mark.parametrize("in_vain", [True, False])
async def test_many_notifications_are_few_wakes_and_fewer_when_they_bring_nothing(
    database: Database, shop: Shop, in_vain: bool
) -> None:
    class Working(Watched):
        def wake(self) -> None:
            super().wake()
            self.claimed += not in_vain

    async with watching(database, Working()) as watched:
        began = time.monotonic()
        for _ in range(500):
            await shop.run("NOTIFY returns_worker")
        seconds = time.monotonic() - began
        await shop.run("SELECT 1")
        assert watched.wakes <= 2 + seconds / (hints._GAP * (hints._IN_VAIN if in_vain else 1))


@on_postgresql
async def test_a_half_open_connection_is_noticed_and_listening_goes_on(
    url: str, opened: Open, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "_PROBE_EVERY", 0.1)
    monkeypatch.setattr(hints, "_PROBE_TIMEOUT", 0.2)
    parts = urlsplit(url)
    async with Proxy(str(parts.hostname), int(parts.port or 0)) as proxy:
        through = opened(url.replace(f":{parts.port}/", f":{proxy.port}/") + "?connect_timeout=1")
        async with watching(through) as watched:
            proxy.freeze()
            await watched.until(lambda: len(watched.losses) >= 2)
            proxy.thaw()
            wakes = watched.wakes
            await watched.until(lambda: watched.wakes > wakes)
            await insert(shop, "R-1")
            await watched.until(lambda: watched.wakes > wakes + 1)
            assert [tries for _, tries in watched.losses] == list(range(1, len(watched.losses) + 1))


@on_postgresql
async def test_a_server_that_is_not_there_is_tried_again_more_and_more_rarely(opened: Open) -> None:
    waits: list[float] = []
    task = asyncio.create_task(
        watch(opened("postgresql://u@127.0.0.1:1/x"), lambda: None, lambda: 0, lambda *said: waits.append(said[2]))
    )
    async with asyncio.timeout(10):
        while len(waits) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert waits[0] <= waits[1] <= waits[2]
    assert waits[2] >= waits[0] * 2


@on_sqlite
async def test_the_workers_own_commits_wake_nobody_and_an_insert_between_them_does(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that is handed back is due at once: if that woke the loop, it would be taken and handed back for ever."""
    monkeypatch.setattr(hints, "_LOOK_EVERY", 0.005)
    await insert(shop, "R-1")
    async with watching(database) as watched:
        for _ in range(20):
            await hand_back(database, [await take_one(database)])
            await asyncio.sleep(0.005)
        assert watched.wakes == 1
        await database.transaction(lambda _: time.sleep(0.02))
        assert watched.wakes == 1
        order = await take_one(database)
        await insert(shop, "R-2")
        await hand_back(database, [order])
        await watched.until(lambda: watched.wakes == 2)


@on_sqlite
@pytest.mark.parametrize("then", ["missing", "another"])
async def test_watching_makes_no_file_and_opens_none_that_replaced_the_workers_own(
    database: Database, shop: Shop, url: str, then: str
) -> None:
    file = Path(url.removeprefix("sqlite:///"))
    if then == "another":
        database.hold_file()
    file.rename(file.with_name("moved.db"))
    if then == "another":
        file.touch()
    watched = Watched()
    task = asyncio.create_task(watch(database, watched.wake, lambda: watched.claimed, watched.lost))
    await watched.until(lambda: bool(watched.losses))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert ("was replaced or removed" in watched.losses[0][0]) == (then == "another")
    assert (watched.wakes, file.exists()) == (0, then == "another")


@on_sqlite
async def test_watching_holds_no_lock_that_others_wait_for(database: Database, url: str) -> None:
    async with watching(database):
        other = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
        other.execute("CREATE TABLE shops_own (x)")
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        other.close()


@on_sqlite
async def test_a_file_whose_name_means_something_in_an_address_is_watched(
    opened: Open, tmp_path: Path, migrated_file: Path
) -> None:
    file = tmp_path / "a b?mode=ro#%41.db"
    shutil.copy(migrated_file, file)
    async with watching(opened(f"sqlite:///{quote(str(file))}")) as watched, Shop.at(f"sqlite:///{file}") as shop:
        await insert(shop, "R-1")
        await watched.until(lambda: watched.wakes == 2)
