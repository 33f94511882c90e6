"""The gauges that are read from the database."""

import time
from pathlib import Path

from tests.steps.scripted import ScriptedCarrier
from tests.store.rows import insert, insert_tracked
from tests.store.shop import Shop
from worker.domain.policy import Policy
from worker.labels import FileLabelStore
from worker.steps.accounts import Account
from worker.steps.clock import ClockWatch
from worker.steps.housekeeping import Housekeeping
from worker.steps.meter import Meter
from worker.store.database import Database
from worker.telemetry.metrics import Metrics


async def test_the_gauge_of_tracked_returns_is_the_sum_over_their_tracking_statuses(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    for number, status in enumerate(["in_transit", "in_transit", "pre_transit"]):
        await insert_tracked(shop, f"T-{number}", tracking_status=status)
        await insert_tracked(shop, f"O-{number}", "other", tracking_status=status)
    await shop.run(f"UPDATE return_order SET label_due_at = {shop.moment(60)} WHERE account = 'default'")
    await insert(shop, "P-1", due=3600)
    metrics = Metrics("1")
    meter = Meter(database, "default", None, time.monotonic)
    account = Account("default", ScriptedCarrier(), Policy(), 20.0, 8, meter, lambda: "")
    await Housekeeping(
        database,
        FileLabelStore(tmp_path),
        metrics,
        {"default": account},
        dict,
        time.monotonic,
        ClockWatch(time.monotonic, {}),
    ).refresh_gauges()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"returns_worker_{name}", labels)

    assert value("orders", account="default", state="tracking") == 3
    assert value("orders", account="default", state="pending") == 1
    assert value("orders_due", account="default") == 3
    assert value("labels_missing", account="default") == 3
    assert value("orders_unroutable") == 3
