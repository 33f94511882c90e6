"""What a browser makes of each page: no word is broken, axe finds nothing, and others' words are there to be read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from importlib import resources
from typing import Any

import pytest

from tests.browser.conftest import HOSTILE, REFERENCES
from tests.browser.scene import IN_DOUBT_TOO, NO_LABEL, ON_ITS_WAY, REFUSED, Day
from worker.web.page import address_of

Tab = Callable[..., Awaitable[Any]]

_PAGES = (
    "/",
    "/returns",
    "/returns?q=Bram",
    f"/returns/default/{ON_ITS_WAY}",
    f"/returns/default/{NO_LABEL}",
    f"/returns/default/{REFUSED}/retry",
    f"/returns/default/{IN_DOUBT_TOO}",
    f"/returns/default/{IN_DOUBT_TOO}/resolve",
    f"/returns/default/{IN_DOUBT_TOO}/resolve?as=found&number=9RET1",
    "/accounts",
    "/accounts/default/hold",
    "/accounts/default/release",
    "/news",
    "/news/stock/hold",
    "/news/stock/release",
    "/login",
    "/nowhere",
)
"""Of each template one, and the return's with each of its parts."""
_MORE_PAGES = (
    "/returns?state=rejected",
    f"/returns/default/{REFUSED}",
    f"/returns/default/{ON_ITS_WAY}/cancel",
    f"/returns/default/{IN_DOUBT_TOO}/resolve?as=not-created",
    "/returns/pilot/RMA-3001",
    "/returns/pilot/RMA-3002/poll",
    "/accounts/pilot/release",
)
_BROKEN = """() => {
  const broken = [], range = document.createRange()
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const node = walker.currentNode
    if (node.parentElement.closest(".long, pre, details:not([open]), option")) continue
    for (const word of node.data.matchAll(/[^\\s/-]+/g)) {
      range.setStart(node, word.index)
      range.setEnd(node, word.index + word[0].length)
      const boxes = [...range.getClientRects()].filter(box => box.width > 0)
      if (new Set(boxes.map(box => Math.round(box.top))).size > 1) broken.push(word[0])
      else if (boxes.some(box => box.right > innerWidth)) broken.push("cut: " + word[0])
    }
  }
  return broken
}"""
_SIDEWAYS = """() => [document.documentElement, ...document.querySelectorAll(".table")]
  .filter(each => each.scrollWidth > each.clientWidth).map(each => each.getAttribute("aria-label") ?? "page")"""
_AXE = """only => axe.run(only).then(({violations}) => violations.map(
  each => [each.id, ...each.nodes.map(node => node.html)].join(" | ")))"""

_ALL: dict[str, Any] = {}
_ON_COLOURS = {"runOnly": ["color-contrast", "color-contrast-enhanced", "link-in-text-block"]}


@pytest.fixture(scope="module")
def axe() -> Iterator[str]:
    """The program that judges a page; Mozilla's licence, from a package that is MIT's."""
    yield resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


async def _looked_at(page: Any, axe: str, path: str) -> AsyncIterator[str]:
    """What is wrong with a page at 360 px in the dark, and on a desk by day."""
    await page.goto(path)
    await page.evaluate(axe)
    for width, scheme, rules in ((360, "dark", _ALL), (1280, "light", _ON_COLOURS)):
        await page.set_viewport_size({"width": width, "height": 740})
        await page.emulate_media(color_scheme=scheme)
        for each in await _wrong(page, rules):
            yield f"{path} at {width} px: {each}"


async def _wrong(page: Any, rules: dict[str, Any]) -> list[str]:
    return [*await page.evaluate(_AXE, rules), *await page.evaluate(_BROKEN), *await page.evaluate(_SIDEWAYS)]


async def test_on_each_page_axe_finds_nothing_and_no_word_is_broken_or_cut(tab: Tab, axe: str) -> None:
    page = await tab(scripts=True)
    assert [each for path in _PAGES async for each in _looked_at(page, axe, path)] == []


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_on_each_page_at_each_width_axe_finds_nothing_of_any_kind(
    tab: Tab, axe: str, width: int, scheme: str
) -> None:
    page = await tab(width=width, scheme=scheme, scripts=True)
    for path in (*_PAGES, *_MORE_PAGES):
        await page.goto(path)
        await page.evaluate(axe)
        assert await _wrong(page, _ALL) == [], path


async def test_hostile_words_do_nothing_on_any_page_but_be_read(tab: Tab, day: Day) -> None:
    page = await tab(scripts=True)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    here = address_of("default", REFERENCES[-1])
    searched = "/returns?q=%3Cscript%3Edocument.title='it ran'%3C/script%3E" + "y" * 300
    number = "9%3Cb%3E" + "z" * 150
    ways = (f"{here}/{each}" for each in ("retry", "cancel", "poll", "resolve", f"resolve?as=found&number={number}"))
    await page.goto("/accounts/pilot/hold")
    await page.fill("#reason", HOSTILE.replace("\0", ""))
    await page.click("text=Hold it")
    for path in ("/", "/returns", searched, here, *ways, "/accounts", "/accounts/pilot/release"):
        await page.goto(path)
        for fold in await page.query_selector_all("summary"):
            await fold.click()
        assert await page.title() != "it ran", path
        for width in (1280, 360):
            await page.set_viewport_size({"width": width, "height": 740})
            assert await page.evaluate(_SIDEWAYS) == [], path
        assert not {"\u202e", "\0"} & set(await page.inner_text("body")), path
        assert await page.evaluate(
            "[...document.querySelectorAll('bdi')].every(each => getComputedStyle(each).unicodeBidi == 'isolate')"
        )
    await page.goto("/accounts/pilot/release")
    await page.click("text=Release it")
    assert [each for each in said if not each.startswith("Failed to load resource")] == []  # a 400, and an icon


async def test_a_reference_of_any_kind_leads_to_its_page_and_to_those_below_it(tab: Tab, day: Day) -> None:
    page = await tab(scripts=True)
    await page.goto("/returns?state=needs_attention")
    listed = await page.evaluate("[...document.querySelectorAll('td a')].map(each => each.getAttribute('href'))")
    for reference in REFERENCES:
        address = address_of("default", reference)
        assert address in listed
        await page.goto(address)  # by the same rules as a link
        read = " ".join(reference.replace("\u202e", " ").split())
        assert await page.inner_text("h1") == f"Return {read}"
        await page.click("text=Withdraw it")
        assert await page.inner_text("h1") == f"Cancel {read}"
