"""What a support colleague and an operator come for, by keyboard alone, without JavaScript, at 360 px, in the dark."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.browser.scene import HELD_FOR, IN_DOUBT, ON_ITS_WAY, TO_CANCEL, Day
from tests.web.served import LOOKER

Tab = Callable[..., Awaitable[Any]]
_FOCUSED = """() => {
  const at = document.activeElement
  return [at.innerText, ...[...(at.labels ?? [])].map(label => label.innerText)].join(" ").trim()
}"""


async def go(page: Any, name: str) -> None:
    """Press Tab until what begins with this name has the focus, as a person sees it by its outline."""
    passed = []
    for _ in range(80):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(_FOCUSED)
        if focused.startswith(name):
            assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", name
            return
        passed.append(focused[:30])
    raise AssertionError(f"no key leads to {name!r}: {passed}")


async def follow(page: Any, name: str) -> str:
    """Go there and press Enter; what is to be read then."""
    await go(page, name)
    return await enter(page)


async def enter(page: Any) -> str:
    async with page.expect_navigation():
        await page.keyboard.press("Enter")
    return " ".join((await page.inner_text("main")).split())


async def test_support_finds_a_return_by_its_label_code_and_reads_why_it_waits(tab: Tab, day: Day) -> None:
    page = await tab("support")
    began = time.monotonic()
    await page.context.clear_cookies()
    await page.goto("/")
    await page.wait_for_selector("#token:focus")  # by itself
    await page.keyboard.type(LOOKER)
    await enter(page)
    await go(page, "Find a return")
    await page.keyboard.type(day.label_codes[ON_ITS_WAY].lower())
    assert f"label code {day.label_codes[ON_ITS_WAY]}" in await enter(page)
    shown = await follow(page, ON_ITS_WAY)
    assert "A person holds the account" in shown
    assert f"held until it is released (held_by_person: by anna: {HELD_FOR})" in shown
    assert "It goes on when the account is released" in shown
    assert time.monotonic() - began < 60


async def test_an_operator_resolves_a_held_creation_by_keys(tab: Tab, day: Day) -> None:
    page = await tab()
    await page.goto("/")
    await follow(page, "create_outcome_unknown")
    await follow(page, IN_DOUBT)
    asked = await follow(page, "Say that the carrier has it")
    assert f"Search for the reference {IN_DOUBT}" in asked
    await go(page, "The number that the carrier has given it")
    [number] = [number for number, order in day.carrier.orders.items() if IN_DOUBT in order.description]
    await page.keyboard.type(number)
    shown = await enter(page)
    assert "What would happen now" in shown
    assert f"The carrier is asked about {number}: its status and its label. Nothing is created." in shown
    assert (await day.shop.order(IN_DOUBT))["state"] == "needs_attention"
    await go(page, "Why")
    await page.keyboard.type("found in the portal")
    done = await follow(page, "Note that it is there")
    assert "What became of its creation is noted" in done
    assert f"resolved: it is {number} at the carrier; by anna: found in the portal" in done
    assert (await day.shop.order(IN_DOUBT))["state"] == "tracking"


async def test_a_return_is_withdrawn_by_keys(tab: Tab, day: Day) -> None:
    page = await tab()
    await page.goto("/returns")
    await follow(page, TO_CANCEL)
    assert "The carrier is not told" in await follow(page, "Withdraw it")
    await go(page, "Why")
    await page.keyboard.type("the customer keeps it")
    done = await follow(page, "Withdraw it")
    assert "Its withdrawal is noted" in done
    assert "by anna: the customer keeps it" in done
    assert (await day.shop.order(TO_CANCEL))["cancel_requested_at"] is not None


@pytest.mark.long
async def test_an_account_is_held_and_released_by_keys(tab: Tab, day: Day) -> None:
    page = await tab()
    await page.goto("/accounts/pilot/hold")
    await go(page, "Why")
    await page.keyboard.type("stocktaking")
    assert "The hold is set." in await follow(page, "Hold it")
    await follow(page, "Overview")
    await go(page, "pilot")
    assert "by anna: stocktaking" in await follow(page, "What a release would do")
    assert "The account is released." in await follow(page, "Release it")
    [account] = await day.shop.execute("SELECT held_until FROM carrier_account WHERE name = 'pilot'")
    assert account["held_until"] is None
