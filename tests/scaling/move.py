"""Measures how long a shop waits while `copy-to` moves its returns to PostgreSQL, and what memory the command takes.

    python -m tests.scaling.move [RETURNS]

A shop tries to insert into the SQLite file every few milliseconds; it waits from its first refusal until the command
has ended, since from then on it could insert into PostgreSQL. PostgreSQL syncs its writes, as an installation would.
"""

import asyncio
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from pathlib import Path

import asyncpg

from tests.postgres import PostgresServer
from tests.scaling.filling import Amount, fill

_RETURNS = 100_000
_EVERY = 0.02  # seconds between the shop's inserts
_ROWS = ("return_order", "status_transition", "package", "label")


def main(returns: int) -> None:
    """Fill a file, move it, and print what it took."""
    server = PostgresServer.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file, target = Path(folder) / "returns.db", server.create_database()
            # Half of them are over and have six lines of history, the others three.
            amount = Amount(returns // 2, returns - returns // 2)
            # By another process: what this one takes would count as the memory of the command that it starts.
            with ProcessPoolExecutor(1) as process:
                process.submit(_fill, f"sqlite:///{file}", amount).result()
            asyncio.run(_sync(target))
            with sqlite3.connect(file) as connection:
                rows = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _ROWS}
            print(
                f"Python {platform.python_version()}, {os.cpu_count()} processors, {file.stat().st_size / 1e6:.0f} MB"
            )
            print(", ".join(f"{count} in {name}" for name, count in rows.items()))
            _move(file, target)
    finally:
        server.stop()


def _fill(url: str, amount: Amount) -> None:
    asyncio.run(fill(url, amount))


def _move(file: Path, target: str) -> None:
    words = [sys.executable, "-m", "worker", "copy-to", target]
    environ = {**os.environ, "RETURNS_WORKER_DATABASE__URL": f"sqlite:///{file}"}
    began = time.monotonic()
    moving = subprocess.Popen(words, cwd=Path(__file__).parents[2], env=environ)
    shop = sqlite3.connect(file, isolation_level=None)
    for number in count():
        try:
            shop.execute("INSERT INTO return_order (reference, payload) VALUES (?, '{}')", (f"LATE-{number}",))
        except sqlite3.IntegrityError:
            refused = time.monotonic()
            break
        time.sleep(_EVERY)
    _, status, used = os.wait4(moving.pid, 0)
    moving.returncode, ended = os.waitstatus_to_exitcode(status), time.monotonic()
    shop.close()
    if refused is None or moving.returncode != 0:
        raise SystemExit(f"copy-to ended with {moving.returncode}")
    print(f"the command took {ended - began:.1f} s; the shop waited {ended - refused:.1f} s of it")
    print(f"the command's memory at its most: {used.ru_maxrss / 1000:.0f} MB")


async def _sync(url: str) -> None:
    connection = await asyncpg.connect(url)
    for setting in ("fsync", "full_page_writes"):
        await connection.execute(f"ALTER SYSTEM SET {setting} = on")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _RETURNS)
