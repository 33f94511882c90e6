"""What a sweep looks for: the polls that are due and could be taken at this moment."""

from tests.store.rows import insert, insert_tracked, take
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store.claims import due_refs
from worker.store.database import Database


async def test_only_polls_that_are_due_and_free_are_looked_for_and_the_longest_due_first(
    database: Database, shop: Shop
) -> None:
    await insert_tracked(shop, "HELD", due=-9)
    await take(database, Step.TRACK)
    for reference, due in (("NEWER", -1), ("OLDER", -5), ("OLDEST", -7)):
        await insert_tracked(shop, reference, due=due)
    await insert_tracked(shop, "LATER", due=60)
    await insert_tracked(shop, "LABEL", next_step="label")
    await insert_tracked(shop, "SUSPECT", claims=1)
    await insert_tracked(shop, "OTHER", "other")
    await insert(shop, "NEW")
    withdrawn = await insert_tracked(shop, "WITHDRAWN")
    await shop.run(f"UPDATE return_order SET cancel_requested_at = {shop.moment(0)} WHERE id = $1", withdrawn)
    found = await due_refs(database, "default", 10)
    assert list(found) == ["NR-OLDEST", "NR-OLDER", "NR-NEWER"]
    assert sorted(found.values()) == list(found.values())  # type: ignore[type-var]
    assert list(await due_refs(database, "default", 2)) == ["NR-OLDEST", "NR-OLDER"]
