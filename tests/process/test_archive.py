"""The command `archive` beside a worker that works, and killed at any moment."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.process.nursery import nursery
from tests.process.running import RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.store.database import Database
from worker.store.schema import migrate

Start = Callable[..., RunningWorker]
MANY = 3000
OLD = "'2020-01-01 00:00:00'"


async def fill(shop: Shop, many: int = MANY) -> None:
    """Completed returns from years ago, with a line of history and a package each."""
    database = Database(shop.url)
    await migrate(database)
    await database.close()
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) "
    await shop.execute(
        "INSERT INTO return_order (reference, payload, state, next_step, carrier_ref, tracking_status, due_at,"
        f" created_at, updated_at) {numbers} SELECT 'OLD-' || i, '{{}}', 'completed', 'track', 'NR-' || i, 'delivered',"
        f" NULL, {OLD}, {OLD} FROM n"
    )
    await shop.execute(
        "INSERT INTO status_transition (return_order_id, field, new_value)"
        " SELECT id, 'state', 'completed' FROM return_order"
    )
    await shop.execute("INSERT INTO package (return_order_id, position) SELECT id, 1 FROM return_order")


async def places(shop: Shop) -> tuple[int, int]:
    """How many returns are where they were, and how many in the archive; each of them whole, and in one place."""
    (found,) = await shop.execute("""
SELECT (SELECT count(*) FROM return_order) AS kept, (SELECT count(*) FROM archived_return) AS archived,
       (SELECT count(*) FROM return_order o JOIN archived_return a ON a.id = o.id) AS twice,
       (SELECT count(DISTINCT return_order_id) FROM status_transition) AS histories,
       (SELECT count(*) FROM package) AS packages""")
    assert found["twice"] == 0
    assert found["kept"] == found["histories"] == found["packages"]
    for row in await shop.execute("SELECT document FROM archived_return"):
        document = json.loads(row["document"])
        assert (len(document["transitions"]), len(document["packages"])) == (1, 1)
    return found["kept"], found["archived"]


async def test_killed_at_any_moment_each_return_is_whole_and_in_one_place_and_the_next_run_completes_it(
    config: Path, shop: Shop, tmp_path: Path
) -> None:
    await fill(shop)
    for wanted in (1, MANY // 2):
        child = nursery().start("--config", str(config), "archive", "--older-than", "400d", errors=tmp_path / "killed")

        async def some(count: int = wanted) -> bool:
            (found,) = await shop.execute("SELECT count(*) AS found FROM archived_return")
            return bool(found["found"] >= count)

        await until(some, 20)
        child.kill()
        await asyncio.to_thread(child.wait)
        kept, archived = await places(shop)
        assert kept + archived == MANY
    code, _, said = await typed(config, "archive", "--older-than", "400d")
    assert (code, "archived in" in said) == (0, True), said
    assert await places(shop) == (0, MANY)


async def test_a_worker_beside_it_goes_on_and_loses_nothing(
    start: Start, config: Path, shop: Shop, carrier: Simulator
) -> None:
    await fill(shop, 1000)
    worker = await start().ready()
    for number in range(20):
        await shop.insert(f"LIVE-{number}")
    await until(lambda: len(carrier.orders) >= 5, 10, lambda: worker.log_text)
    code, _, said = await typed(config, "archive", "--older-than", "400d")
    assert (code, said.startswith("1000 returns archived")) == (0, True), said

    async def all_completed() -> bool:
        (found,) = await shop.execute("SELECT count(*) AS found FROM return_order WHERE state = 'completed'")
        return bool(found["found"] == 20)

    await until(all_completed, 20, lambda: worker.log_text)
    assert len(carrier.orders) == 20
    for event in ("lease_lost", "row_locked", "database_unavailable", "result_not_recorded", "unexpected_error"):
        assert not worker.saw(event), worker.log_text


@on_sqlite
async def test_a_whole_life_is_shown_from_the_archive_as_before_and_its_label_is_written(
    start: Start, config: Path, shop: Shop, tmp_path: Path
) -> None:
    worker = await start().ready()
    for reference in ("R-1", "R-2"):
        await shop.insert(reference)
    for reference in ("R-1", "R-2"):
        await until(lambda: shop.is_in(reference, "completed"), 15, lambda: worker.log_text)  # noqa: B023
    worker.kill()
    _, before, _ = await typed(config, "show", "R-1", "--json")
    _, _, said = await typed(config, "archive", "--older-than", "0s", "--limit", "1", "--dry-run")
    assert said == "1 return would be archived\n"
    code, _, said = await typed(config, "archive", "--older-than", "0s", "--limit", "1")
    assert (code, said.startswith("1 return archived")) == (0, True), said

    code, after, said = await typed(config, "show", "R-1", "--json")
    assert code == 0
    told = json.loads(after)
    assert told.pop("archived_at") is not None
    assert told == {k: v for k, v in json.loads(before).items() if k != "archived_at"} | {"ways": []}
    assert "'R-1' was archived at" in said
    assert len(json.loads(after)["transitions"]) >= 4
    code, _, said = await typed(config, "label", "R-1", "-o", str(tmp_path / "label.pdf"))
    assert (code, (tmp_path / "label.pdf").read_bytes()[:5]) == (0, b"%PDF-"), said

    for words in (["retry", "R-1"], ["label", "R-1", "--refetch"]):
        code, _, said = await typed(config, *words)
        assert (code, "'R-1' is archived" in said) == (1, True), (words, said)
    _, listed, _ = await typed(config, "list")
    assert ("R-2" in listed, "R-1" in listed) == (True, False)
    with pytest.raises(Exception, match="archived a return of this reference"):
        await shop.insert("R-1")
