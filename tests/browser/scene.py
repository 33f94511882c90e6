"""A day of a small shop: a real worker follows returns at both simulated carriers, and some of them need a person."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.databases import migrated
from tests.process.running import CONFIG, KEY, TOKEN, RunningWorker, until
from tests.process.shop import Shop
from tests.web.served import ACTOR, LOOKER, Browser
from worker.demo.fates import made_up
from worker.simulator import Simulator, faults
from worker.telemetry.metrics import Metrics

STAGE = 10.0
IN_DOUBT, IN_DOUBT_TOO, REFUSED, ON_ITS_WAY, NO_LABEL = "RMA-2009", "RMA-2012", "RMA-2008", "RMA-2004", "RMA-2007"
TO_CANCEL = "RMA-2006"
HELD_FOR = "the carrier’s portal is down until noon"
_TOKENS = """
[http.tokens.support]
file = "{folder}/support.token"
may = "look"
[http.tokens.anna]
file = "{folder}/anna.token"
may = "act"
"""
_NEWS = """
[news.shop]
kind = "table"
[news.stock]
kind = "webhook"
url = "http://127.0.0.1:9/returns"
private = true
secret = "whsec_c29tZSBieXRlcyBmb3IgdGVzdHMgb25seQ=="
timeout = "1s"
"""


@dataclass
class Day:
    """What there is at its end; the worker still runs, and its account `default` is held."""

    config: Path
    shop: Shop
    carrier: Simulator
    worker: RunningWorker
    label_codes: dict[str, str] = field(default_factory=dict)  # the first of each return that has one

    @property
    def address(self) -> str:
        """Where the worker's pages are."""
        listening = self.worker.saw("listening")
        assert listening is not None
        return str(listening["address"])

    @asynccontextmanager
    async def anna(self) -> AsyncIterator[Browser]:
        """Who may act, at the worker's pages."""
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            anna = Browser(self.address.removeprefix("http://"), client, Metrics("1"))
            await anna.log_in(ACTOR)
            yield anna


@asynccontextmanager
async def shop_day(folder: Path) -> AsyncIterator[Day]:
    """The whole of it takes some five seconds."""
    for name, text in (("izipack.key", KEY), ("pilot.key", TOKEN), ("support.token", LOOKER), ("anna.token", ACTOR)):
        (folder / name).write_text(text)
    url = f"sqlite:///{folder}/returns.db"
    await migrated(url)
    clock = _Clock()
    async with Simulator(api_key=KEY, stage_seconds=STAGE, token=TOKEN, rate_limit=0, clock=clock) as carrier:
        config = folder / "worker.toml"
        told = CONFIG.format(database_url=url, carrier_url=carrier.url, folder=folder)
        config.write_text(told + _TOKENS.format(folder=folder) + _NEWS)
        worker = await RunningWorker(config, folder / "worker.log").ready()
        try:
            day = Day(config, Shop(url), carrier, worker)
            await _morning(day, clock)
            await _noon(day)
            yield day
        finally:
            worker.kill()


class _Clock:
    """The carriers' time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def _morning(day: Day, clock: _Clock) -> None:
    """Returns that go well: delivered, on their way, with a link that its customer has not used yet."""
    for number in (2001, 2002, 2003):
        await _insert(day, f"RMA-{number}")
    await _insert(day, "RMA-3001", "pilot")
    await until(lambda: _count(day, "state = 'tracking'", 4), 10)
    for stage in ("PickedUp", "InTransit", "Delivered"):
        if stage == "InTransit":
            await _insert(day, ON_ITS_WAY, packages=2)
            await _insert(day, "RMA-2005")
            await until(lambda: _count(day, "carrier_status = 'Created'", 2), 10)
        clock.now += STAGE
        await until(lambda stage=stage: _count(day, f"carrier_status = '{stage}' AND account = 'default'", 3), 10)
    await until(lambda: _count(day, "state = 'completed'", 4), 10)
    await until(lambda: _count(day, "carrier_status = 'InTransit'", 2), 10)
    await _insert(day, TO_CANCEL)
    await _insert(day, "RMA-3002", "pilot")
    await until(lambda: _count(day, "state = 'tracking'", 4), 10)


async def _noon(day: Day) -> None:
    """What goes wrong: a label, a refusal, mistakes of the shop, a lost answer; and then the account is held."""
    problem = {"title": "One or more validation errors occurred.", "errors": {"postalCode": ["is not known"]}}
    wrong = [{"height": 0, "width": "wide", "depth": 40, "weigth": 900}]
    for reference, payload, fault, becomes in (
        (NO_LABEL, {"description": "Return of a tent sim:blank-label"}, None, "label_error_code IS NOT NULL"),
        (REFUSED, {}, faults.reply(400, None, problem), "state = 'rejected'"),
        (IN_DOUBT, {}, faults.cut(process=True), "state = 'needs_attention'"),
        ("RMA-2010", {"packages": wrong}, None, "state = 'rejected'"),
        (IN_DOUBT_TOO, {}, faults.cut(process=True), "state = 'needs_attention'"),
    ):
        if fault is not None:
            day.carrier.inject("create", fault)
        await day.shop.insert(reference, made_up(_number(reference)) | payload)
        await until(lambda name=reference, to=becomes: _count(day, f"{to} AND reference = '{name}'", 1), 10)
    await _insert(day, "RMA-2013")  # the carrier is well again
    await until(lambda: _count(day, "state = 'tracking' AND reference = 'RMA-2013'", 1), 10)
    async with day.anna() as anna:
        assert (await anna.post("/accounts/default/hold", {"what": "whole", "reason": HELD_FOR})).status == 303
    await _insert(day, "RMA-2011")
    rows = await day.shop.execute(
        "SELECT reference, label_code FROM package JOIN return_order ON return_order.id = return_order_id"
        " WHERE position = 1 AND label_code IS NOT NULL"
    )
    day.label_codes = {row["reference"]: row["label_code"] for row in rows}


async def _insert(day: Day, reference: str, account: str = "default", packages: int = 1) -> None:
    payload: dict[str, Any] = made_up(_number(reference))
    await day.shop.insert(reference, payload | {"packages": payload["packages"] * packages}, account)


def _number(reference: str) -> int:
    return int(reference.removeprefix("RMA-"))


async def _count(day: Day, condition: str, number: int) -> bool:
    rows = await day.shop.execute(f"SELECT count(*) AS found FROM return_order WHERE {condition}")
    return bool(rows[0]["found"] >= number)
