"""Moves returns that are over out of the live tables."""

from collections.abc import AsyncIterator
from datetime import timedelta

from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.upkeep.archive import Batch, archive_batch, count_over
from worker.usecases.not_done import require_utf8

_BATCH = 200  # returns in a transaction: some 20 ms, so that no shop and no worker waits longer


async def count_archivable(database: Database, age: timedelta, account: str | None) -> tuple[int, dict[str, int]]:
    """How many returns would be archived; and how many would be left, by what keeps them."""
    require_utf8(account or "")
    return await count_over(database, await database_now(database) - age, account)


async def archive(database: Database, age: timedelta, account: str | None, most: int) -> AsyncIterator[Batch]:
    """Archive up to `most` of them, oldest first; says after each batch what became of it."""
    require_utf8(account or "")
    before, last = await database_now(database) - age, 0
    while most > 0:
        batch = await archive_batch(database, before, account, last, min(_BATCH, most))
        yield batch
        if batch.finished:
            return
        most, last = most - batch.count, batch.last
