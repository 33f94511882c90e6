"""The real process and a carrier that mixes answers up: whose news is recorded, and what is said."""

from collections.abc import Callable
from pathlib import Path

from tests.databases import on_sqlite
from tests.process.running import RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]


@on_sqlite
async def test_a_carrier_that_answers_with_another_orders_codes_makes_no_news_and_new_codes_are_kept(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    worker = await start().ready()
    await shop.insert("FIRST sim:stuck")
    await until(lambda: shop.is_in("FIRST sim:stuck", "tracking"), 10, lambda: worker.log_text)
    await shop.insert("MIXED sim:other-codes")
    await until(lambda: worker.saw("answer_of_another_return"), 10, lambda: worker.log_text)
    await until(lambda: _says(shop, "MIXED sim:other-codes"), 10, lambda: worker.log_text)
    mixed = await shop.order("MIXED sim:other-codes")
    assert (mixed["error_code"], mixed["carrier_status"]) == ("unintelligible_answer", None)
    assert "FIRST sim:stuck" in mixed["error_message"]

    for number in (1, 2):
        await shop.insert(f"NEW-{number} sim:new-codes")
        await until(
            lambda name=f"NEW-{number} sim:new-codes": shop.is_in(name, "completed"), 15, lambda: worker.log_text
        )
    kept = await shop.execute(
        "SELECT label_code, tracking_number FROM package p JOIN return_order o ON o.id = p.return_order_id"
        " WHERE o.reference LIKE 'NEW%' ORDER BY p.id"
    )
    assert len(kept) == 4
    assert all(row["tracking_number"] == row["label_code"].replace("7RET", "7IZP") for row in kept)
    _, shown, _ = await typed(config, "show", "NEW-1 sim:new-codes")
    assert all(row["tracking_number"] in shown for row in kept[:2])
    assert await worker.metric('returns_worker_unknown_label_codes_total{account="default"}') == 4
    assert sum(event["event"] == "unknown_label_codes" for event in worker.events) == 1


async def _says(shop: Shop, reference: str) -> bool:
    return (await shop.order(reference))["error_code"] is not None
