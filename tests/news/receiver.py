"""An endpoint as a shop would have it: a real HTTP server that verifies what comes by the specification's library."""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from tests.store.shop import Shop

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Got:
    """One request that arrived."""

    id: str
    body: bytes
    data: dict[str, Any]
    status: int


@dataclass
class Receiver:
    """Answers as `answer` says; it is given what the event says, and whether its id came before."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answer: Callable[[dict[str, Any], bool], web.Response] = lambda _data, _repeat: web.Response()
    before: Callable[[], Awaitable[object]] = lambda: asyncio.sleep(0)  # is awaited before each answer
    at_once: int = 0
    most_at_once: int = 0
    _ids: set[str] = field(default_factory=set)

    @property
    def accepted(self) -> list[Got]:
        """Those that were answered by 2xx."""
        return [each for each in self.got if each.status < 300]

    def of(self, reference: str) -> list[int]:
        """The positions that were accepted of a return, as they came."""
        return [each.data["position"] for each in self.accepted if each.data["reference"] == reference]

    def check(self) -> None:
        """None out of order per return but for repeats, and each repeat with its id and its bytes."""
        bodies: dict[str, bytes] = {}
        last: dict[tuple[str, str], int] = defaultdict(int)
        for each in self.got:
            assert bodies.setdefault(each.id, each.body) == each.body
        seen: set[str] = set()
        for each in self.accepted:
            key = (each.data["account"], each.data["reference"])
            if each.id not in seen:
                assert each.data["position"] == last[key] + 1, (key, each.data["position"], last[key])
                last[key] = each.data["position"]
                seen.add(each.id)
            assert each.data["position"] == last[key], "a repeat of something older than the newest"
        ids = defaultdict(set)
        for each in self.got:
            ids[(each.data["account"], each.data["reference"], each.data["position"])].add(each.id)
        assert all(len(known) == 1 for known in ids.values())

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        body = await request.read()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            Webhook(SECRET).verify(body, dict(request.headers))
            got_id, data = request.headers["webhook-id"], json.loads(body)["data"]
            await self.before()
            answer = self.answer(data, got_id in self._ids)
            self._ids.add(got_id)
            self.got.append(Got(got_id, body, data, answer.status))
            return answer
        finally:
            self.at_once -= 1


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """It listens on a free port of this machine."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/news", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/news"
        yield receiver
    finally:
        await runner.cleanup()


async def subscribe(shop: Shop, name: str = "shop") -> None:
    """Register a webhook."""
    await shop.run("INSERT INTO news_subscriber (name, kind) VALUES ($1, 'webhook')", name)


async def happen(shop: Shop, returns: int, events: int, name: str = "shop") -> None:
    """So many events of so many returns, R-1 and so on, as they are written down for a webhook."""
    for number in range(1, returns + 1):
        for position in range(1, events + 1):
            await shop.run(
                f"""INSERT INTO webhook_event (subscriber, type, account, reference, return_order_id, position, source,
                      source_id, observed_at, old_value, new_value)
                    VALUES ($1, 'state.tracking', 'default', 'R-{number}', {number}, {position}, 'transition',
                      {number * 1000 + position}, {shop.moment()}, 'pending', 'tracking')""",
                name,
            )
