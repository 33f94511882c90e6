"""A thousand accounts in one worker: how long a start and a turn take on each database, and how large /metrics is.

.venv/bin/python -m tests.scaling.accounts
"""

import asyncio
import gzip
import logging
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
from prometheus_client import generate_latest

from tests.engine.scripted import ScriptedCarrier, make_loop
from tests.postgres import PostgresServer
from worker.app import Application
from worker.engine.gauges import Gauges
from worker.settings import load
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.schema import migrate
from worker.telemetry.logs import Redactor

COUNT = 1000


async def main(url: str, folder: Path) -> None:
    """Two returns to create and two to poll for each account: turns until all is done, then one that finds nothing."""
    database = Database(url)
    await migrate(database)
    said = _stopwatch(database.dialect)
    loop = await make_loop(database, folder, {f"shop_{n:04}": ScriptedCarrier() for n in range(COUNT)}, max_in_flight=8)
    said("start")
    cast = "CAST('{}' AS jsonb)" if database.dialect == POSTGRESQL else "'{}'"
    for reference, columns, values in (
        ("C", "", ""),
        ("T", ", state, next_step, carrier_ref", ", 'tracking', 'track', n.v || name"),
    ):
        await loop.execute(
            f"INSERT INTO return_order (account, reference, payload{columns}) SELECT name, n.v || name, {cast}{values}"
            f" FROM carrier_account, (SELECT '{reference}1' AS v UNION SELECT '{reference}2') n"
        )
    said("insert")
    while await loop.due_now():
        await loop.engine.turn()
        said("a turn that takes up to eight of each account")
        await loop.settle()
        said("its steps and their records")
    await loop.engine.turn()
    said("a turn that finds nothing")
    await Gauges(loop.tools, dict).refresh()
    said("the gauges")
    await database.close()


def metrics(carrier: str, folder: Path) -> None:
    """What /metrics of a worker has at its start."""
    accounts = "".join(f'[accounts.shop_{n:04}]\ncarrier = "{carrier}"\napi_key = "k{n}"\n' for n in range(COUNT))
    file = folder / f"{carrier}.toml"
    file.write_text(f'[database]\nurl = "sqlite:///{folder}/none.db"\n[labels]\nstore = "file:{folder}"\n{accounts}')
    said = _stopwatch(carrier)
    application = Application(load(file, {}, need_accounts=True), Redactor())
    said("make the worker")
    text = generate_latest(application.metrics.registry)
    said(f"/metrics: {len(text) / 1e6:.1f} MB, {len(gzip.compress(text, 6)) / 1e6:.2f} MB compressed")


def _stopwatch(name: str) -> Callable[[str], None]:
    began = time.perf_counter()

    def said(what: str) -> None:
        nonlocal began
        print(f"{name}: {time.perf_counter() - began:.2f} s  {what}")
        began = time.perf_counter()

    return said


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    server = PostgresServer.start()
    try:
        with TemporaryDirectory() as place:
            for each in (f"sqlite:///{place}/returns.db", server.create_database()):
                asyncio.run(main(each, Path(place)))
            for each in ("izipack", "returnpilot"):
                metrics(each, Path(place))
    finally:
        server.stop()
