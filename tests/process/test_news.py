"""A shop that deletes its news as it reads it, in a process of its own, beside workers that write it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.documents.pages import read, snippet
from tests.process.running import PAYLOAD, RunningWorker, until
from tests.process.shop import Shop

Start = Callable[..., RunningWorker]
PAGE = read("docs/integrate/news.md")
# The loop of the page, which writes down what it took; it ends when its standard input does and nothing is left.
READER = """
import json, select, sys, time
{loop}
def take(database):
    {take}
    sys.stdout.write("".join(json.dumps(event) + "\\n" for event in events))
    sys.stdout.flush()
    return len(events)
while True:
    over = select.select([sys.stdin], [], [], 0)[0]
    if not take(sys.argv[1]) and over:
        break
    time.sleep(0.02)
"""
TAKE = {
    "postgresql": "with psycopg.connect(database) as c: events = sorted(c.execute(TAKE).fetchall())",
    "sqlite": (
        "c = sqlite3.connect(database, timeout=10); events = sorted(c.execute(TAKE).fetchall()); c.commit(); c.close()"
    ),
}
INSERT = """
INSERT INTO return_order (reference, payload)
WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count})
SELECT 'R-' || x, {payload} FROM n"""


@pytest.fixture
def reader(kind: str, database_url: str, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    program = READER.format(loop=snippet(f"news-{kind}", PAGE), take=TAKE[kind])
    with (
        (tmp_path / "read").open("w") as output,
        subprocess.Popen(
            [sys.executable, "-c", program, database_url.removeprefix("sqlite:///")],
            stdin=subprocess.PIPE,
            stdout=output,
            text=True,
        ) as process,
    ):
        yield process
        process.kill()


@pytest.mark.parametrize("count", [30, pytest.param(2000, marks=pytest.mark.long)])
async def test_a_shop_that_deletes_as_it_reads_is_told_of_every_change_once_and_in_the_order_of_each_return(
    start: Start, shop: Shop, config: Path, kind: str, reader: "subprocess.Popen[str]", tmp_path: Path, count: int
) -> None:
    config.write_text(f"{config.read_text()}[news.shop]\nkind = 'table'\n")
    workers = [await start().ready() for _ in range(3 if kind == "postgresql" else 1)]
    payload = f"'{json.dumps(PAYLOAD)}'"
    payload = f"CAST({payload} AS jsonb)" if kind == "postgresql" else payload
    await shop.execute(INSERT.format(count=count, payload=payload))

    async def is_over() -> bool:
        (row,) = await shop.execute("SELECT count(*) AS n FROM return_order WHERE state <> 'completed'")
        return bool(row["n"] == 0)

    await until(is_over, 30 + count / 10, lambda: workers[0].log_text[-3000:])
    for worker in workers:
        assert await worker.stopped() == 0
    assert reader.stdin is not None
    reader.stdin.close()
    assert await asyncio.to_thread(reader.wait, 60) == 0
    told = [json.loads(line) for line in (tmp_path / "read").read_text().splitlines()]
    written = [
        (source, row["id"])
        for source, table in (("transition", "status_transition"), ("label", "label"))
        for row in await shop.execute(f"SELECT id FROM {table}")
    ]
    assert sorted((source, number) for *_, source, number in told) == sorted(written)
    positions: dict[str, list[int]] = {}
    for _, _, _, reference, position, _, _ in told:
        positions.setdefault(reference, []).append(position)
    assert len(positions) == count
    assert all(found == list(range(1, len(found) + 1)) for found in positions.values())
    assert await shop.execute("SELECT * FROM return_event") == []
