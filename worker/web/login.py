"""Logging in by a token, once, and out."""

import re
from collections.abc import Mapping
from dataclasses import replace

from worker.web.page import Answer, Page

_OF_OURS = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")  # what a browser takes for another site's, it is not


async def show_login(page: Page) -> Answer:
    """The form; where no token is configured, that there is nothing to log in for."""
    return page.render("login.html", wrong=False, to=_to(page.query))


async def log_in(page: Page) -> Answer:
    """Take a token for a cookie."""
    name, to = page.rules.whose(page.form.get("token", "").strip()), _to(page.form)
    if name is None:
        return replace(page.render("login.html", wrong=True, to=to, status=401), is_slow=True)
    return page.redirect(to, page.cookie(name))


async def log_out(page: Page) -> Answer:
    """Take the cookie away."""
    return page.redirect("/login", cookie="")


def _to(given: Mapping[str, str]) -> str:
    to = given.get("to", "/")
    return to if _OF_OURS.fullmatch(to) else "/"
