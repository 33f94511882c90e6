"""The carrier's words as the history has them."""

from tests.store.rows import insert_tracked, polled, take
from tests.store.shop import Shop
from worker.domain.lifecycle import Step
from worker.store.database import Database
from worker.store.records import record
from worker.store.upkeep.carrier_words import Followed, read_followed, read_words


async def test_each_word_is_counted_once_for_a_return_however_often_it_came_up(database: Database, shop: Shop) -> None:
    for number, account in enumerate(("default", "default", "other")):
        await insert_tracked(shop, f"R-{number}", account)
    for word in ("Onderweg", "Bezorgd", "Onderweg"):
        for account in ("default", "other"):
            taken = await take(database, Step.TRACK, account=account)
            await record(database, [(each.order, polled(each.order, word)) for each in taken])
        await shop.run(f"UPDATE return_order SET due_at = {shop.moment(-1)}")
    words = {(each.account, each.carrier_status): (each.returns, each.changes) for each in await read_words(database)}
    assert words == {
        ("default", "Bezorgd"): (2, 2),
        ("default", "Onderweg"): (2, 4),
        ("other", "Bezorgd"): (1, 1),
        ("other", "Onderweg"): (1, 2),
    }


async def test_only_what_is_still_followed_and_has_a_word_can_be_read_anew(database: Database, shop: Shop) -> None:
    followed = await insert_tracked(shop, "R-1", carrier_status="Onderweg")
    await insert_tracked(shop, "R-2")
    await insert_tracked(shop, "R-3", "other", carrier_status="Onderweg")
    await insert_tracked(shop, "R-4", state="completed", carrier_status="Bezorgd", due=None)
    assert await read_followed(database, "default") == [Followed(followed, "Onderweg", "unknown")]
