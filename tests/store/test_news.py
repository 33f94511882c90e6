"""Every line of a history and every stored label is told once to those who asked for it, in the order of its return."""

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.store.conftest import Open
from tests.store.rows import OVER, created, insert, insert_tracked, polled, settled, take, take_one
from tests.store.shop import Shop
from worker.domain.decision import Transition, in_part
from worker.domain.lifecycle import State, Step
from worker.domain.news import EVENTS, Subscriber, SubscriberKind, covers
from worker.domain.outcomes import StoredLabel
from worker.store import webhooks
from worker.store.database import Database
from worker.store.erasure import erase
from worker.store.news import KindChanged, register_subscribers
from worker.store.records import record, replace_label
from worker.store.upkeep.archive import archive_batch
from worker.store.upkeep.renames import rename_returns

LABEL = StoredLabel(1, "file:labels/a.pdf", "application/pdf", 1, 1, "ab" * 32)
TABLE, WEBHOOK = SubscriberKind.TABLE, SubscriberKind.WEBHOOK


async def subscribe(database: Database, *subscribers: Subscriber) -> None:
    await register_subscribers(database, subscribers or (Subscriber("shop", TABLE), Subscriber("hook", WEBHOOK)))


async def events(shop: Shop, table: str = "return_event", **of: Any) -> list[dict[str, Any]]:
    where = " AND ".join(f"{name} = '{value}'" for name, value in of.items()) or "1 = 1"
    return await shop.fetch(f"SELECT * FROM {table} WHERE {where} ORDER BY return_order_id, position")


async def assert_complete(shop: Shop, table: str, order_id: int) -> None:
    """All there is of it was told once, by positions from 1 without a gap; a label that was replaced, by its last."""
    told = await events(shop, table, return_order_id=order_id)
    assert [each["position"] for each in told] == list(range(1, len(told) + 1))
    assert (await shop.order(order_id))["event_count"] == len(told)
    for source, written in (("transition", "status_transition"), ("label", "label")):
        moment = "observed_at" if source == "transition" else "fetched_at"
        rows = await shop.fetch(f"SELECT * FROM {written} WHERE return_order_id = {order_id}")
        last = {each["source_id"]: each for each in told if each["source"] == source}
        assert {(row["id"], row["event_position"], row[moment]) for row in rows} == {
            (each["source_id"], each["position"], each["observed_at"]) for each in last.values()
        }


async def test_every_line_and_label_is_told_once_in_the_order_of_its_return(database: Database, shop: Shop) -> None:
    await subscribe(database)
    order_id = await insert(shop, "R-1", due=-1)
    order = await take_one(database)
    lines = created(order).transitions
    await record(database, [(order, created(order)._replace(labels=(LABEL, replace(LABEL, position=2))))])
    await replace_label(database, order_id, LABEL)
    await rename_returns(database, "default", "new", "renamed; by Jan")
    await shop.run(f"UPDATE return_order SET due_at = {shop.moment(-1)}")
    (claimed,) = await take(database, Step.TRACK, account="new")
    await record(database, [(claimed.order, settled(claimed.order, State.COMPLETED))])
    assert await erase(database, [order_id], "erased") == {order_id}
    for table in ("return_event", "webhook_event"):
        await assert_complete(shop, table, order_id)
        assert [each["type"] for each in await events(shop, table)] == [
            *(f"{line.field}.{line.new_value}" for line in lines),
            *("label.stored", "label.stored", "label.stored"),
            *("state.tracking", "state.completed", "state.completed"),
        ]
        assert [each["account"] for each in await events(shop, table)] == ["default"] * 5 + ["new"] * 3


async def take_one_of(database: Database, account: str) -> Any:
    from tests.store.rows import take

    (claimed,) = await take(database, Step.TRACK, account=account)
    return claimed.order


