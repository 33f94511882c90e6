"""The page of news: who is told of changes and what waits for each; and to hold a webhook, and release it."""

import structlog

from worker.domain.by_hand import Person
from worker.usecases.hold_preview import WebhookPreview, preview_webhook, release_webhook_previewed
from worker.usecases.webhooks import count_in_short, count_of, hold, read_standings
from worker.web.guard import May
from worker.web.holding import LONGEST_REASON
from worker.web.page import Answer, Page, Route

log = structlog.get_logger()


def news() -> tuple[Route, ...]:
    """The page of news, and those of hold and release."""
    hold_at, release_at = "/news/{name}/hold", "/news/{name}/release"
    return (
        Route("news", "/news", show_news),
        Route("news_hold", hold_at, show_hold),
        Route("news_hold", hold_at, do_hold, needs=May.ACT, method="POST"),
        Route("news_release", release_at, show_release),
        Route("news_release", release_at, do_release, needs=May.ACT, method="POST"),
    )


async def show_news(page: Page) -> Answer:
    """What `returns-worker webhooks` says."""
    subscribers, read_at = await page.ask_lately(read_standings)
    return page.render("news.html", subscribers=subscribers, count=count_in_short, now=read_at)


async def show_hold(page: Page) -> Answer:
    """What a hold would stop, and the form of it."""
    return _rendered(page, "news_hold.html", await page.ask(preview_webhook, page.places["name"]))


async def do_hold(page: Page) -> Answer:
    """Hold the webhook."""
    name, person = page.places["name"], _person(page)
    await page.act(hold, name, person)
    log_change("held", name, person)
    return page.redirect("/news?done=news_hold")


async def show_release(page: Page) -> Answer:
    """What a release would end and start."""
    return _rendered(page, "news_release.html", await page.ask(preview_webhook, page.places["name"]))


async def do_release(page: Page) -> Answer:
    """Release the webhook, where what holds it is still what was shown."""
    name, person = page.places["name"], _person(page)
    done = await page.act(release_webhook_previewed, name, page.form.get("seen", ""))
    if isinstance(done, WebhookPreview):
        return _rendered(page, "news_release.html", done, changed=True)
    log_change("released", name, person)
    return page.redirect("/news?done=news_release")


def log_change(did: str, name: str, person: Person) -> None:
    """Who did it, as the command logs it: a subscriber has no history of its own."""
    log.info("subscriber_changed", subscriber=name, did=did, by=person.name, reason=person.reason)


def _person(page: Page) -> Person:
    return page.person(page.form.get("reason", "")[:LONGEST_REASON])


def _rendered(page: Page, template: str, seen: WebhookPreview, *, changed: bool = False) -> Answer:
    return page.render(
        template,
        status=409 if changed else 200,
        seen=seen,
        changed=changed,
        waiting=count_of(seen.standing.waiting),
        given=page.form,
        longest_reason=LONGEST_REASON,
        may_act=page.who.is_allowed(May.ACT),
    )
