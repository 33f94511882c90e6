"""How an account is asked, held and left alone, by several real processes; the carrier's own record is the judge."""

import asyncio
import json
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.process.running import PAYLOAD, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.domain.pacing import Pace
from worker.simulator import Simulator
from worker.simulator.faults import reply, server_error, throttled

Start = Callable[..., RunningWorker]
RATE = 240


async def _insert_stuck(shop: Shop, count: int) -> None:
    for number in range(count):
        await shop.insert(f"R-{number}", {**PAYLOAD, "description": f"sim:stuck {number}"})


def _most_in(times: Sequence[float], seconds: float) -> int:
    return max(index + 1 - bisect_left(times, at - seconds) for index, at in enumerate(times))


async def _four_workers_ask(start: Start, shop: Shop, carrier: Simulator, config: Path, seconds: float) -> list[float]:
    """When the carrier was asked, by four processes with far more to ask than the account's limit allows."""
    config.write_text(config.read_text().replace("rate_per_minute = 0", f"rate_per_minute = {RATE}", 1))
    workers = [await start().ready() for _ in range(4)]
    await _insert_stuck(shop, 40)
    most = seconds / Pace(RATE).interval.total_seconds()
    await until(lambda: len(carrier.ledger) > most, 2 * seconds, lambda: workers[0].log_text)
    assert [await worker.stopped() for worker in workers] == [0] * 4
    return sorted(request.at for request in carrier.ledger)


