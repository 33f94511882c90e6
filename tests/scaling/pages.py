"""Measures what each page takes, from the request to its last byte, on a database of the size that `ground` makes.

    python -m tests.scaling.pages [RETURNS]

PostgreSQL alone; 5 GB and some minutes for a million returns. A fiftieth of them is live, half of that due; 30,000
lines of the history are of today.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Connection, text

from tests.postgres import PostgresServer
from tests.scaling.filling import Amount, fill
from tests.web.served import served
from worker.store.database import Database
from worker.store.transactions import in_transaction

_HEADER = "page                                                            median ms        ms of each"
_ROUNDS = 7
_TODAY = """
INSERT INTO status_transition (return_order_id, observed_at, field, old_value, new_value, carrier_status)
SELECT r.id, now() - make_interval(secs => g.n::bigint), 'tracking_status', 'pre_transit', 'in_transit', 'Onderweg'
  FROM (SELECT id FROM return_order WHERE due_at IS NOT NULL ORDER BY id LIMIT 10000) r
 CROSS JOIN generate_series(3, 1, -1) AS g(n)"""
_TROUBLED = """
UPDATE return_order SET state = 'needs_attention', due_at = NULL, next_step = 'create', carrier_ref = NULL,
       error_code = (ARRAY['create_outcome_unknown', 'carrier_lost_it', 'carrier_error'])[1 + id % 3]
 WHERE id IN (SELECT id FROM return_order WHERE due_at IS NOT NULL ORDER BY id DESC LIMIT 500)"""
_REJECTED = "UPDATE return_order SET state = 'rejected', error_code = 'invalid_payload' WHERE id = 5"

_SUBSCRIBER = "INSERT INTO news_subscriber (name, kind) VALUES ('shop', 'webhook')"
_EVENTS = """
INSERT INTO webhook_event (subscriber, type, account, reference, return_order_id, position, source, source_id,
                           observed_at, due_at)
SELECT 'shop', 'state.completed', 'default', 'RMA-' || n, n, 1, 'transition', n, now(), now()
  FROM generate_series(1, 100000) AS n"""


@in_transaction
def _prepare(connection: Connection) -> None:
    """What the filling has not: lines of today, returns that need a person, one that is rejected, events that wait."""
    for statement in (_TODAY, _TROUBLED, _REJECTED, _SUBSCRIBER, _EVENTS):
        connection.execute(text(statement))


async def _measure(url: str, returns: int, folder: Path) -> None:
    database = Database(url)
    await _prepare(database)
    await database.close()
    number = returns // 2
    print(_HEADER)
    async with served(url, folder) as browser:
        for path in (
            "/",
            "/returns",
            f"/returns?before={number}",
            "/returns?state=tracking",
            f"/returns?state=tracking&before={returns - 10_000}",
            "/returns?state=pending",
            "/returns?state=needs_attention&error_code=carrier_lost_it",
            "/returns?state=completed",
            "/returns?state=rejected",
            "/returns?account=nowhere",
            f"/returns?q=RMA-{number}",
            f"/returns?q=7RET{number}1",
            "/returns?q=no+such+customer",
            f"/returns/default/RMA-{number}",
            f"/returns/default/RMA-{returns}",
            "/accounts",
            "/news",
        ):
            took = []
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                answer = await browser.get(path)
                took.append((time.perf_counter() - began) * 1000)
                assert answer.status == 200, (path, answer.status)
                await asyncio.sleep(0.2)
            each = " ".join(f"{one:.0f}" for one in took)
            print(f"{path:62} {statistics.median(took):10.1f}        {each}", flush=True)


def main(returns: int) -> None:
    """Fill, measure, and remove it."""
    server = PostgresServer.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            url, live = server.create_database(), returns // 50
            asyncio.run(fill(url, Amount(returns - live, live, live // 2)))
            asyncio.run(_measure(url, returns, Path(folder)))
    finally:
        server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
