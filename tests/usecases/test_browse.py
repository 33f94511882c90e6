"""A page of returns is read in a bounded time, and the next one goes on where it ended."""

from collections.abc import Iterator
from datetime import timedelta

from tests.store.shop import Shop
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases.browse import Listed, Wanted, browse

OVER = (
    "INSERT INTO return_order (id, account, reference, payload, state, next_step, due_at)"
    " VALUES ($1, $2, $3, '{}', $4, 'create', NULL)"
)


def seconds(step: float) -> Iterator[float]:
    now = 0.0
    while True:
        yield now
        now += step


async def asked(database: Database, wanted: Wanted, step: float = 0) -> tuple[list[str], int | None, bool]:
    ticks = seconds(step)
    listed: Listed = await browse(Settings(), database, wanted, within=timedelta(seconds=1), clock=lambda: next(ticks))
    return [order.reference for order in listed.orders], listed.go_on_before, listed.is_cut


async def test_what_no_index_leads_to_is_read_in_windows_until_the_time_is_over_and_goes_on_from_there(
    database: Database, shop: Shop
) -> None:
    assert await asked(database, Wanted(state="rejected")) == ([], None, False)
    await shop.run(OVER, 1, "default", "first", "rejected")
    await shop.run(OVER, 9_000, "other", "last", "cancelled")
    assert await asked(database, Wanted(state="rejected")) == (["first"], None, False)
    before, looks = None, 0
    while True:
        found, before, is_cut = await asked(database, Wanted(state="rejected", before=before), step=1.5)
        looks += 1
        assert (found, is_cut) == ([], True) if before is not None else (found, is_cut) == (["first"], False)
        if before is None:
            break
    assert looks == 9
    assert await asked(database, Wanted(account="other")) == (["last"], None, False)
    assert await asked(database, Wanted(limit=1)) == (["last"], 9_000, False)
    assert await asked(database, Wanted(limit=1, before=9_000)) == (["first"], None, False)


async def test_what_an_index_leads_to_is_found_at_once_however_far_back_it_is(database: Database, shop: Shop) -> None:
    await shop.run(OVER, 7, "default", "N-1", "needs_attention")
    await shop.run(OVER, 900_000, "default", "C-1", "cancelled")
    assert await asked(database, Wanted(state="needs_attention"), step=0.9) == (["N-1"], None, False)
    await shop.run("UPDATE return_order SET error_code = 'carrier_error' WHERE id = 7")
    for code, found in (("carrier_error", ["N-1"]), ("worker_crashed", [])):
        wanted = Wanted(state="needs_attention", error_code=code)
        assert await asked(database, wanted, step=0.9) == (found, None, False)
