"""A shop that moves from SQLite to PostgreSQL while it sells, with a worker and a carrier that are real."""

import asyncio
import re
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.process.nursery import nursery
from tests.process.running import PILOT_PAYLOAD, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.dsn import place_of_url
from worker.simulator import Simulator
from worker.simulator.faults import trickle

Start = Callable[..., RunningWorker]
REFERENCE = re.compile(r"(BUSY|UNDER-WAY)-\d+|IN-DOUBT|DONE|NEW")

pytestmark = pytest.mark.parametrize("kind", ["sqlite"])


def in_the_books(carrier: Simulator) -> list[str]:
    """The references of what both carriers have."""
    found = [REFERENCE.search(order.description) for order in carrier.orders.values()]
    return [match[0] for match in found if match] + [order.reference for order in carrier.pilot_orders.values()]


class BusyShop:
    """Inserts all the time; what was committed is remembered, and so is the first refusal."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.committed: list[str] = []
        self.refusal = ""

    async def run(self) -> None:
        while not self.refusal:
            reference = f"BUSY-{len(self.committed)}"
            try:
                await self._shop.insert(reference)
            except sqlite3.IntegrityError as error:
                self.refusal = str(error)
            else:
                self.committed.append(reference)
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "ended_by", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL], ids=lambda number: number.name
)
async def test_a_shop_that_sells_on_moves_to_postgresql_and_nothing_is_created_twice_or_lost(
    start: Start,
    shop: Shop,
    carrier: Simulator,
    config: Path,
    database_url: str,
    postgres_url: str,
    ended_by: signal.Signals,
) -> None:
    worker = await start().ready()
    await shop.insert("DONE")
    await shop.insert("REJECTED", {"packages": []})
    await shop.insert("P-1", PILOT_PAYLOAD, account="pilot")
    await until(lambda: shop.is_in("DONE", "completed"), 15, lambda: worker.log_text)
    await until(lambda: shop.is_in("REJECTED", "rejected"), 15, lambda: worker.log_text)
    for number in range(12):
        await shop.insert(f"UNDER-WAY-{number}")
    if ended_by is signal.SIGKILL:
        carrier.inject("create", trickle(0.002))
        await shop.insert("IN-DOUBT")
    await until(lambda: len(carrier.orders) >= 6, 10, lambda: worker.log_text)
    worker.send(ended_by)
    await worker.ended()

    busy = BusyShop(shop)
    selling = asyncio.create_task(busy.run())
    await until(lambda: len(busy.committed) > 5, 10)
    code, _, said = await typed(config, "copy-to", postgres_url)
    assert code == 0, said
    await asyncio.wait_for(selling, 10)
    assert "have moved to another database" in busy.refusal

    refused = start()
    assert await refused.ended() == 78
    assert "have moved to" in refused.log_text
    config.write_text(config.read_text().replace(database_url, postgres_url))
    there = Shop(postgres_url)
    again = await start().ready()
    await there.insert("NEW")

    async def all_over() -> bool:
        live = "SELECT 1 FROM return_order WHERE state IN ('pending', 'tracking')"
        return not await there.execute(live)

    await until(all_over, 30, lambda: again.log_text)
    assert not again.saw("database_restored")
    rows = {row["reference"]: row["state"] for row in await there.execute("SELECT * FROM return_order")}
    assert {*busy.committed, "DONE", "REJECTED", "P-1", "NEW", *(f"UNDER-WAY-{n}" for n in range(12))} <= rows.keys()
    assert {reference for reference, state in rows.items() if state == "rejected"} == {"REJECTED"}
    held = {reference for reference, state in rows.items() if state == "needs_attention"}
    assert ended_by is signal.SIGKILL or not held
    created = in_the_books(carrier)
    assert len(created) == len(set(created))
    assert {reference for reference, state in rows.items() if state == "completed"} <= set(created)
    assert set(created) | {"REJECTED"} | held == rows.keys()


async def test_a_running_worker_is_to_be_stopped_first(
    start: Start, config: Path, shop: Shop, postgres_url: str
) -> None:
    worker = await start().ready()
    code, _, said = await typed(config, "copy-to", postgres_url)
    assert (code, f"process {worker.process.pid}" in said) == (1, True), said
    code, _, said = await typed(config, "copy-to", "--dry-run", postgres_url)
    assert code == 0, said
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "completed"), 15, lambda: worker.log_text)


async def test_a_target_that_is_not_one_is_said_with_its_own_exit_code_and_without_its_password(
    config: Path, tmp_path: Path, postgres_url: str
) -> None:
    assert (await typed(config, "migrate"))[0] == 0
    secret = tmp_path / "url"
    secret.write_text("postgresql://somebody:hunter2@127.0.0.1:1/shop")
    for words, code, part in (
        (["--url-file", str(secret)], 69, "nothing was copied"),
        (["--url-file", str(tmp_path / "none")], 2, "cannot be read"),
        (["sqlite:///other.db"], 2, "returns-worker backup"),
        (["mysql://x/y"], 2, "must be"),
        ([], 2, "say where to"),
        ([postgres_url, "--url-file", str(secret)], 2, "say where to"),
        ([postgres_url.rsplit("/", 1)[0] + "/no_such_database"], 78, "does not exist"),
    ):
        done = await typed(config, "copy-to", *words)
        assert (done[0], part in done[2]) == (code, True), done
        assert "hunter2" not in done[1] + done[2]
    there = Shop(postgres_url)
    await there.execute("CREATE TABLE returns_worker_schema (version_num varchar(32) PRIMARY KEY)")
    for revision, part in (("0005", "older"), ("9999", "newer")):
        await there.execute("DELETE FROM returns_worker_schema")
        await there.execute("INSERT INTO returns_worker_schema VALUES (?1)", revision)
        done = await typed(config, "copy-to", postgres_url)
        assert (done[0], part in done[2]) == (78, True), done


async def test_what_reads_goes_on_after_a_move_and_what_writes_refuses(
    config: Path, shop: Shop, postgres_url: str, tmp_path: Path
) -> None:
    assert (await typed(config, "migrate"))[0] == 0
    await shop.insert("R-1")
    assert (await typed(config, "copy-to", postgres_url))[0] == 0
    (tmp_path / "one.json").write_text('{"reference": "R-2", "payload": {}}')
    for words in (["list"], ["show", "R-1"], ["accounts"], ["statuses"]):
        code, _, said = await typed(config, *words)
        assert (code, "note: the returns of this database have moved to" in said) == (0, True), said
    for words in (
        ["run"],
        ["check"],
        ["migrate"],
        ["restored"],
        ["cancel", "R-1"],
        ["accounts", "hold", "default"],
        ["statuses", "--remap"],
        ["add", str(tmp_path / "one.json")],
    ):
        code, _, said = await typed(config, *words)
        assert (code, "have moved to" in said) == (78, True), (words, said)
    code, _, said = await typed(config, "copy-to", postgres_url)
    assert (code, "have moved to" in said, "already" in said) == (0, True, True)


async def test_a_copy_that_is_interrupted_opens_the_file_again_and_says_so(
    config: Path, shop: Shop, postgres_url: str, database_url: str, tmp_path: Path
) -> None:
    assert (await typed(config, "migrate"))[0] == 0
    await shop.insert("R-1")
    there, said = Shop(postgres_url), tmp_path / "said"
    config.write_text(config.read_text().replace(database_url, postgres_url))
    assert (await typed(config, "migrate"))[0] == 0
    config.write_text(config.read_text().replace(postgres_url, database_url))
    await there.execute(
        "CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END$$"
    )
    await there.execute("CREATE TRIGGER halt BEFORE INSERT ON return_order FOR EACH ROW EXECUTE FUNCTION halt()")
    async with halted(postgres_url):
        copying = nursery().start("--config", str(config), "copy-to", postgres_url, errors=said)
        await until(lambda: is_retired(shop), 15, said.read_text)
        copying.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(copying.wait) == 130
    assert "nothing was copied, and the SQLite file is in use as before" in said.read_text()
    await shop.insert("R-2")


@asynccontextmanager
async def halted(url: str) -> AsyncIterator[None]:
    """Whoever asks for the advisory lock 1 waits meanwhile."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock(1)")
        yield
    finally:
        await connection.close()


