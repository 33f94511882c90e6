"""Webhooks are told of everything, in order per return, by one worker at a time; a bad endpoint harms itself alone."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.databases import on_postgresql
from tests.engine.scripted import make_loop
from tests.news.receiver import KEY, happen, receiving, subscribe
from tests.store.shop import Shop
from worker.domain.circuits import Breaker
from worker.domain.delivery import DeliveryPolicy, Endpoint, Verdict
from worker.engine import news as module
from worker.engine.news import News, NewsGauges
from worker.engine.running import Timing, Tools
from worker.http.transport import AiohttpTransport
from worker.news.sender import Sender, Webhook
from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.webhooks import record_tries, take_lease


async def made(database: Database, folder: Path, lease: float = 90.0) -> Tools:
    tools = (await make_loop(database, folder, {}, timing=Timing(lease=lease, tick=3600.0))).tools
    tools.clock, tools.chance = time.monotonic, random.random
    return tools


def webhook(url: str, most: int = 4, timeout: float = 5.0, name: str = "shop") -> Webhook:
    sender = Sender(url, AiohttpTransport(timeout=timeout), lambda: (KEY,), private=True)
    return Webhook(name=name, sender=sender, timeout=timeout, policy=DeliveryPolicy(most))


@asynccontextmanager
async def told(tools: Tools, *webhooks: Webhook) -> AsyncIterator[News]:
    for each in webhooks:
        NewsGauges(tools.database, tools.metrics, [each.name])
    news = News(tools, webhooks)
    news.start()
    try:
        yield news
    finally:
        await news.close()


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.01)


async def waiting(shop: Shop) -> int:
    return int(await shop.value("SELECT count(*) AS n FROM webhook_event"))


async def subscriber(shop: Shop) -> dict[str, Any]:
    return await shop.row("SELECT * FROM news_subscriber")


def value(tools: Tools, name: str, **labels: str) -> float | None:
    return tools.metrics.registry.get_sample_value(f"returns_worker_{name}", {"subscriber": "shop"} | labels)


def fails(data: dict[str, Any], _: bool) -> web.Response:
    return web.Response(status=500)


async def test_each_return_is_told_in_order_and_no_return_waits_for_another(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=5, events=4)
    async with receiving() as receiver:
        receiver.before = lambda: asyncio.sleep(random.random() / 100)
        tools = await made(database, tmp_path)
        async with told(tools, webhook(receiver.url, most=3)):
            await until(lambda: _is_empty(shop))
            await until(lambda: _is_free(shop))
    receiver.check()
    assert [receiver.of(f"R-{number}") for number in range(1, 6)] == [[1, 2, 3, 4]] * 5
    assert len(receiver.got) == 20 and receiver.most_at_once == 3
    assert value(tools, "webhook_deliveries_total", outcome="delivered") == 20
    assert value(tools, "webhook_delay_seconds_count") == 20


async def _is_empty(shop: Shop) -> bool:
    return await waiting(shop) == 0


async def _is_free(shop: Shop) -> bool:
    return (await subscriber(shop))["lease_owner"] is None


async def test_an_event_that_fails_holds_back_its_return_alone_and_is_the_same_when_it_comes_again(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=2, events=2)
    async with receiving() as receiver:
        receiver.answer = lambda data, repeat: web.Response(status=500 if data["reference"] == "R-1" else 200)
        async with told(await made(database, tmp_path), webhook(receiver.url)) as news:
            await until(lambda: receiver.of("R-2") == [1, 2])
            await until(lambda: _is_free(shop))
            [failed, _] = await shop.fetch("SELECT * FROM webhook_event ORDER BY position")
            assert (failed["attempts"], failed["error_message"]) == (1, "the endpoint answered 500")
            assert 3 < _seconds(failed["due_at"]) - _seconds(failed["first_attempt_at"]) < 7
            assert await shop.value("SELECT count(DISTINCT due_at) AS n FROM webhook_event") == 1  # the next waits, too
            receiver.answer = lambda data, repeat: web.Response()
            await shop.run(f"UPDATE webhook_event SET due_at = {shop.moment()} WHERE position = 1")
            news.wake()
            await until(lambda: receiver.of("R-1") == [1, 2])
    receiver.check()
    assert [each.data["position"] for each in receiver.got if each.data["reference"] == "R-1"] == [1, 1, 2]


def _seconds(moment: Any) -> float:
    return read_moment(moment).timestamp()


async def test_an_event_that_is_given_up_is_kept_for_a_person_and_the_next_one_is_sent(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=1, events=2)
    long_ago = shop.moment(-73 * 3600)
    await shop.run(f"UPDATE webhook_event SET attempts = 11, first_attempt_at = {long_ago} WHERE position = 1")
    await shop.run(f"UPDATE webhook_event SET due_at = {shop.moment(3600)} WHERE position = 2")
    async with receiving() as receiver:
        receiver.answer = lambda data, repeat: web.Response(status=500 if data["position"] == 1 else 200)
        tools = await made(database, tmp_path)
        with capture_logs() as logs:
            async with told(tools, webhook(receiver.url)):
                await until(lambda: _is_empty(shop))
    missed = await shop.row("SELECT * FROM webhook_missed")
    assert (missed["position"], missed["new_value"], missed["source_id"]) == (1, "tracking", 1001)
    assert missed["error_message"] == "the endpoint answered 500"
    assert [each.data["position"] for each in receiver.got] == [1, 2]
    assert value(tools, "webhook_given_up_total") == 1
    assert [line["attempts"] for line in logs if line["event"] == "webhook_given_up"] == [12]


async def test_410_ends_all_requests_until_a_person_releases_it_and_loses_nothing(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=5, events=1)
    async with receiving() as receiver:
        receiver.answer = lambda data, repeat: web.Response(status=410)
        tools = await made(database, tmp_path)
        async with told(tools, webhook(receiver.url, most=1)) as news:
            await until(lambda: _has_code(shop, "gone"))
            news.wake()
            await until(lambda: _is_free(shop))
            await asyncio.sleep(0.1)
            assert len(receiver.got) == 1 and await waiting(shop) == 5
            gauges = NewsGauges(database, tools.metrics, ["shop"])
            with capture_logs() as logs:
                await gauges.read()
                await gauges.read()
            assert [line["event"] for line in logs] == ["webhook_waits"]
            assert value(tools, "webhook_held_until_timestamp_seconds") == float("inf")
            assert value(tools, "webhook_events_pending") == 5
            assert await news.checks() == {"webhook shop": "held until it is released (gone)"}
            receiver.answer = lambda data, repeat: web.Response()
            await shop.run("UPDATE news_subscriber SET held_until = NULL, hold_code = NULL")
            news.wake()
            await until(lambda: _is_empty(shop))


async def _has_code(shop: Shop, code: str) -> bool:
    return (await subscriber(shop))["hold_code"] == code


async def test_429_rests_the_endpoint_as_long_as_it_asks_and_it_begins_again_with_one(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=4, events=1)
    async with receiving() as receiver:
        receiver.answer = lambda data, repeat: web.Response(status=429, headers={"Retry-After": "1"})
        async with told(await made(database, tmp_path), webhook(receiver.url, most=4)):
            await until(lambda: len(receiver.got) == 4)
            receiver.answer, receiver.most_at_once = (lambda data, repeat: web.Response()), 0
            receiver.before = lambda: asyncio.sleep(0.1)
            await until(lambda: _is_empty(shop))
    events = [(each.status, each.data["reference"]) for each in receiver.got]
    assert len(events) == 8 and receiver.most_at_once < 4


async def test_a_dead_endpoint_costs_probes_only_and_another_one_nothing(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    for name in ("shop", "other"):
        await subscribe(shop, name)
        await happen(shop, returns=20, events=1, name=name)
    tools = await made(database, tmp_path)
    async with receiving() as receiver:
        dead = webhook("http://127.0.0.1:1/", most=2)
        with capture_logs() as logs:
            async with told(tools, dead, webhook(receiver.url, name="other")) as news:
                await until(lambda: len(receiver.accepted) == 20)
                await until(lambda: any(line["event"] == "webhook_circuit_opened" for line in logs))
                for _ in range(5):
                    news.wake()
                    await asyncio.sleep(0.02)
                assert (await news.checks())["webhook shop"].endswith("after 5 failures in a row")
    tried = value(tools, "webhook_deliveries_total", outcome="unreachable")
    assert tried is not None and 5 <= tried <= 6  # two in flight
    assert await shop.value("SELECT max(attempts) AS n FROM webhook_event") == 1


async def test_a_run_of_events_that_are_refused_does_not_keep_another_return_from_being_told(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=30, events=1)
    async with receiving() as receiver:
        receiver.answer = lambda data, repeat: web.Response(status=200 if data["reference"] == "R-30" else 400)
        probing = Breaker(first=timedelta(milliseconds=50), cap=timedelta(milliseconds=50))
        hook = replace(webhook(receiver.url), policy=DeliveryPolicy(1, breaker=probing))
        async with told(await made(database, tmp_path), hook) as news:
            async with asyncio.timeout(5):
                while not receiver.accepted:
                    news.wake()
                    await asyncio.sleep(0.02)
        assert [each.data["reference"] for each in receiver.got].index("R-30") <= 7


async def test_what_is_recorded_is_sent_at_once_and_an_idle_dispatcher_asks_next_to_nothing(
    database: Database, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = list[float](), module.look

    async def counted(*args: Any) -> Any:
        looks.append(time.monotonic())
        return await look(*args)

    monkeypatch.setattr(module, "look", counted)
    await subscribe(shop)
    async with receiving() as receiver, told(await made(database, tmp_path), webhook(receiver.url)) as news:
        await until(lambda: looks)
        await asyncio.sleep(0.5)
        assert len(looks) == 1
        await happen(shop, returns=1, events=1)
        began = time.monotonic()
        news.wake()
        await until(lambda: receiver.accepted)
        assert time.monotonic() - began < 1


async def test_a_killed_worker_is_followed_when_its_lease_ends_and_is_fenced_out(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=1, events=1)
    token = await take_lease(database, "shop", "killed", 0.5)
    assert token == 1
    async with receiving() as receiver, told(await made(database, tmp_path), webhook(receiver.url)):
        await asyncio.sleep(0.2)
        assert receiver.got == []
        await until(lambda: receiver.accepted)
        late = await record_tries(database, "shop", "killed", token, 90.0, _believes_it_was_delivered)
        assert late is None


async def test_a_worker_that_ends_when_it_is_idle_has_sent_what_can_be_sent(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    async with receiving() as receiver:
        receiver.answer = lambda data, repeat: web.Response(status=500 if data["reference"] == "R-1" else 200)
        async with told(await made(database, tmp_path), webhook(receiver.url)) as news:
            await news.settle()
            await happen(shop, returns=2, events=2)
            await asyncio.wait_for(news.settle(), 5)
            assert (receiver.of("R-2"), await waiting(shop)) == ([1, 2], 2)
            await news.drain()
            await asyncio.wait_for(news.settle(), 5)  # it has ended, and nobody waits for it


def _believes_it_was_delivered(endpoint: Endpoint, now: datetime) -> Verdict:
    return Verdict(endpoint, delivered=[1])


async def test_a_worker_that_drains_ends_what_is_in_flight_writes_it_down_and_hands_the_lease_back(
    database: Database, shop: Shop, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=9, events=1)
    async with receiving() as receiver:
        receiver.before = lambda: asyncio.sleep(0.3)
        async with told(await made(database, tmp_path), webhook(receiver.url, most=2)) as news:
            await until(lambda: receiver.at_once == 2)
            await news.drain()
            assert (len(receiver.accepted), await waiting(shop)) == (2, 7)
            assert await _is_free(shop)


@on_postgresql
async def test_a_result_that_cannot_be_written_is_kept_and_the_event_not_sent_again(
    database: Database, shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await subscribe(shop)
    await happen(shop, returns=1, events=2)
    async with receiving() as receiver, Shop.at(migrated_url) as other:
        locked = False

        async def lock() -> None:
            nonlocal locked
            if not locked:
                locked = True
                await other.run("BEGIN")
                await other.run("SELECT * FROM news_subscriber FOR UPDATE")

        receiver.before = lock
        async with told(await made(database, tmp_path), webhook(receiver.url)):
            await until(lambda: receiver.accepted)
            await asyncio.sleep(0.6)
            assert len(receiver.got) == 1
            await other.run("COMMIT")
            await until(lambda: _is_empty(shop))
    assert [each.data["position"] for each in receiver.got] == [1, 2]


async def test_no_request_begins_that_could_outlive_the_lease(database: Database, shop: Shop, tmp_path: Path) -> None:
    await subscribe(shop)
    await happen(shop, returns=1, events=1)
    async with receiving() as receiver:
        tools = await made(database, tmp_path, lease=0.3)
        slow = webhook(receiver.url, timeout=2.0)
        receiver.before = lambda: asyncio.sleep(0.5)
        async with told(tools, slow):
            await until(lambda: receiver.at_once == 1)
            until_when = (await subscriber(shop))["lease_until"]
            assert _seconds(until_when) - time.time() > 2.0
            await until(lambda: _is_empty(shop))
    assert len(receiver.got) == 1
