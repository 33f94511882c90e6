"""What programs look at of the whole: today, and who is told of changes; to hold a webhook, and to release it."""

from dataclasses import asdict

from worker.usecases.for_programs import told_today
from worker.usecases.today import read_today
from worker.usecases.webhooks import explain, hold, read_standings, release
from worker.web.api.asked import Why
from worker.web.api.reading import body_of
from worker.web.news import log_change
from worker.web.page import Answer, Page


async def show_today(page: Page) -> Answer:
    """What the first page shows."""
    today, _ = await page.ask_lately(read_today)
    return page.json(told_today(today))


async def list_news(page: Page) -> Answer:
    """How each subscriber stands."""
    standings, _ = await page.ask_lately(read_standings)
    return page.json({"subscribers": [asdict(each) for each in standings]})


async def hold_webhook(page: Page) -> Answer:
    """What `returns-worker webhooks hold` does."""
    name, person = page.places["name"], page.person(body_of(page, Why).reason)
    state = await page.act(hold, name, person)
    log_change("held", name, person)
    return page.json({"subscriber": name, "waits_for": explain(state)})


async def release_webhook(page: Page) -> Answer:
    """What `returns-worker webhooks release` does."""
    name, person = page.places["name"], page.person(body_of(page, Why).reason)
    state = await page.act(release, name)
    log_change("released", name, person)
    return page.json({"subscriber": name, "waits_for": explain(state)})
