"""Every page: where it is, who may see it, and what answers."""

from importlib import resources

from worker.web.accounts import show_accounts
from worker.web.acting import acting
from worker.web.api import openapi as api
from worker.web.holding import holding
from worker.web.login import log_in, log_out, show_login
from worker.web.news import news
from worker.web.one_return import download_label, show_one, view_label
from worker.web.overview import show_overview
from worker.web.page import Answer, Page, Route
from worker.web.returns import show_returns

_STYLE = resources.files("worker.web").joinpath("style.css").read_bytes()
_LABEL = "/returns/{account}/{reference}/labels/{position}"


async def style(_: Page) -> Answer:
    """The stylesheet."""
    return Answer(_STYLE, "text/css; charset=utf-8")


ROUTES = (
    Route("overview", "/", show_overview),
    Route("returns", "/returns", show_returns),
    Route("return", "/returns/{account}/{reference}", show_one),
    Route("label", _LABEL, download_label, is_large=True),
    Route("label", f"{_LABEL}/view", view_label, is_large=True),
    Route("accounts", "/accounts", show_accounts),
    *acting(),
    *holding(),
    *news(),
    Route("login", "/login", show_login, needs=None),
    Route("login", "/login", log_in, needs=None, method="POST"),
    Route("logout", "/logout", log_out, needs=None, method="POST"),
    Route("style", "/style.css", style, needs=None),
    *api.ROUTES,
)
"""The first whose path and method fit answers."""
