"""What a real browser sends for a stranger's page, under a stranger's name, and with a cookie that is good no more."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from tests.browser.conftest import EVIL
from tests.browser.scene import Day
from tests.web.served import ACTOR
from worker.web.guard import LASTS, cookie_for

Tab = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def stranger(target: str) -> AsyncIterator[int]:
    """A site on another port, with a button that holds an account of ours; its port."""
    form = f'<form method="post" action="{target}"><input name="what" value="creations"><button>Win</button></form>'

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=form, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_a_button_on_another_site_or_on_another_port_of_the_same_host_does_nothing(
    tab: Tab, day: Day, pages: str
) -> None:
    page = await tab()
    async with stranger(f"{pages}/accounts/pilot/hold") as port:
        for host in (EVIL, "127.0.0.1"):
            await page.goto(f"http://{host}:{port}/")
            async with page.expect_navigation() as navigation:
                await page.click("button")
            answer = await navigation.value
            assert answer.status == 403
            assert "sent by a page of another site or of another port" in await page.inner_text("main")
    found = await day.shop.execute("SELECT create_hold_message AS said FROM carrier_account WHERE name = 'pilot'")
    assert {row["said"] for row in found} <= {None}


async def test_under_a_name_that_leads_here_for_a_stranger_there_is_no_page(tab: Tab, pages: str) -> None:
    page = await tab()
    for path in ("/", "/login", "/returns/default/RMA-2004"):
        answer = await page.goto(f"http://{EVIL}:{urlsplit(pages).port}{path}")
        assert answer.status == 421
        assert "Set http.public_url" in await page.inner_text("main")


async def test_a_cookie_that_ran_out_or_whose_token_was_changed_leads_to_the_login(
    tab: Tab, day: Day, pages: str
) -> None:
    page = await tab()
    await page.goto("/accounts")
    assert page.url == f"{pages}/accounts"
    old = cookie_for("anna", ACTOR, time.time() - LASTS - 1)
    await page.context.add_cookies([{"name": "returns_worker", "value": old, "url": pages}])
    await page.goto("/returns?state=rejected")
    assert page.url == f"{pages}/login?to=/returns%3Fstate%3Drejected"

    await page.context.clear_cookies()
    page = await tab()
    file = day.config.with_name("anna.token")
    file.write_text("other-" + "3" * 32)
    try:
        await page.goto("/accounts")
        assert page.url == f"{pages}/login?to=/accounts"
    finally:
        file.write_text(ACTOR)
