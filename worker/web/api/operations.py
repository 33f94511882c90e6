"""Every operation of the API: where it is, what it takes and answers; its description is made of this table."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from worker.web.api import asked
from worker.web.api.accounts import hold_account, list_accounts, release_account
from worker.web.api.acting import cancel_return, poll_return, resolve_return, retry_return
from worker.web.api.looking import list_returns, show_one
from worker.web.api.overview import hold_webhook, list_news, release_webhook, show_today
from worker.web.guard import May
from worker.web.one_return import download_label
from worker.web.page import Handler, Route
from worker.web.problems import Kind


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `answers`: the names of the models of which an answer is one; none: it is a file.

    `problems`: what can go wrong besides what can with every one.
    """

    route: Route
    summary: str
    answers: Sequence[str]
    asks: type[BaseModel] | None = None  # of a GET its query, of a POST its body
    problems: Sequence[Kind] = ()
    description: str = ""


_RETURN = "/api/returns/{account}/{reference}"
_ACCOUNT = "/api/accounts/{account}"
_NEWS = "/api/news/{name}"
_PREVIEWED = "With `dry_run` it says what would happen now, and nothing is changed."


def _looks(name: str, path: str, handler: Handler) -> Route:
    return Route(f"api_{name}", path, handler)


def _acts(name: str, path: str, handler: Handler) -> Route:
    """Below a path, by the last word of its name."""
    return Route(f"api_{name}", f"{path}/{name.rpartition('_')[2]}", handler, needs=May.ACT, method="POST")


_OF_A_RETURN = (Kind.NO_SUCH_RETURN, Kind.REFUSED)
_OF_A_DECISION = (*_OF_A_RETURN, Kind.HELD_BY_WORKER)

OPERATIONS = (
    Operation(
        _looks("today", "/api/today", show_today),
        "Today at one glance",
        ("Today",),
        description="What there is to do and what keeps it waiting, what needs a person, what has happened so far.",
    ),
    Operation(
        _looks("returns", "/api/returns", list_returns),
        "Returns, the newest first",
        ("Returns", "Findings"),
        asked.ReturnsAsked,
        description="With `q` it looks for a text, as `returns-worker find` does, and answers with `Findings`; without"
        " it, it lists as `returns-worker list` does, and answers with `Returns`. As long as `next` is not null there"
        " may be more: GET that.",
    ),
    Operation(
        _looks("return", _RETURN, show_one),
        "One return with all that belongs to it",
        ("Return",),
        problems=_OF_A_RETURN,
        description="An archived one is shown as it was then.",
    ),
    Operation(
        Route("api_label", f"{_RETURN}/labels/{{position}}", download_label, is_large=True),
        "The file of a label",
        (),
        problems=(*_OF_A_RETURN, Kind.NO_SUCH_LABEL, Kind.LABEL_STORE_AWAY),
        description="As it was stored: `sha256` of the return's `labels` is that of these bytes.",
    ),
    Operation(
        _acts("retry", _RETURN, retry_return),
        "Do again what was rejected, or failed too often",
        ("Done",),
        asked.Act,
        _OF_A_DECISION,
        f"A creation in doubt is only looked up. {_PREVIEWED}",
    ),
    Operation(
        _acts("resolve", _RETURN, resolve_return),
        "Say what became of a creation in doubt",
        ("Done",),
        asked.Resolve,
        _OF_A_DECISION,
        f"Look for it at the carrier first. {_PREVIEWED}",
    ),
    Operation(
        _acts("cancel", _RETURN, cancel_return),
        "Withdraw a return",
        ("Done",),
        asked.Act,
        _OF_A_DECISION,
        f"At the carrier where that takes it, else it is followed no longer. {_PREVIEWED}",
    ),
    Operation(
        _acts("poll", _RETURN, poll_return),
        "Ask the carrier now where a return is",
        ("Done",),
        asked.Act,
        (*_OF_A_DECISION, Kind.NO_ROOM, Kind.NO_ANSWER),
        "Out of turn, and within the pace of the account. With `dry_run` nothing is asked: it says whether that would"
        " be refused.",
    ),
    Operation(
        _looks("accounts", "/api/accounts", list_accounts),
        "What there is to do on each account, and what it waits for",
        ("Accounts",),
    ),
    Operation(
        _acts("hold", _ACCOUNT, hold_account),
        "Ask nothing, or only create nothing, on an account",
        ("AccountWaits",),
        asked.Hold,
        (Kind.NO_SUCH_ACCOUNT,),
        "In any worker; calls under way end as they do.",
    ),
    Operation(
        _acts("release", _ACCOUNT, release_account),
        "End every hold of an account, and close its circuits",
        ("AccountWaits",),
        asked.Release,
        (Kind.NO_SUCH_ACCOUNT,),
        "What is still wrong shows at the next call.",
    ),
    Operation(
        _looks("news", "/api/news", list_news),
        "Who is told of changes, and what waits for each",
        ("News",),
        description="Tables and webhooks, as `returns-worker webhooks --json` has them.",
    ),
    Operation(
        _acts("news_hold", _NEWS, hold_webhook),
        "Send nothing to a webhook, from any worker, until it is released",
        ("SubscriberWaits",),
        asked.Why,
        (Kind.NO_SUCH_SUBSCRIBER, Kind.REFUSED),
        "Its events wait; what is under way ends as it does.",
    ),
    Operation(
        _acts("news_release", _NEWS, release_webhook),
        "End whatever keeps a webhook waiting",
        ("SubscriberWaits",),
        asked.Why,
        (Kind.NO_SUCH_SUBSCRIBER, Kind.REFUSED),
        "What waits is tried now, beginning with one event.",
    ),
)