async def test_a_message_holds_what_was_so_then_and_no_word_of_a_customer_a_carrier_or_a_person(
    database: Database, shop: Shop
) -> None:
    await subscribe(database)
    secret = "Jan Jansen"
    payload = json.dumps({"customer": {"name": secret}})
    for number in (1, 2):
        await insert(shop, f"R-{number}", payload=payload)
        order = await take_one(database)
        lines = (
            Transition("state", "pending", "tracking", reason=f"put back to be created; by {secret}: {secret}"),
            Transition(
                "state", "tracking", "tracking", reason=f"carrier_refused: {secret}", raw=f'{{"a": "{secret}"}}'
            ),
            Transition("tracking_status", None, "in_transit", "Onderweg", reason=f"the carrier says {secret}"),
            Transition("state", "tracking", "tracking", reason=f"resolved: it is {secret}"),
            Transition("state", "tracking", "tracking", reason=f"adopted, as {secret}: and not created"),
        )
        after = created(order, f"NR-{number}", error_message=secret, return_url=f"https://x/{secret}")
        decision = after._replace(transitions=lines)
        decision = decision if number == 1 else in_part(order, decision, f"invalid value {secret}")
        await record(database, [(order, decision)])
    told = await events(shop, "webhook_event")
    assert secret not in repr(told) + repr(await events(shop))
    assert [each["reason"] for each in told[:5]] == [
        *("put back to be created", "carrier_refused", "the carrier says", "resolved", "adopted")
    ]
    assert {each["carrier_ref"] for each in told[:5]} == {"NR-1"}
    assert [each["carrier_status"] for each in told[:3]] == [None, None, "Onderweg"]
    assert [(each["old_value"], each["new_value"]) for each in told[:2]] == [("pending", "tracking"), ("tracking",) * 2]


async def test_what_waits_is_told_after_its_return_was_archived(database: Database, shop: Shop) -> None:
    await subscribe(database)
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await record(database, [(order, settled(order, State.CANCELLED))])
    before = [await events(shop, table) for table in ("return_event", "webhook_event")]
    assert (await archive_batch(database, datetime.now(UTC) + timedelta(days=1), None, 0, 10)).count == 1
    assert [await events(shop, table) for table in ("return_event", "webhook_event")] == before
    assert not await replace_label(database, order_id, LABEL)
    assert await events(shop) == before[0]


async def test_who_is_told_of_what_is_the_same_in_sql_as_in_the_domain(database: Database, shop: Shop) -> None:
    patterns = [
        "state.*",
        "state.tracking",
        "tracking_status.*",
        "s*",
        "*",
        "label.stored",
        "state_tracking",
        "state.%",
    ]
    subscribers = [Subscriber(f"p{n}", TABLE, (pattern,)) for n, pattern in enumerate(patterns)]
    two = Subscriber("two", TABLE, ("label.*", "state.completed"), ("other", "default"))
    none = Subscriber("none", TABLE, (), ("def_ult", "d%", "default%"))
    await subscribe(database, *subscribers, two, none)
    await insert(shop, "R-1")
    order = await take_one(database)
    await record(database, [(order, created(order)._replace(labels=(LABEL,)))])
    happened = ["state.tracking", "tracking_status.pre_transit", "label.stored"]
    assert set(happened) <= set(EVENTS)
    for each in subscribers:
        told = [event["type"] for event in await events(shop, subscriber=each.name)]
        assert told == [event for event in happened if covers(each.events[0], event)], each
    assert [event["type"] for event in await events(shop, subscriber="two")] == ["label.stored"]
    assert await events(shop, subscriber="none") == []


async def test_what_was_there_before_is_counted_when_the_next_is_written(database: Database, shop: Shop) -> None:
    await subscribe(database)
    order_id = await insert_tracked(shop, "R-1")
    for _ in range(3):
        await shop.run(
            f"INSERT INTO status_transition (return_order_id, field, new_value) VALUES ({order_id}, 'state', 'x')"
        )
    for _ in range(2):
        order = await take_one(database, Step.TRACK)
        await record(database, [(order, polled(order))])
        await shop.run(f"UPDATE return_order SET due_at = {shop.moment(-1)}")
    order = await take_one(database, Step.TRACK)
    unchanged = polled(order)._replace(transitions=())
    await record(database, [(order, unchanged)])
    assert [each["position"] for each in await events(shop)] == [4, 5]
    assert (await shop.order(order_id))["event_count"] == 5


