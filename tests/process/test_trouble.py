"""What goes wrong around a worker, with the real process: keys, accounts, configuration, databases."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.databases import on_postgresql, on_sqlite
from tests.postgres import PostgresServer
from tests.process.running import KEY, PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]


@on_sqlite
async def test_a_refused_key_holds_the_account_and_a_changed_key_file_releases_it(
    start: Start, shop: Shop, carrier: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "izipack.key").write_text("IZI-wrong-key")
    worker = await start().ready()
    for number in range(5):
        await shop.insert(f"R-{number}")
    await until(lambda: worker.saw("account_held"), 10, lambda: worker.log_text)
    held = 'returns_worker_account_held_until_timestamp_seconds{account="default"}'
    await until(lambda: _is(worker, held, float("inf")), 5)
    refused = 'returns_worker_account_key_refused{account="default"}'
    assert await worker.metric(refused) == 1
    asked = len(carrier.requests("create"))
    assert asked <= 5
    orders = await shop.execute("SELECT * FROM return_order")
    assert {(row["state"], row["attempts"], row["error_code"]) for row in orders} == {("pending", 0, None)}

    (tmp_path / "izipack.key").write_text(KEY)
    await until(lambda: _all_are(shop, "completed"), 20, lambda: worker.log_text)
    assert worker.saw("account_released")
    assert (await worker.metric(held), await worker.metric(refused)) == (0, 0)
    assert "IZI-wrong-key" not in worker.log_text


@on_sqlite
async def test_an_account_that_is_not_configured_leaves_the_row_untouched_and_is_told(start: Start, shop: Shop) -> None:
    worker = await start().ready()
    await shop.insert("R-1", account="elsewhere")
    before = await shop.order("R-1")
    await until(lambda: _is(worker, "returns_worker_orders_unroutable", 1.0), 5)
    assert worker.saw("account_not_configured")
    assert await shop.order("R-1") == before


@on_sqlite
async def test_every_problem_of_a_bad_configuration_is_named_at_once_and_nothing_starts(
    start: Start, config: Path
) -> None:
    text = config.read_text().replace('timeout = "2s"', 'timeout = "nonsense"').replace('lease = "5s"', 'lease = "-1s"')
    config.write_text(text + "\n[nonsense]\nx = 1\n")
    worker = start()
    assert await worker.ended() == 78
    for place in ("accounts.default.timeout", "worker.lease", "nonsense"):
        assert place in worker.log_text


@on_postgresql
async def test_an_unreachable_database_is_waited_for_and_then_ends_with_69(start: Start, config: Path) -> None:
    config.write_text(
        config.read_text().replace("postgresql://", "postgresql://nobody@127.0.0.1:1/x?application_name=")
    )
    worker = start()
    assert await worker.ended() == 69
    assert worker.saw("database_unavailable")


@on_postgresql
async def test_a_database_restart_is_waited_out(
    start: Start, shop: Shop, carrier: Simulator, postgres_server: PostgresServer
) -> None:
    worker = await start().ready()
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "tracking"), 10, lambda: worker.log_text)
    await asyncio.to_thread(postgres_server.restart_immediately)
    await until(lambda: shop.is_in("R-1", "completed"), 20, lambda: worker.log_text)
    assert len(carrier.requests("create")) == 1
    back = await until(lambda: worker.saw("database_back"), 5, lambda: worker.log_text)
    assert 0 < back["seconds"] < 20
    assert not worker.saw("database_refuses")
    assert await worker.stopped() == 0


@on_sqlite
async def test_a_file_that_is_not_whole_makes_a_worker_unready_and_is_said_in_one_line(
    start: Start, shop: Shop, tmp_path: Path
) -> None:
    worker = await start().ready()
    await shop.insert("R-1", {**PAYLOAD, "description": "sim:stuck"})
    await until(lambda: shop.is_in("R-1", "tracking"), 10, lambda: worker.log_text)
    file, log = tmp_path / "returns.db", tmp_path / "returns.db-wal"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'return_order'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()

        async def spoilt() -> bool:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("BEGIN IMMEDIATE")  # so that the worker writes nothing meanwhile
            if log.stat().st_size:
                connection.execute("ROLLBACK")
                return False
            with file.open("r+b", buffering=0) as stream:
                stream.seek((page - 1) * size)
                stream.write(b"x" * size)
            connection.execute("CREATE TABLE of_the_shop (id)")  # nobody goes on with what he has read before
            connection.execute("COMMIT")
            return True

        await until(spoilt, 10)
    await until(lambda: worker.saw("database_refuses"), 10, lambda: worker.log_text)
    status, said = await worker.get("/readyz")
    assert (status, "refuses to be used" in said) == (503, True)
    assert (await worker.get("/livez"))[0] == 200
    told = [line for line in worker.events if "malformed" in str(line) and line["level"] != "debug"]
    assert {line["event"] for line in told} == {"database_refuses"}
    assert len({line["doing"] for line in told}) == len(told)
    assert await worker.stopped() == 0


@on_sqlite
async def test_a_newer_database_refuses_an_older_worker(start: Start, tmp_path: Path) -> None:
    worker = await start().ready()
    assert await worker.stopped() == 0
    connection = sqlite3.connect(tmp_path / "returns.db")
    connection.execute("UPDATE returns_worker_schema SET version_num = '9999'")
    connection.commit()
    connection.close()
    older = start()
    assert await older.ended() == 78
    assert "newer version of returns-worker" in older.log_text


@on_sqlite
async def test_the_pages_answer_for_the_process(start: Start) -> None:
    worker = await start().ready()
    assert await worker.get("/livez") == (200, "ok\n")
    status, text = await worker.get("/readyz")
    assert status == 200
    assert '"schema": "current"' in text
    for name in ("orders", "oldest_due_timestamp_seconds", "labels_missing", "orders_due"):
        series = f'returns_worker_{name}{{account="default"' + (',state="pending"}' if name == "orders" else "}")
        assert await worker.metric(series) == 0


@on_sqlite
async def test_until_idle_stops_when_nothing_is_left_to_do_now(config: Path, shop: Shop, start: Start) -> None:
    worker = await start().ready()
    assert await worker.stopped() == 0
    await shop.insert("R-1")
    config.write_text(
        config.read_text().replace('"200ms"\nfactor', '"1h"\nfactor').replace('cap = "200ms"', 'cap = "1h"')
    )
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "worker", "--config", str(config), "run", "--until-idle"],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert await shop.is_in("R-1", "tracking")
    assert await shop.execute("SELECT id FROM label")


@on_postgresql
async def test_a_stop_hands_back_what_was_not_started(start: Start, shop: Shop, carrier: Simulator) -> None:
    worker = await start().ready()
    for number in range(20):
        await shop.insert(f"R-{number} sim:stuck")
    await until(lambda: _all_are(shop, "tracking"), 20, lambda: worker.log_text)
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0
    rows = await shop.execute("SELECT lease_owner, claims FROM return_order")
    assert {(row["lease_owner"], row["claims"]) for row in rows} == {(None, 0)}


async def _is(worker: RunningWorker, series: str, value: float) -> bool:
    return await worker.metric(series) == value


async def _all_are(shop: Shop, state: str) -> bool:
    return all(row["state"] == state for row in await shop.execute("SELECT state FROM return_order"))


@on_sqlite
async def test_bytes_that_are_no_utf8_are_rejected_and_stop_nobody(
    start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    latin1 = json.dumps(PAYLOAD, ensure_ascii=False).replace("Sprookjeswonderland", "Jörg").encode("latin-1")
    await shop.execute(f"INSERT INTO return_order (reference, payload) VALUES ('BAD', CAST(x'{latin1.hex()}' AS TEXT))")
    await shop.execute("INSERT INTO return_order (reference, payload) VALUES (CAST(x'42e4' AS TEXT), ?1)", PAYLOAD)
    await shop.insert("GOOD")
    await until(lambda: shop.is_in("GOOD", "completed"), 15, lambda: worker.log_text)
    rejected = await shop.execute("SELECT error_message FROM return_order WHERE state = 'rejected' ORDER BY id")
    assert [row["error_message"] for row in rejected] == [
        "customer.name: holds bytes that are not UTF-8",
        "reference: holds bytes that are not UTF-8",
    ]
    assert len(carrier.requests("create")) == 1
