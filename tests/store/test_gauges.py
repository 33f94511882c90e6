"""The gauges that are read from the database."""

import time
from pathlib import Path

import pytest

from tests.engine.scripted import ScriptedCarrier, make_loop
from tests.store.rows import insert, insert_tracked
from tests.store.shop import Shop
from worker.app import Application
from worker.engine.gauges import Gauges
from worker.settings import load
from worker.store.database import Database
from worker.telemetry.http import TelemetryServer
from worker.telemetry.logs import Redactor


async def test_the_gauge_of_tracked_returns_is_the_sum_over_their_tracking_statuses(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    for number, status in enumerate(["in_transit", "in_transit", "unknown"]):
        await insert_tracked(shop, f"T-{number}", tracking_status=status)
        await insert_tracked(shop, f"O-{number}", "other", tracking_status=status)
    await shop.run(f"UPDATE return_order SET label_due_at = {shop.moment(60)} WHERE account = 'default'")
    await shop.run(f"UPDATE return_order SET label_sought_since = {shop.moment(-60)} WHERE reference = 'T-0'")
    await shop.run(f"UPDATE return_order SET label_sought_since = {shop.moment(-7200)} WHERE reference = 'T-2'")
    await insert_tracked(shop, "OVER", state="completed", due=None)
    await shop.run(f"UPDATE return_order SET label_sought_since = {shop.moment(-86400)} WHERE reference = 'OVER'")
    await insert(shop, "P-1", due=3600)
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    gauges = Gauges(loop.tools, dict)
    await gauges.refresh()

    def value(name: str, **labels: str) -> float | None:
        return loop.metrics.registry.get_sample_value(f"returns_worker_{name}", labels)

    assert value("orders", account="default", state="tracking") == 3
    assert value("orders", account="default", state="pending") == 1
    assert value("orders_unknown_status", account="default") == 1
    assert value("orders_due", account="default") == 3
    assert value("labels_missing", account="default") == 3
    assert value("oldest_missing_label_timestamp_seconds", account="default") == pytest.approx(
        time.time() - 7200, abs=30
    )
    assert value("orders_unroutable") == 3
    await shop.run("UPDATE return_order SET label_due_at = NULL, label_sought_since = NULL")
    await gauges.refresh()
    assert value("oldest_missing_label_timestamp_seconds", account="default") == 0


async def test_what_is_scraped_first_after_a_start_is_what_the_database_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(
        f'[database]\nurl = "sqlite:///{tmp_path}/returns.db"\n[labels]\nstore = "file:{tmp_path}/labels"\n'
        '[http]\nlisten = "127.0.0.1:0"\n[accounts.default]\napi_key = "IZI-a-key"\n'
    )
    application = Application(load(file, {}, need_accounts=True), Redactor())
    serve, read_at = TelemetryServer.start, []

    async def watched(server: TelemetryServer) -> None:
        read_at.append(application.metrics.registry.get_sample_value("returns_worker_gauges_read_timestamp_seconds"))
        await serve(server)

    monkeypatch.setattr(TelemetryServer, "start", watched)
    await application.start()
    await application.stop()
    assert read_at == [pytest.approx(time.time(), abs=30)]
