"""The day's figures are found by bisecting the history, exact within a bound, and said to be cut beyond it."""

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.rows import insert, now
from tests.store.shop import Shop
from worker.store.columns import sqlite_text
from worker.store.database import Database
from worker.store.upkeep import today
from worker.store.upkeep.today import MARGIN, read_changes, read_troubled

LINE = (
    "INSERT INTO status_transition (id, return_order_id, field, old_value, new_value, observed_at)"
    " VALUES ($1, $2, $3, $4, $5, $6)"
)


async def line(shop: Shop, id_: int, order: int, at: datetime, change: str = "pending tracking") -> None:
    old, new = change.split()
    await shop.run(LINE, id_, order, "state", old, new, sqlite_text(at) if shop.sqlite else at)


async def test_lines_of_the_day_are_counted_and_no_others_also_where_an_earlier_transaction_wrote_later(
    database: Database, shop: Shop
) -> None:
    midnight = now()
    assert (await read_changes(database, midnight)).states == {}
    order = await insert(shop, "R-1")
    for id_, seconds in ((3, -90_000), (4, -700), (90, 1), (91, -2), (92, 2), (5_000_000, 3), (5_000_001, -5)):
        await line(shop, id_, order, midnight + timedelta(seconds=seconds))
    await line(shop, 5_000_002, order, midnight + timedelta(seconds=4), "tracking tracking")  # a reason alone
    await line(shop, 5_000_003, order, midnight + timedelta(seconds=9), "tracking completed")
    changes = await read_changes(database, midnight)
    assert (changes.states, changes.since, changes.is_all) == (
        {("pending", "tracking"): 3, ("tracking", "completed"): 1},
        midnight,
        True,
    )
    cut = await read_changes(database, midnight, most=3)
    assert (cut.states, cut.is_all) == ({("tracking", "completed"): 1}, False)
    assert cut.since == midnight + timedelta(seconds=4)


async def test_stored_labels_are_counted_and_what_needs_a_person_by_its_code(database: Database, shop: Shop) -> None:
    order = await insert(shop, "R-1", due=None, state="needs_attention", error_code="carrier_error")
    for code in ("worker_crashed", "carrier_error", None):
        await insert(shop, f"R-{code}", due=None, state="needs_attention", error_code=code)
    for position, seconds in ((1, -60), (2, 1), (3, 2)):
        await shop.run(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256, fetched_at)"
            f" VALUES ($1, $2, 'file:///x', 'application/pdf', 1, 'x', {shop.moment(seconds)})",
            *(order, position),
        )
    assert (await read_changes(database, now(seconds=-10))).labels == 2
    troubled = await read_troubled(database)
    assert (troubled[0].error_code, troubled[0].count, troubled[0].example) == ("carrier_error", 2, order)
    assert {each.error_code for each in troubled[1:]} == {"worker_crashed", None}


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 100_000), max_size=60, unique=True),
    st.lists(st.integers(0, 20_000), min_size=60, max_size=60),
    st.lists(st.integers(0, int(MARGIN.total_seconds())), min_size=60, max_size=60),
    st.integers(-1000, 25_000),
)
def test_no_line_of_the_day_is_before_what_bisecting_finds(
    ids: list[int], times: list[int], late: list[int], since: int
) -> None:
    """Ids have gaps; times are in their order, but each may be earlier by up to the margin."""
    lines = {id_: at - by for id_, at, by in zip(sorted(ids), sorted(times), late, strict=False)}
    looks = 0

    def first(middle: int) -> tuple[int, int] | None:
        nonlocal looks
        looks += 1
        return next(((id_, lines[id_]) for id_ in sorted(lines) if id_ >= middle), None)

    found = today.bisected(
        min(lines, default=None), max(lines, default=None), since - int(MARGIN.total_seconds()), first
    )
    assert all(id_ >= found for id_, at in lines.items() if at >= since)
    assert looks <= 18
