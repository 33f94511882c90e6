"""The command `erase` killed at any moment, and the worker that finishes what it left."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.nursery import nursery
from tests.process.running import RunningWorker, typed, until
from tests.process.shop import Shop
from tests.process.test_archive import MANY, OLD, fill

Start = Callable[..., RunningWorker]
NAME = "Wilhelmina Tulpenburg"


async def plant(shop: Shop, labels: Path) -> None:
    """A name in each return's payload, in its package, and in its label's file."""
    await fill(shop)
    payload = '{"customer": {"name": "' + NAME + '"}}'
    for change in ("state = 'rejected'", f"payload = '{payload}'", "state = 'completed'"):  # frozen in any other state
        await shop.execute(f"UPDATE return_order SET {change}")
    await shop.execute("UPDATE package SET description = ?1", NAME)
    folder = labels / "default"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, MANY + 1):
        (folder / f"NR-{number}-1-0123456789ab.pdf").write_text(NAME)
    await shop.execute(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256, fetched_at)"
        f" SELECT id, 1, ?1 || carrier_ref || '-1-0123456789ab.pdf', 'application/pdf', 1, 'x', {OLD}"
        " FROM return_order",
        f"{folder.as_uri()}/",
    )


async def unfinished(shop: Shop) -> int:
    (found,) = await shop.execute(
        "SELECT count(*) AS found FROM return_order WHERE erased_at IS NOT NULL AND files_removed_at IS NULL"
    )
    return int(found["found"])


@pytest.mark.long
async def test_killed_at_any_moment_each_return_is_whole_or_erased_and_a_worker_removes_the_files_that_are_left(
    start: Start, config: Path, shop: Shop, tmp_path: Path
) -> None:
    labels = tmp_path / "labels"
    await plant(shop, labels)
    for wanted in (1, MANY // 4, MANY // 2):
        words = ("erase", "--older-than", "400d", "--yes")
        child = nursery().start("--config", str(config), *words, errors=tmp_path / "killed")

        async def some(count: int = wanted) -> bool:
            (found,) = await shop.execute("SELECT count(*) AS found FROM return_order WHERE erased_at IS NOT NULL")
            return bool(found["found"] >= count)

        await until(some, 30)
        child.kill()
        await asyncio.to_thread(child.wait)
        (mixed,) = await shop.execute(f"""
SELECT count(*) AS found FROM return_order r JOIN package p ON p.return_order_id = r.id
 WHERE (r.erased_at IS NULL) <> (CAST(r.payload AS text) LIKE '%{NAME}%')
    OR (r.erased_at IS NULL) <> (p.description IS NOT NULL)""")
        assert mixed["found"] == 0
    worker = await start().ready()

    async def none_left() -> bool:
        return await unfinished(shop) == 0

    await until(none_left, 30, lambda: worker.log_text)
    assert NAME not in worker.log_text
    (erased,) = await shop.execute("SELECT count(*) AS found FROM return_order WHERE erased_at IS NOT NULL")
    assert len(list(labels.rglob("NR-*"))) == MANY - erased["found"]
    worker.kill()
    code, _, said = await typed(config, "erase", "--older-than", "400d", "--yes")
    assert (code, f"{MANY - erased['found']} returns erased" in said) == (0, True), said
    assert list(labels.rglob("NR-*")) == []
