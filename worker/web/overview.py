"""The first page: today at one glance."""

from collections.abc import Sequence

from worker.store.holds import NOTHING
from worker.usecases.today import AccountToday, read_today
from worker.usecases.webhooks import count_in_short
from worker.web.page import Answer, Page
from worker.web.words import MEANING, WAYS

_MOST_ACCOUNTS = 50  # more rows would keep the loop waiting while they are rendered


async def show_overview(page: Page) -> Answer:
    """What there is to do by account, what needs a person, what has happened today, and which workers live."""
    today, read_at = await page.ask_lately(read_today)
    shown = first_of(today.accounts)
    left_out = len(today.accounts) - len(shown)
    return page.render(
        "overview.html",
        now=read_at,
        today=today,
        accounts=shown,
        left_out=left_out,
        count=count_in_short,
        meaning=MEANING,
        ways=WAYS,
    )


def first_of(accounts: Sequence[AccountToday], most: int = _MOST_ACCOUNTS) -> Sequence[AccountToday]:
    """All of them, or where these are too many those that wait, need a person or run behind, in this order."""

    def calm(each: AccountToday) -> tuple[bool, bool, float]:
        return each.standing.waits_for == NOTHING, not each.needs_attention, -each.behind.total_seconds()

    return accounts if len(accounts) <= most else sorted(accounts, key=calm)[:most]