@on_postgresql
async def test_four_processes_together_take_no_more_than_one_pace(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    times = await _four_workers_ask(start, shop, carrier, config, 8)
    pace = Pace(RATE)
    for seconds in (0.5, 2, 5, 8):
        allowed = pace.burst + (seconds + 3) / pace.interval.total_seconds() + 1  # a token lasts three seconds
        assert _most_in(times, seconds) <= allowed, seconds


@pytest.mark.long
@pytest.mark.timeout(300)
@on_postgresql
async def test_four_processes_together_never_exceed_the_limit_in_any_minute(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    times = await _four_workers_ask(start, shop, carrier, config, 200)
    assert 0.85 * RATE <= _most_in(times, 60) <= RATE


@on_postgresql
async def test_a_carrier_that_asks_to_wait_is_heard_by_every_worker(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    workers = [await start().ready() for _ in range(2)]
    await _insert_stuck(shop, 20)
    await until(lambda: len(carrier.requests("status")) > 60, 20, lambda: workers[0].log_text)
    carrier.inject("status", throttled(3))
    await until(lambda: any(each.reply_status == 429 for each in carrier.ledger), 5)
    refused_at = next(each.at for each in carrier.ledger if each.reply_status == 429)
    await until(lambda: carrier.ledger[-1].at > refused_at + 2.5, 10, lambda: workers[0].log_text)
    under_way = [each for each in carrier.ledger if refused_at < each.at <= refused_at + 2.5]
    assert len(under_way) <= 2 * 8, "no more than both workers had in flight; unheard it would be some 250"


@pytest.mark.long
@on_postgresql
async def test_a_carrier_that_is_down_is_asked_once_in_a_while_and_then_everything_goes_on(
    start: Start, shop: Shop, carrier: Simulator, config: Path, database_url: str
) -> None:
    circuit = {"RETURNS_WORKER_CIRCUIT__FIRST": "1s", "RETURNS_WORKER_CIRCUIT__CAP": "2s"}
    workers = [await start(**circuit).ready() for _ in range(1 if database_url.startswith("sqlite") else 2)]
    await _insert_stuck(shop, 12)
    await until(lambda: len(carrier.requests("status")) > 30, 20, lambda: workers[0].log_text)
    carrier.inject("status", server_error(), None)
    await until(lambda: any(worker.saw("circuit_opened") for worker in workers), 10, lambda: workers[0].log_text)
    for worker in workers:  # what was under way has ended
        await until(lambda worker=worker: _is_idle(worker), 5)
    asked = len(carrier.requests("status"))
    await until(lambda: len(carrier.requests("status")) >= asked + 3, 12, lambda: workers[0].log_text)
    first, second, third = (request.at for request in carrier.requests("status")[asked : asked + 3])
    assert second - first > 1.5, "one probe after 1 s, and then one every 2 s, of all workers together"
    assert third - second > 1.5
    open_until = 'returns_worker_account_circuit_open_until_timestamp_seconds{account="default",circuit="account"}'
    assert await workers[0].metric(open_until) > time.time() - 10
    _, ready = await workers[0].get("/readyz")
    assert '"ready": true' in ready
    assert "failures in a row" in ready
    rows = await shop.execute("SELECT state, attempts FROM return_order")
    assert {(row["state"], row["attempts"]) for row in rows} == {("tracking", 0)}

    carrier.clear_faults()
    await until(lambda: any(worker.saw("circuit_closed") for worker in workers), 5, lambda: workers[0].log_text)
    before = len(carrier.requests("status"))
    await until(lambda: len(carrier.requests("status")) > before + 24, 10, lambda: workers[0].log_text)


@on_sqlite
async def test_a_person_holds_an_account_or_its_creations_and_releases_it(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    worker = await start().ready()
    await _insert_stuck(shop, 3)
    await until(lambda: len(carrier.requests("status")) > 6, 15, lambda: worker.log_text)
    code, _, said = await typed(config, "accounts", "hold", "default", "--no-create", "--reason", "out of boxes")
    assert (code, "out of boxes" in said) == (0, True)
    await shop.insert("LATER")
    polls = len(carrier.requests("status"))
    await until(lambda: len(carrier.requests("status")) > polls + 12, 10, lambda: worker.log_text)
    assert len(carrier.requests("create")) == 3
    assert await shop.is_in("LATER", "pending")

    code, _, said = await typed(config, "accounts", "hold", "default", "--by", "anna", "--for", "1h")
    assert (code, "held until 20" in said, "by anna" in said) == (0, True, True)
    held = 'returns_worker_account_held_until_timestamp_seconds{account="default"}'
    await until(lambda: _is_set(worker, held), 5)
    await until(lambda: _is_idle(worker), 5)
    asked = len(carrier.ledger)
    await asyncio.sleep(1)
    assert len(carrier.ledger) == asked
    code, shown, _ = await typed(config, "accounts")
    assert code == 0
    assert "held until" in shown and "out of boxes" in shown and "pilot" in shown
    for words in (("poll", "R-0"), ("label", "R-0", "--refetch", "-o", "-")):
        code, _, said = await typed(config, *words)
        assert (code, "accounts release default" in said) == (1, True)
    assert len(carrier.ledger) == asked

    code, _, said = await typed(config, "accounts", "release", "default")
    assert (code, said) == (0, "account default: ok\n")
    await until(lambda: shop.is_in("LATER", "tracking"), 10, lambda: worker.log_text)
    code, _, said = await typed(config, "accounts", "release", "nobody")
    assert (code, "there is no account 'nobody'; there is default, pilot" in said) == (2, True)


async def _is_idle(worker: RunningWorker) -> bool:
    return await worker.metric('returns_worker_in_flight{account="default"}') == 0


async def _has_arrived(carrier: Simulator) -> bool:
    def fetch() -> dict[str, dict[str, str]]:
        with urllib.request.urlopen(f"{carrier.url}/simulator/orders", timeout=5) as answer:
            return json.load(answer)["orders"]

    return [order["status"] for order in (await asyncio.to_thread(fetch)).values()] == ["Delivered"]


async def _is_set(worker: RunningWorker, series: str) -> bool:
    return await worker.metric(series) > 0


@on_sqlite
async def test_a_person_asks_now_also_about_what_is_completed_and_about_what_is_not_there(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    config.write_text(
        config.read_text().replace('first = "200ms"', 'first = "1h"').replace('cap = "200ms"', 'cap = "1h"')
    )
    config.write_text(config.read_text().replace('by_status.in_transit.first = "200ms"\n', ""))
    worker = await start().ready()
    await shop.insert("SLOW")
    await until(lambda: shop.is_in("SLOW", "tracking"), 15, lambda: worker.log_text)
    await until(lambda: carrier.requests("label"), 10, lambda: worker.log_text)
    await until(lambda: _has_arrived(carrier), 10)  # and the next poll is in an hour
    code, out, said = await typed(config, "poll", "SLOW", "--by", "anna", "--reason", "the customer asks")
    assert (code, out) == (0, "SLOW: delivered (Delivered), completed\n"), said
    assert "by anna: the customer asks" in (await shop.history("SLOW"))[-1]["reason"]

    (number,) = carrier.orders
    carrier.inject(
        "status", reply(200, {"Content-Type": "application/json"}, {"orderNumber": number, "status": "InTransit"})
    )
    code, out, _ = await typed(config, "poll", "SLOW", "--by", "anna")
    assert (code, out) == (0, "SLOW: in_transit (InTransit), tracking\n")
    lines = [(line["field"], line["new_value"], line["reason"]) for line in (await shop.history("SLOW"))[-2:]]
    assert lines == [
        ("tracking_status", "in_transit", "after delivered; by anna"),
        ("state", "tracking", "the carrier says that it is still under way; by anna"),
    ]
    before = await shop.order("SLOW")
    carrier.inject("status", reply(404))
    code, _, said = await typed(config, "poll", "SLOW")
    assert (code, "404" in said) == (1, True)
    after = await shop.order("SLOW")
    assert [after[name] for name in ("state", "track_due_at", "attempts")] == [
        before[name] for name in ("state", "track_due_at", "attempts")
    ]
    await shop.insert("BAD", {})
    await until(lambda: shop.is_in("BAD", "rejected"), 10, lambda: worker.log_text)
    code, _, said = await typed(config, "poll", "BAD")
    assert (code, "nothing to ask the carrier about" in said) == (1, True)


@on_sqlite
async def test_a_shop_learns_the_carrier_s_words_and_maps_them_for_returns_still_followed(
    start: Start, shop: Shop, carrier: Simulator, config: Path
) -> None:
    mapped = config.read_text()
    config.write_text(mapped.replace('InTransit = "in_transit"\nDelivered = "delivered"\n', ""))
    worker = await start().ready()
    await shop.insert("R-1")
    await until(lambda: _says(shop, "R-1", "Delivered"), 20, lambda: worker.log_text)
    code, out, said = await typed(config, "statuses")
    rows = {tuple(line.split()[:3]): line.split()[-1] for line in out.splitlines()[1:]}
    assert code == 0
    # A busy machine polls seldom enough to miss a word; what was seen is listed, and no more.
    seen = {line["carrier_status"] for line in await shop.history("R-1")} - {None}
    meant = {"Created": "pre_transit", "PickedUp": "in_transit"}
    assert rows == {("default", word, "1"): meant.get(word, "unknown") for word in seen}
    unmapped = "".join(f'  "{word}" = ...\n' for word in sorted(seen - meant.keys()))
    assert f"[accounts.default.status_map]:\n{unmapped}" in said

    config.write_text(mapped)
    code, out, said = await typed(config, "statuses", "--remap", "--dry-run")
    assert (code, said.splitlines()[0]) == (0, "1 return would be mapped once more")
    assert await shop.is_in("R-1", "tracking")
    code, out, said = await typed(config, "statuses", "--remap", "--by", "anna")
    assert (code, out) == (0, "R-1: unknown -> delivered: read by a changed map; by anna\n"), said
    order = await shop.order("R-1")
    assert (order["state"], order["tracking_status"], order["carrier_status"]) == (
        "completed",
        "delivered",
        "Delivered",
    )
    code, out, said = await typed(config, "statuses", "--remap")
    assert (code, out, said.splitlines()[0]) == (0, "", "0 returns mapped once more")


async def _says(shop: Shop, reference: str, word: str) -> bool:
    return bool((await shop.order(reference))["carrier_status"] == word)