async def is_retired(shop: Shop) -> bool:
    return bool(await shop.execute("SELECT 1 FROM database_place WHERE moved_to IS NOT NULL"))


async def test_an_abandoned_copy_gives_the_file_back_to_its_worker_and_a_complete_one_does_not(
    start: Start, config: Path, shop: Shop, postgres_url: str
) -> None:
    assert (await typed(config, "migrate"))[0] == 0
    await shop.insert("R-1")
    place = place_of_url(postgres_url)
    await shop.execute(f"UPDATE database_place SET moved_to = '{place}'")  # as a copy that was killed leaves it
    for words in (["run"], ["check"], ["cancel", "R-1"], ["copy-to", "postgresql://127.0.0.1:1/shop"]):
        code, _, said = await typed(config, *words)
        assert (code, "complete it by copy-to" in said, "copy-to --abandon" in said) == (78, True, True), (words, said)
    for words, code, part in (
        (["--dry-run", postgres_url], 2, "takes no --dry-run"),
        ([], 2, "say where to"),
        (["postgresql://127.0.0.1:1/shop"], 78, f"its copy to {place} may not be complete"),
        ([postgres_url], 0, "the SQLite file is in use"),
        ([postgres_url], 0, "the SQLite file is in use"),
    ):
        done = await typed(config, "copy-to", "--abandon", *words)
        assert (done[0], part in done[2]) == (code, True), done
    worker = await start().ready()
    await until(lambda: shop.is_in("R-1", "completed"), 15, lambda: worker.log_text)
    code, _, said = await typed(config, "copy-to", "--abandon", postgres_url)
    assert (code, f"process {worker.process.pid}" in said) == (1, True), said
    assert await worker.stopped() == 0
    assert (await typed(config, "copy-to", postgres_url))[0] == 0
    code, _, said = await typed(config, "copy-to", "--abandon", postgres_url)
    assert (code, "is complete" in said) == (1, True), said


async def test_a_file_whose_target_cannot_be_reached_is_not_opened_again(config: Path, shop: Shop) -> None:
    assert (await typed(config, "migrate"))[0] == 0
    away = "postgresql://127.0.0.1:1/shop"
    await shop.execute(f"UPDATE database_place SET moved_to = '{away}'")
    code, _, said = await typed(config, "copy-to", "--abandon", away)
    assert (code, "cannot be reached" in said) == (69, True), said
    assert await is_retired(shop)
