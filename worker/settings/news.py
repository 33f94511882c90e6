"""`[news.NAME]`: who is told of changes, and how."""

from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from worker.domain.news import EVENTS, is_pattern
from worker.settings.durations import PositiveDuration
from worker.settings.polling import reject_bool
from worker.settings.secrets import OptionalPath, check_signing_secrets, none_if_empty
from worker.settings.table import MayHoldPassword, Table
from worker.settings.urls import check_endpoint


def _known_event(text: str) -> str:
    if not is_pattern(text):
        close = get_close_matches(text.lower(), EVENTS, n=1)
        hint = f"; did you mean {close[0]}? It" if close else ": it"
        known = f"is one of {', '.join(EVENTS)}, or the beginning of some with a * behind"
        raise ValueError(f"names no event{hint} {known}")
    return text


def _check_secret(secret: SecretStr) -> SecretStr:
    return SecretStr(check_signing_secrets(secret.get_secret_value()))


class NewsSettings(Table):
    """`[news.<name>]`: one subscriber, who is told of changes by rows of `return_event` or by a webhook."""

    kind: Literal["table", "webhook"] = "table"
    # Those it is told of, such as "state.completed" or "state.*"; none named: all.
    events: tuple[Annotated[str, AfterValidator(_known_event)], ...] = ()
    accounts: tuple[str, ...] = ()  # those whose returns it is told of; none named: all
    keep: PositiveDuration = timedelta(days=14)  # what was neither read nor sent by then is dropped
    notify: bool = False  # of a table: whether each commit with events sends `returns_news` (PostgreSQL)
    # Of a webhook: where to, https alone unless `private`.
    url: Annotated[str, AfterValidator(check_endpoint), MayHoldPassword()] = ""
    # Its secrets, "whsec_..." each, separated by white space: all of them sign, the first alone outside a rotation.
    secret: Annotated[Annotated[SecretStr, AfterValidator(_check_secret)] | None, BeforeValidator(none_if_empty)] = None
    secret_file: OptionalPath = None  # used when `secret` is not given
    private: bool = False  # whether it may be http, and at an address that is not public
    timeout: PositiveDuration = timedelta(seconds=15)  # for one request, all in all
    # Returns of which it is told at the same time.
    max_in_flight: Annotated[int, Field(ge=1, le=100), BeforeValidator(reject_bool)] = 4
    give_up_after: PositiveDuration = timedelta(hours=72)  # since an event was first sent
