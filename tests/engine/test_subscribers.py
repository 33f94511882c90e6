"""What waits for subscribers is counted, and dropped when nobody took it for longer than it is kept."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.store.shop import Shop
from worker.domain.news import Subscriber, SubscriberKind
from worker.engine import subscribers as subscribers_module
from worker.engine.presence import Presence
from worker.engine.subscribers import Subscribers
from worker.store.database import Database

TABLE, WEBHOOK = SubscriberKind.TABLE, SubscriberKind.WEBHOOK
DAY = timedelta(days=1)


def value(loop: Loop, name: str, subscriber: str) -> float | None:
    return loop.metrics.registry.get_sample_value(f"returns_worker_news_{name}", {"subscriber": subscriber})


async def event(shop: Shop, table: str, subscriber: str, days_ago: float, due_days_ago: float | None = None) -> None:
    values: dict[str, Any] = dict.fromkeys(("type", "account", "reference", "source"), "'label'")
    values |= {"return_order_id": 1, "position": 1, "source_id": 1, "subscriber": f"'{subscriber}'"}
    values["observed_at"] = shop.moment(-86_400 * days_ago)
    if table == "webhook_missed":
        values["given_up_at"] = values["observed_at"]
    if table == "webhook_event":
        values["due_at"] = shop.moment(-86_400 * (days_ago if due_days_ago is None else due_days_ago))
    written = ", ".join(str(each) for each in values.values())
    await shop.run(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({written})")


async def test_what_is_older_than_it_is_kept_is_dropped_and_counted_and_what_was_to_be_sent_is_missed(
    database: Database, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers_module, "_BATCH", 2)
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    configured = (
        *(Subscriber("long", TABLE, keep=9 * DAY), Subscriber("short", TABLE, keep=DAY)),
        Subscriber("hook", WEBHOOK, keep=DAY),
    )
    kept = Subscribers(loop.tools, configured)
    await kept.register()
    await Presence(database, "host:1:x", [], ["short"]).begin()
    await event(shop, "return_event", "gone", 0.1)  # written while its subscriber was removed
    for days in (5.0, 5.0, 5.0, 2.0, 0.5):
        await event(shop, "return_event", "long", days)
        await event(shop, "return_event", "short", days)
        await event(shop, "webhook_event", "hook", days)
    await event(shop, "webhook_event", "hook", 30, 0.1)  # sent once more, or tried not long ago
    await event(shop, "webhook_missed", "hook", 2)
    await kept.read()
    assert (value(loop, "events_pending", "long"), value(loop, "events_pending", "short")) == (5, 5)
    with capture_logs() as lines:
        await kept.tidy()
    left = await shop.fetch("SELECT subscriber, count(*) AS n FROM return_event GROUP BY subscriber ORDER BY 1")
    assert [tuple(each.values()) for each in left] == [("long", 5), ("short", 1)]
    assert await shop.value("SELECT count(*) FROM webhook_event") == 2
    missed = await shop.fetch("SELECT error_message FROM webhook_missed")
    assert [each["error_message"] for each in missed] == ["it was not sent within `keep`"] * 4
    dropped = {line["subscriber"]: line["count"] for line in lines if line["event"] == "news_dropped"}
    assert dropped == {"short": 4, "hook": 4}
    assert [value(loop, "events_dropped_total", name) for name in ("long", "short", "hook")] == [0, 4, 4]
    assert [value(loop, "subscriber_served", name) for name in ("long", "short")] == [0, 1]
    await shop.run("DELETE FROM news_subscriber WHERE name = 'long'")
    await kept.read()
    assert value(loop, "events_pending", "long") is None
