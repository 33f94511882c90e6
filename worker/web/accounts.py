"""The page of accounts: what each waits for, and what ends that."""

from worker.usecases.accounts import read_standings
from worker.web.page import Answer, Page


async def show_accounts(page: Page) -> Answer:
    """What `returns-worker accounts` says."""
    return page.render("accounts.html", standings=await page.ask(read_standings))
