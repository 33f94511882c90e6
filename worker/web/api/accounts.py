"""Accounts for programs: what each waits for; to hold and to release one."""

from dataclasses import asdict

from worker.store.holds import explain
from worker.usecases.accounts import hold, read_standings, release
from worker.web.api.asked import Hold, Release
from worker.web.api.reading import body_of, person_of
from worker.web.page import Answer, Page


async def list_accounts(page: Page) -> Answer:
    """How each account stands."""
    return page.json({"accounts": [asdict(each) for each in await page.ask(read_standings)]})


async def hold_account(page: Page) -> Answer:
    """What `returns-worker accounts hold` does."""
    name, asked = page.places["account"], body_of(page, Hold)
    state = await page.act(hold, name, person_of(page, asked.reason), asked.lasting, creations=asked.creations)
    return page.json({"account": name, "waits_for": explain(state)})


async def release_account(page: Page) -> Answer:
    """What `returns-worker accounts release` does."""
    body_of(page, Release)
    name = page.places["account"]
    return page.json({"account": name, "waits_for": explain(await page.act(release, name))})
