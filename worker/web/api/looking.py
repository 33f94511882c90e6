"""What programs look at: returns, and one return."""

from typing import Any
from urllib.parse import urlencode

from worker.settings import Settings
from worker.store.database import Database
from worker.usecases.browse import Wanted, browse, browse_found
from worker.usecases.for_programs import found_returns, listed, shown_return
from worker.usecases.show import show_to_person
from worker.web.api.asked import ReturnsAsked
from worker.web.api.reading import query_of
from worker.web.page import Answer, Page

_MOST_LINES = 500  # of a history: with all that may be kept of the answers 4 MB, written in some 40 ms


async def list_returns(page: Page) -> Answer:
    """Returns by filters, or what a text finds."""
    asked = query_of(page, ReturnsAsked)
    return page.json(await page.ask(_list if asked.q is None else _find, asked))


async def _list(settings: Settings, database: Database, asked: ReturnsAsked) -> dict[str, Any]:
    found = await browse(settings, database, _wanted(asked))
    return {"returns": [listed(order) for order in found.orders], "next": _next(asked, found.go_on_before)}


async def _find(settings: Settings, database: Database, asked: ReturnsAsked) -> dict[str, Any]:
    findings, _ = await browse_found(settings, database, asked.q or "", _wanted(asked))
    return found_returns(findings) | {"next": _next(asked, findings.go_on_before)}


def _wanted(asked: ReturnsAsked) -> Wanted:
    return Wanted(asked.state or "", asked.account or "", asked.error_code or "", asked.before, asked.limit)


def _next(asked: ReturnsAsked, before: int | None) -> str | None:
    if before is None:
        return None
    same = asked.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    return f"/api/returns?{urlencode(same | {'before': before})}"


async def show_one(page: Page) -> Answer:
    """One return with all that belongs to it."""
    reference, account = page.places["reference"], page.places["account"]
    return page.json(shown_return(await page.ask(show_to_person, reference, account, _MOST_LINES)))
