"""What a person may do about an account: hold it, or its creations alone, and release it."""

from datetime import timedelta

import structlog

from worker.settings import parse_positive_duration
from worker.usecases.accounts import hold
from worker.usecases.hold_preview import HoldPreview, preview_hold, release_previewed
from worker.web.guard import May
from worker.web.page import Answer, Page, Route

log = structlog.get_logger()

LONGEST_REASON = 400
"""Characters: with who it is, a reason has to fit into the message of a hold."""

_WHOLE, _CREATIONS = "whole", "creations"


def holding() -> tuple[Route, ...]:
    """The pages of hold and release."""
    hold_at, release_at = "/accounts/{account}/hold", "/accounts/{account}/release"
    return (
        Route("hold", hold_at, show_hold),
        Route("hold", hold_at, do_hold, needs=May.ACT, method="POST"),
        Route("release", release_at, show_release),
        Route("release", release_at, do_release, needs=May.ACT, method="POST"),
    )


async def show_hold(page: Page) -> Answer:
    """What a hold would stop, and the form of it."""
    return _form(page, await page.ask(preview_hold, page.places["account"]))


async def do_hold(page: Page) -> Answer:
    """Hold the account, or its creations, as the form says."""
    name, form = page.places["account"], page.form
    try:
        creations, lasting = form.get("what") == _CREATIONS, _lasting(form.get("lasting", "").strip())
        if form.get("what") not in (_WHOLE, _CREATIONS):
            raise ValueError("Say what is to wait.")
        if creations and lasting is not None:
            raise ValueError("A time is for the whole account: its creations are held until they are released.")
    except ValueError as error:
        return _form(page, await page.act(preview_hold, name), str(error))
    person = page.person(form.get("reason", "")[:LONGEST_REASON])
    await page.act(hold, name, person, lasting, creations=creations)
    return page.redirect("/accounts?done=hold")


async def show_release(page: Page) -> Answer:
    """What a release would end and start."""
    return _release(page, await page.ask(preview_hold, page.places["account"]))


async def do_release(page: Page) -> Answer:
    """Release the account, where what holds it is still what was shown."""
    name = page.places["account"]
    done = await page.act(release_previewed, name, page.form.get("seen", ""))
    if isinstance(done, HoldPreview):
        return _release(page, done, changed=True)
    log_release(page, name)
    return page.redirect("/accounts?done=release")


def log_release(page: Page, account: str) -> None:
    """Who did it: an account has no history of its own."""
    log.info("account_released", account=account, reason=page.person().signed("released"))


def _lasting(text: str) -> timedelta | None:
    if not text:
        return None
    try:
        return parse_positive_duration(text)
    except ValueError as error:
        raise ValueError(f"How long: {error}. Write 30m, 2h or 1d, or nothing.") from None


def _form(page: Page, seen: HoldPreview, wrong: str | None = None) -> Answer:
    return page.render(
        "hold.html",
        status=400 if wrong else 200,
        seen=seen,
        wrong=wrong,
        given=page.form,
        longest_reason=LONGEST_REASON,
        may_act=page.who.is_allowed(May.ACT),
    )


def _release(page: Page, seen: HoldPreview, *, changed: bool = False) -> Answer:
    return page.render(
        "release.html",
        status=409 if changed else 200,
        seen=seen,
        changed=changed,
        may_act=page.who.is_allowed(May.ACT),
    )
