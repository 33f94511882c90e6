"""The pages on a real listener, and a browser of the plainest kind that asks for them."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from prometheus_client import CollectorRegistry
from yarl import URL

from tests.telemetry.test_http import all_is_well
from worker.settings import Settings
from worker.settings.model import AccountSettings, DatabaseSettings, HttpSettings, LabelSettings, TokenSettings
from worker.settings.news import NewsSettings
from worker.telemetry.http import TelemetryServer
from worker.telemetry.metrics import Metrics
from worker.web import open_pages
from worker.web.pages import Pages

LOOKER, ACTOR = "look-" + "1" * 32, "act-" + "2" * 32
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Got:
    """An answer."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class Browser:
    """Asks as a browser does that follows no redirect; it keeps the cookie that it is given."""

    address: str
    client: aiohttp.ClientSession
    metrics: Metrics
    hidden: list[str] = field(default_factory=list)  # what the pages said that no log may show
    cookie: str = ""

    async def get(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> Got:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            named = {"Cookie": self.cookie, **named}
        asking = self.client.request(
            method, URL(f"http://{self.address}{path}", encoded=True), headers=named, data=data, allow_redirects=False
        )
        async with asking as answer:
            if given := answer.headers.get("Set-Cookie"):
                self.cookie = given.partition(";")[0]
            return Got(answer.status, await answer.text(), dict(answer.headers))

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> Got:
        """Send a form as a page of ours does, or with these headers instead."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or SAME_ORIGIN)}
        return await self.get(path, "POST", urlencode(form).encode(), **sent)

    async def log_in(self, token: str) -> Got:
        return await self.post("/login", {"token": token})

    def counted(self, page: str, status: int) -> float:
        return float(self.metrics.page_requests.labels(page, str(status))._value.get())


@asynccontextmanager
async def served(
    url: str,
    folder: Path,
    tokens: Mapping[str, str] | None = None,
    public_url: str | None = None,
    *,
    account: AccountSettings | None = None,
    labels: Path | None = None,
    news: Mapping[str, NewsSettings] | None = None,
    **options: Any,
) -> AsyncIterator[Browser]:
    """`tokens`: whether `support` looks and `anna` acts, by these tokens; `options` are those of `Pages`.

    `labels`: the folder that is the label store.
    """
    configured = {}
    for name, token in (tokens or {}).items():
        (folder / f"{name}.token").write_text(token)
        configured[name] = TokenSettings(file=folder / f"{name}.token", may="act" if name == "anna" else "look")
    settings = Settings(
        database=DatabaseSettings(url=url),
        accounts={"default": account or AccountSettings()},
        http=HttpSettings(tokens=configured, public_url=public_url),
        news=dict(news or {}),
        labels=LabelSettings(store=f"file:{labels or folder / 'labels'}"),
    )
    metrics, hidden = Metrics("1"), list[str]()
    shared = {"share": 1e9, **options}  # no test waits for its share of the time
    pages = Pages(settings, metrics, lambda: url, lambda *texts: hidden.extend(texts), **shared)
    async with (
        listening("127.0.0.1", pages) as address,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
    ):
        yield Browser(address, client, metrics, hidden)


@asynccontextmanager
async def listening(host: str, pages: Pages | None) -> AsyncIterator[str]:
    server = TelemetryServer(
        host,
        0,
        registry=CollectorRegistry(),
        seconds_since_turn=lambda: 0.0,
        turn_limit=30.0,
        readiness=all_is_well,
        serve_pages=pages.serve_on if pages is not None else None,
    )
    await server.start()
    try:
        yield f"127.0.0.1:{server.address[1]}"
    finally:
        await server.stop()
        if pages is not None:
            await pages.close()


def links(text: str) -> set[str]:
    """Where a page leads, and what it loads."""
    return set(re.findall(r'(?:href|src|action)="([^"]*)"', text))


__all__ = ["ACTOR", "LOOKER", "SAME_ORIGIN", "Browser", "Got", "links", "listening", "open_pages", "served"]
