"""A person sees how each subscriber stands, and holds, releases, retires it, or has it told once more what happened."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.databases import on_sqlite
from tests.store.shop import Shop
from worker.domain.by_hand import Person
from worker.domain.decision import Transition
from worker.domain.news import Subscriber, SubscriberKind
from worker.domain.outcomes import StoredLabel
from worker.settings import Settings
from worker.settings.news import NewsSettings
from worker.store.database import Database
from worker.store.news import add_history, history_of, register_subscribers
from worker.store.presence import begin_presence
from worker.store.upkeep.archive import archive_batch
from worker.usecases import webhooks
from worker.usecases.not_done import NotDone, WrongRequest
from worker.usecases.webhooks import Standing

BY = Person("anna", "their deploy")
DAY = timedelta(days=1)
HOOK = "shop"


@pytest.fixture
def settings() -> Settings:
    return Settings(news={HOOK: NewsSettings(kind="webhook", url="https://shop.example/news")})


async def registered(
    shop: Shop, name: str = HOOK, kind: str = "webhook", events: str = "[]", accounts: str = "[]"
) -> None:
    await shop.run(
        "INSERT INTO news_subscriber (name, kind, events, accounts) VALUES ($1, $2, $3, $4)",
        name,
        kind,
        events,
        accounts,
    )


async def returned(shop: Shop, reference: str, account: str = "default", *, counted: bool = True) -> int:
    """A return with three transitions, of an hour ago and before, and a label between them; `counted`: by position."""
    order_id = await shop.value(
        "INSERT INTO return_order (account, reference, payload, state, next_step, due_at, carrier_ref)"
        " VALUES ($1, $2, '{}', 'completed', 'track', NULL, $3) RETURNING id",
        *(account, reference, f"N-{reference}"),
    )
    changes = (("state", "tracking", -5 * 86400, 1), ("tracking_status", "in_transit", -3600, 3))
    for field, value, ago, position in (*changes, ("state", "completed", -1800, 4)):
        await shop.run(
            "INSERT INTO status_transition (return_order_id, observed_at, field, new_value, event_position)"
            f" VALUES ($1, {shop.moment(ago)}, $2, $3, {position if counted else 'NULL'})",
            *(order_id, field, value),
        )
    await shop.run(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256, event_position,"
        f" fetched_at) VALUES ($1, 1, 'file:x', 'application/pdf', 1, 'x', {2 if counted else 'NULL'},"
        f" {shop.moment(-4 * 86400)})",
        order_id,
    )
    return int(order_id)


async def waiting(shop: Shop, table: str = "webhook_event") -> list[tuple[Any, ...]]:
    """What waits: reference, position, type."""
    rows = await shop.fetch(f"SELECT reference, position, type FROM {table} ORDER BY reference, position, id")
    return [tuple(row.values()) for row in rows]


async def standing(settings: Settings, database: Database, name: str = HOOK) -> Standing:
    [found] = [each for each in await webhooks.read_standings(settings, database) if each.subscriber == name]
    return found


ALL = [(1, "state.tracking"), (2, "label.stored"), (3, "tracking_status.in_transit"), (4, "state.completed")]


async def test_a_subscriber_is_shown_with_what_waits_for_it_why_and_what_ends_that(
    database: Database, shop: Shop, settings: Settings
) -> None:
    assert "a worker that is started with it" in (await standing(settings, database)).waits_for
    await registered(shop)
    await registered(shop, "outbox", "table")
    await returned(shop, "R-1")
    for name in (HOOK, "outbox"):
        await webhooks.replay_since(settings, database, name, DAY, None)
    assert "`returns-worker webhooks retire shop`" in (await standing(settings, database)).waits_for
    await begin_presence(database, "host:1", {"news": [HOOK, "outbox"]})
    table = await standing(settings, database, "outbox")
    assert (table.kind, table.waiting, table.workers, table.waits_for) == ("table", 2, 1, "ok")

    await shop.run("UPDATE webhook_event SET attempts = 1, error_message = 'answered 500'")
    await shop.run(
        "UPDATE news_subscriber SET held_until = '9999-12-31 23:59:59', hold_code = 'gone', hold_message = '410',"
        f" failures = 5, open_until = {shop.moment(60)}, lease_owner = 'host:1', lease_until = {shop.moment(60)}"
        " WHERE name = 'shop'"
    )
    hook = await standing(settings, database)
    assert (hook.waiting, hook.sent_by, hook.hold_code, hook.failures) == (2, "host:1", "gone", 5)
    assert hook.oldest_at is not None and hook.oldest_at < datetime.now(UTC) - timedelta(minutes=29)
    assert "held (gone: 410) until `returns-worker webhooks release shop`" in hook.waits_for
    assert "after 5 failures in a row" in hook.waits_for
    assert hook.waits_for.endswith("last failure: answered 500")


async def test_a_release_ends_every_hold_and_what_waits_is_due_now_beginning_with_one(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop)
    await begin_presence(database, "host:1", {"news": [HOOK]})
    await returned(shop, "R-1")
    await webhooks.replay_since(settings, database, HOOK, DAY, None)
    await shop.run(f"UPDATE webhook_event SET due_at = {shop.moment(3600)}")
    await shop.run(f"UPDATE news_subscriber SET failures = 7, open_until = {shop.moment(600)}")
    held = await webhooks.hold(settings, database, HOOK, BY)
    assert "held (held_by_person: by anna: their deploy)" in webhooks.explain(held)

    released = await webhooks.release(settings, database, HOOK)
    assert webhooks.explain(released) == "ok"
    failed = replace(released, waiting=28, last_error="the endpoint answered 500")
    assert webhooks.explain_release(failed) == f"{HOOK} is released: 28 events wait, and are tried now"
    assert await shop.value(f"SELECT count(*) FROM webhook_event WHERE due_at <= {shop.moment(1)}") == 2
    assert await shop.value("SELECT in_flight_most FROM news_subscriber") == 1


async def test_two_people_who_repeat_the_same_at_the_same_time_repeat_it_once(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop)
    references = [f"R-{number}" for number in range(20)]
    for reference in references:
        await returned(shop, reference)
    done = await asyncio.gather(
        *(webhooks.replay_returns(settings, database, HOOK, references, None) for _ in range(3)),
        *(webhooks.replay_since(settings, database, HOOK, DAY, None) for _ in range(3)),
    )
    assert sum(each.events for each in done) == len(await waiting(shop)) == 80


async def test_a_table_is_not_told_once_more_of_what_would_be_dropped_before_it_is_read(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop, "outbox", "table")
    await returned(shop, "R-1")
    with pytest.raises(NotDone, match=r"keeps events for 14d.*news\.outbox\.keep"):
        await webhooks.replay_since(settings, database, "outbox", 15 * DAY, None)
    assert (await webhooks.replay_since(settings, database, "outbox", 14 * DAY, None)).events == 4


async def test_what_happened_is_repeated_once_with_its_positions_from_live_and_archived_returns(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop)
    for reference in ("R-1", "R-2"):
        await returned(shop, reference)
    assert (await archive_batch(database, datetime.now(UTC) + DAY, None, 1, 1)).count == 1

    done = await webhooks.replay_since(settings, database, HOOK, DAY, None)
    assert (done.events, done.waiting) == (4, 0)
    assert await waiting(shop) == [(reference, *each) for reference in ("R-1", "R-2") for each in ALL[2:]]
    ids = (
        "SELECT source, source_id, observed_at FROM webhook_event WHERE reference = 'R-1' AND type = 'state.completed'"
    )
    first = await shop.row(
        "SELECT id, observed_at FROM status_transition WHERE return_order_id = 1 AND new_value = 'completed'"
    )
    assert await shop.row(ids) == {
        "source": "transition",
        "source_id": first["id"],
        "observed_at": first["observed_at"],
    }

    before = (await standing(settings, database)).oldest_at
    again = await webhooks.replay_returns(settings, database, HOOK, ["R-1", "R-2"], None)
    oldest = (await standing(settings, database)).oldest_at
    assert before is not None and oldest is not None and oldest < before - 4 * DAY
    assert (again.events, again.waiting) == (4, 4)
    assert await waiting(shop) == [(reference, *each) for reference in ("R-1", "R-2") for each in ALL]
    assert await shop.value("SELECT count(*) FROM webhook_event WHERE carrier_ref = 'N-R-2'") == 4


async def test_a_repeat_says_what_the_first_time_said_live_and_archived(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await register_subscribers(database, [Subscriber(HOOK, SubscriberKind.WEBHOOK)])
    order_id = await shop.value(
        "INSERT INTO return_order (reference, payload, state, next_step, due_at, carrier_ref)"
        " VALUES ('R-1', '{}', 'completed', 'track', NULL, 'N-1') RETURNING id"
    )
    lines = [
        Transition("state", "pending", "tracking", reason="adopted; by Jan: he knows"),
        Transition("tracking_status", "pre_transit", "in_transit", "Onderweg", datetime(2026, 1, 2, 3, tzinfo=UTC)),
        Transition("tracking_status", "in_transit", "in_transit", "Nog onderweg", reason="it says Jan: hello"),
    ]
    label = StoredLabel(1, "file:labels/a.pdf", "application/pdf", 1, 1, "ab" * 32)
    for history in (history_of(database.dialect, lines, [label]), history_of(database.dialect, lines[:1])):
        await database.transaction(add_history, [{"id": order_id, **history}])

    async def told() -> list[dict[str, Any]]:
        rows = await shop.fetch("SELECT * FROM webhook_event ORDER BY position")
        await shop.run("DELETE FROM webhook_event")
        return [{name: value for name, value in row.items() if name not in ("id", "due_at")} for row in rows]

    first = await told()
    assert len(first) == 5
    await webhooks.replay_since(settings, database, HOOK, DAY, None)
    assert await told() == first
    assert (await archive_batch(database, datetime.now(UTC) + DAY, None, 0, 9)).count == 1
    await webhooks.replay_returns(settings, database, HOOK, ["R-1"], None)
    assert await told() == first


async def test_what_was_given_up_goes_back_as_it_was_and_is_given_up_no_more(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop)
    await returned(shop, "R-1")
    await returned(shop, "R-2", "other")
    told = "subscriber, type, account, reference, return_order_id, position, source, source_id, observed_at"
    give_up = f"INSERT INTO webhook_missed ({told}, reason) SELECT {told}, 'as it was' FROM webhook_event"
    await webhooks.replay_since(settings, database, HOOK, DAY, None)
    await shop.run(give_up)  # still waiting as well: not doubled
    assert (await webhooks.replay_missed(settings, database, HOOK, "other")).events == 0
    assert await shop.value("SELECT count(*) FROM webhook_missed") == 2
    await shop.run("DELETE FROM webhook_event")
    done = await webhooks.replay_missed(settings, database, HOOK, None)
    assert done.events == 2
    assert await waiting(shop) == [("R-1", *each) for each in ALL[2:]]

    await shop.run(give_up)
    await shop.run("DELETE FROM webhook_event")
    await webhooks.replay_returns(settings, database, HOOK, ["R-1"], None)
    assert await waiting(shop) == [("R-1", *each) for each in ALL]
    assert await shop.value("SELECT count(*) FROM webhook_event WHERE reason = 'as it was'") == 2
    assert await shop.value("SELECT count(*) FROM webhook_missed") == 0


async def test_a_subscriber_is_repeated_what_it_is_told_of_and_a_history_without_positions_is_counted(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop, "outbox", "table", '["state.*"]', '["default"]')
    await returned(shop, "R-1", counted=False)
    await returned(shop, "R-2", "other")
    assert (await webhooks.replay_since(settings, database, "outbox", 10 * DAY, None)).events == 2
    assert await waiting(shop, "return_event") == [("R-1", *ALL[0]), ("R-1", *ALL[3])]
    assert (await webhooks.replay_since(settings, database, "outbox", 10 * DAY, None)).waiting == 2
    for refused in (
        webhooks.replay_returns(settings, database, "outbox", ["R-2"], None),
        webhooks.replay_since(settings, database, "outbox", DAY, "other"),
        webhooks.replay_missed(settings, database, "outbox", None),
        webhooks.hold(settings, database, "outbox", BY),
        webhooks.release(settings, database, "nowhere"),
    ):
        with pytest.raises(WrongRequest):
            await refused
    with pytest.raises(NotDone, match="no worker has been started"):
        await webhooks.release(settings, database, HOOK)


async def test_a_subscriber_that_a_worker_serves_is_not_retired_and_another_takes_with_it_what_waits(
    database: Database, shop: Shop, settings: Settings
) -> None:
    await registered(shop)
    await returned(shop, "R-1")
    await webhooks.replay_since(settings, database, HOOK, DAY, None)
    await begin_presence(database, "host:1", {"news": [HOOK]})
    with pytest.raises(NotDone, match="registers it again"):
        await webhooks.retirable(settings, database, HOOK, force=False)
    assert await webhooks.retirable(settings, database, HOOK, force=True) is not None
    await shop.run("DELETE FROM news_subscriber")  # killed here, it goes on when it is run once more
    assert await webhooks.retirable(settings, database, HOOK, force=False) is None
    assert await webhooks.retire(database, HOOK) == 2
    assert await waiting(shop) == []
    with pytest.raises(NotDone):
        await webhooks.retirable(settings, database, HOOK, force=False)


@on_sqlite
async def test_many_returns_are_repeated_batch_by_batch_and_none_twice(
    database: Database, shop: Shop, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered(shop)
    for number in range(9):
        await returned(shop, f"R-{number}")
    monkeypatch.setattr(webhooks, "_RETURNS", 2)
    monkeypatch.setattr(webhooks, "_MISSED", 4)
    seen: list[tuple[int, int | None]] = []
    done = await webhooks.replay_since(settings, database, HOOK, DAY, None, lambda *told: seen.append(told))
    assert (done.events, len(seen)) == (18, 5)
    assert len(await waiting(shop)) == 18