async def test_a_lost_lease_tells_nobody_and_a_person_beside_a_worker_leaves_no_gap(
    database: Database, shop: Shop, opened: Open
) -> None:
    await subscribe(database)
    order_id = await insert_tracked(shop, "R-1")
    late = await take_one(database, Step.TRACK, lease=OVER)
    order = await take_one(database, Step.TRACK)
    other = opened()
    await asyncio.gather(
        *(replace_label(each, order_id, LABEL) for each in (database, other, database, other)),
        record(database, [(late, polled(late, "late"))]),
    )
    for _ in range(50):  # a row that a person's transaction locks is passed over
        if await record(other, [(order, polled(order))]):
            break
    await assert_complete(shop, "return_event", order_id)
    assert len(await events(shop)) == 5


@on_postgresql
async def test_a_commit_with_events_says_so_by_numbers_alone_to_those_who_want_that(
    database: Database, shop: Shop, url: str
) -> None:
    await subscribe(database, Subscriber("shop", TABLE, notify=True), Subscriber("quiet", TABLE))
    heard: list[str] = []
    async with Shop.at(url) as listening:
        await listening.connection.add_listener("returns_news", lambda *said: heard.append(said[-1]))
        await insert(shop, "R-SECRET")
        order = await take_one(database)
        await record(database, [(order, created(order))])
        await listening.value("SELECT 1")
    assert [json.loads(each) for each in heard] == [{"subscriber": "shop", "events": 2}]


async def test_the_last_worker_that_starts_says_what_a_subscriber_is_told_and_none_changes_its_kind(
    database: Database, shop: Shop
) -> None:
    first = Subscriber("shop", TABLE, ("state.*",), ("a",), timedelta(days=3))
    assert await register_subscribers(database, [first, Subscriber("gone", WEBHOOK)]) == []
    assert await register_subscribers(database, [replace(first, events=(), keep=timedelta(days=1))]) == ["gone"]
    row = await shop.row("SELECT * FROM news_subscriber WHERE name = 'shop'")
    assert (row["events"], row["accounts"], row["keep_seconds"]) == ("[]", '["a"]', 86_400)
    with pytest.raises(KindChanged, match="webhooks retire gone"):
        await register_subscribers(database, [replace(first, events=("state.*",)), Subscriber("gone", TABLE)])
    assert await shop.row("SELECT * FROM news_subscriber WHERE name = 'shop'") == row


@on_sqlite
async def test_what_is_written_down_of_some_tries_is_found_by_its_return_however_much_waits(
    shop: Shop,
) -> None:
    several = (webhooks._AGAIN, webhooks._BEHIND, webhooks._NEXT, webhooks._RETURNS, webhooks._DELIVERED)
    for statement in (*(each["sqlite"] for each in several), *webhooks._GIVEN_UP["sqlite"]):
        bound = {"name": "shop", "rows": "[]", "ids": "[]"}
        plan = [row[3] for row in shop.connection.execute(f"EXPLAIN QUERY PLAN {statement}", bound)]
        looked_up = [line for line in plan if line.startswith(("SEARCH", "SCAN")) and "VIRTUAL" not in line]
        assert looked_up
        assert all("rowid=?" in line or "return_order_id=?" in line for line in looked_up), (str(statement), plan)


def test_nothing_writes_a_history_or_a_label_but_what_tells_of_it() -> None:
    worker = Path(__file__).parents[2] / "worker"
    written = re.compile(r"INSERT\s+INTO\s+(status_transition|label)\b", re.IGNORECASE)
    by_class = re.compile(r"(insert|add|table_of)\((col\()?(StatusTransitionRow|LabelRow)", re.IGNORECASE)
    found = {
        str(file.relative_to(worker))
        for file in worker.rglob("*.py")
        if "migrations" not in file.parts and (written.search(text := file.read_text()) or by_class.search(text))
    }
    assert found == {"store/news.py"}
