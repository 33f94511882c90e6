"""Measures what `find` takes, by a number, by the newest customer, by one that no return has, and `list` by filters.

    python -m tests.scaling.search [RETURNS...]

Fills each database as `tests.scaling.ground` does, and removes it: 5 GB and some minutes for a million returns.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from tests.postgres import PostgresServer
from tests.process.running import PAYLOAD
from tests.scaling.filling import Amount, fill
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.transactions import in_transaction
from worker.store.upkeep.archive import archive_batch
from worker.store.upkeep.history import find_orders
from worker.usecases.search import Sought, search

_ROUNDS = 5
_ARCHIVED = 20_000
_LIVE = 20_000
_ENDLESS = timedelta(hours=1)


@in_transaction
def _plant(connection: Connection, name: str) -> None:
    """Add a return with a customer that no other has."""
    payload = json.dumps(PAYLOAD | {"customer": PAYLOAD["customer"] | {"name": name}})
    kind = "jsonb" if connection.dialect.name == "postgresql" else "text"
    statement = text(
        f"INSERT INTO return_order (account, reference, payload) VALUES ('other', :name, CAST(:payload AS {kind}))"
    )
    connection.execute(statement, {"name": name, "payload": payload})


async def _measure(url: str, returns: int) -> None:
    database = Database(url)

    async def timed(what: str, call: Callable[[], Awaitable[Any]]) -> None:
        took = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            await call()
            took.append((time.perf_counter() - began) * 1000)
        spread = f"{min(took):.1f} to {max(took):.1f}"
        name = f"{returns:>9,} {database.dialect:10} {what}"
        print(f"{name:70} {statistics.median(took):10.1f} ms, {spread}", flush=True)

    def found(sought: str) -> Callable[[], Awaitable[Any]]:
        return partial(search, database, Sought(sought, within=_ENDLESS))

    await _plant(database, "Newest Customer")
    number = returns // 2
    await timed("reference", found(f"RMA-{number}"))
    await timed("carrier number", found(f"9RET{number}"))
    await timed("label code", found(f"7RET{number}1"))
    await timed("name, of the newest return", found("newest customer"))
    await timed("name, of none: all are read", found("no such customer"))
    await timed("list --error-code, of none", partial(find_orders, database, error_code="carrier_error"))
    await timed("list --tracking, of none", partial(find_orders, database, tracking=["failed"]))
    await timed("list --older-than, of none", partial(find_orders, database, older_than=timedelta(days=4000)))
    await timed("list --no-label, of one", partial(find_orders, database, no_label=True))
    before, last, count = await database_now(database) - timedelta(days=300), 0, 0
    while count < _ARCHIVED:
        batch = await archive_batch(database, before, None, last, 200)
        count, last = count + batch.count, batch.last
    await timed(f"name, of none: all are read, {count:,} of them archived", found("no such customer"))
    await database.close()


def main(amounts: list[int]) -> None:
    """Both kinds of database, with each amount."""
    server = PostgresServer.start()
    try:
        for returns in amounts:
            with tempfile.TemporaryDirectory() as folder:
                postgresql, sqlite = server.create_database(), f"sqlite:///{Path(folder)}/find.db"
                for url in (postgresql, sqlite):
                    asyncio.run(fill(url, Amount(returns - _LIVE, _LIVE)))
                    asyncio.run(_measure(url, returns))
                server.drop_database(postgresql)
    finally:
        server.stop()


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [300_000, 1_000_000])
