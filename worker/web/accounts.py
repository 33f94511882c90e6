"""The page of accounts: what each waits for, and what ends that."""

from worker.usecases.accounts import read_standings
from worker.web.page import Answer, Page


async def show_accounts(page: Page) -> Answer:
    """What `returns-worker accounts` says."""
    standings, read_at = await page.ask_lately(read_standings)
    return page.render("accounts.html", standings=standings, now=read_at)
