"""Accounts for programs: what each waits for; to hold and to release one."""

from dataclasses import asdict

from worker.store.holds import explain
from worker.usecases.accounts import hold, read_standings, release
from worker.web.api.asked import Hold, Release
from worker.web.api.reading import body_of
from worker.web.holding import log_release
from worker.web.page import Answer, Page


async def list_accounts(page: Page) -> Answer:
    """How each account stands."""
    standings, _ = await page.ask_lately(read_standings)
    return page.json({"accounts": [asdict(each) for each in standings]})


async def hold_account(page: Page) -> Answer:
    """What `returns-worker accounts hold` does."""
    name, asked = page.places["account"], body_of(page, Hold)
    state = await page.act(hold, name, page.person(asked.reason), asked.lasting, creations=asked.creations)
    return page.json({"account": name, "waits_for": explain(state)})


async def release_account(page: Page) -> Answer:
    """What `returns-worker accounts release` does."""
    body_of(page, Release)
    name = page.places["account"]
    state = await page.act(release, name)
    log_release(page, name)
    return page.json({"account": name, "waits_for": explain(state)})
