"""One browser and one day of a shop for all tests here, and the pages over its database.

Playwright is no part of the test extra: it takes 165 MB. `.ci/run` installs it, with axe and Debian's chromium.
"""

import json
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.scene import Day, shop_day
from tests.web.served import ACTOR, LOOKER, listening
from worker.carriers.registry import CARRIERS
from worker.settings import load
from worker.telemetry.metrics import Metrics
from worker.web.guard import cookie_for
from worker.web.pages import Pages

HOSTILE = "<script>document.title = 'it ran'</script>\u202eabc \0 \u05d0\u05d1 " + "x" * 300
REFERENCES = ("A/B", ".", "..", "%2F", "\U0001f4e6 \u00e9", HOSTILE.replace("\0", ""))
EVIL = "evil.example"  # leads to this machine, as a name of a stranger's may


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share a browser, and so its loop."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Any]:
    """Playwright's browser."""
    missing = [name for name in ("playwright", "axe_playwright_python") if find_spec(name) is None]
    program = shutil.which("chromium")
    if missing or program is None:
        pytest.skip(f"needs {' and '.join(missing) or 'chromium'}: .ci/run installs it")
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]  # root has no sandbox
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def day(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    """What the worker has come to, which runs on, and returns with hostile words."""
    async with shop_day(tmp_path_factory.mktemp("day")) as day:
        for number, reference in enumerate(REFERENCES):
            await _insert_hostile(day, reference, number)
        yield day


async def _insert_hostile(day: Day, reference: str, number: int) -> None:
    there = day.shop.execute
    payload = {"customer": {"name": HOSTILE, "email": HOSTILE}, "description": HOSTILE, HOSTILE: HOSTILE}
    await there("INSERT INTO return_order (reference, payload) VALUES (?1, ?2)", reference, json.dumps(payload))
    await there(
        "UPDATE return_order SET state = 'needs_attention', error_code = 'create_outcome_unknown', due_at = NULL,"
        " error_message = ?2, carrier_status = ?2, return_url = ?3, create_started_at = '2026-01-02 03:04:05',"
        " first_attempt_at = '2026-01-02 03:04:05' WHERE reference = ?1",
        *(reference, HOSTILE, "https://" + "x" * 200),
    )
    await there(
        "INSERT INTO package (return_order_id, position, label_code, description, tracking_url)"
        " SELECT id, 1, ?2, ?3, ?3 FROM return_order WHERE reference = ?1",
        *(reference, f"{HOSTILE}{number}", HOSTILE),
    )
    await there(
        "INSERT INTO status_transition (return_order_id, field, old_value, new_value, carrier_status, reason)"
        " SELECT id, 'state', 'pending', 'needs_attention', ?2, ?2 FROM return_order WHERE reference = ?1",
        *(reference, HOSTILE),
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pages(day: Day) -> AsyncIterator[str]:
    """Where the pages are; nothing keeps their readers waiting."""
    settings = load(day.config, {}, need_accounts=True, carriers=CARRIERS)
    served = Pages(settings, Metrics("1"), lambda: day.shop.url, lambda *_: None, patience=20, share=1e9)
    async with listening("127.0.0.1", served) as address:
        yield f"http://{address}"


@pytest_asyncio.fixture(loop_scope="session")
async def tab(chromium: Any, pages: str) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Opens a window of its own where somebody has logged in: without JavaScript, at 360 px, in the dark."""
    async with AsyncExitStack() as stack:

        async def open_tab(name: str = "anna", width: int = 360, scheme: str = "dark", scripts: bool = False) -> Any:
            context = await chromium.new_context(
                base_url=pages,
                java_script_enabled=scripts,
                viewport={"width": width, "height": 740},
                color_scheme=scheme,
            )
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.set_default_timeout(10_000)
            cookie = cookie_for(name, {"anna": ACTOR, "support": LOOKER}[name], time.time())
            await context.add_cookies([{"name": "returns_worker", "value": cookie, "url": pages}])
            return page

        yield open_tab
