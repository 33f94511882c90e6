"""The first page: today at one glance."""

from worker.usecases.today import read_today
from worker.web.page import Answer, Page
from worker.web.words import MEANING, WAYS


async def show_overview(page: Page) -> Answer:
    """What there is to do by account, what needs a person, what has happened today, and which workers live."""
    return page.render("overview.html", today=await page.ask(read_today), meaning=MEANING, ways=WAYS)
