"""What the settings of a subscriber must be to each other, to its kind and to the worker's."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from worker.domain.public_addresses import is_numeric, is_public
from worker.settings.durations import format_duration
from worker.settings.model import Settings
from worker.settings.news import NewsSettings
from worker.settings.problems import IsBad, Problems
from worker.settings.secrets import KeyUnavailableError, SecretSource

_OF_WEBHOOKS = ("url", "secret", "secret_file", "private", "timeout", "max_in_flight", "give_up_after")
_UNLESS_PRIVATE = "; `private = true` allows it, for an endpoint within your own network"


def secret_source(
    settings: Settings,
    subscriber: str,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SecretSource:
    """Make the source of what a configured webhook signs by; otherwise as `key_source`."""
    configured = settings.news[subscriber]
    directory = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    return SecretSource(
        subscriber,
        configured.secret.get_secret_value() if configured.secret else None,
        configured.secret_file,
        Path(directory) if directory else None,
        clock,
    )


def news_problems(settings: Settings, is_bad: IsBad) -> Problems:
    """What is wrong with each subscriber, but for its secret; what was bad by itself is left out."""
    for name, news in settings.news.items():
        place = ("news", name)
        problems = list(_of_table(settings, news) if news.kind == "table" else _of_webhook(settings, news, is_bad))
        if not is_bad(("accounts",)):
            unknown = [account for account in news.accounts if account not in settings.accounts]
            if unknown:
                problems.append(("accounts", f"no account is configured by that name: {', '.join(unknown)}"))
        if not is_bad((*place, "kind")):
            yield from (((*place, key), text) for key, text in problems if not is_bad((*place, key)))


def missing_secrets(settings: Settings, environ: Mapping[str, str], is_bad: IsBad) -> Problems:
    """Which webhooks have nothing to sign by."""
    for name, news in settings.news.items():
        places = [("news", name, "secret"), ("news", name, "secret_file")]
        if news.kind == "table" or is_bad(("news", name, "kind")) or any(is_bad(place) for place in places):
            continue
        try:
            secret_source(settings, name, environ).current()
        except KeyUnavailableError as error:
            yield places[1] if news.secret_file and not news.secret else places[0], str(error)


def _of_table(settings: Settings, news: NewsSettings) -> Iterator[tuple[str, str]]:
    for key in _OF_WEBHOOKS:
        if getattr(news, key) != NewsSettings.model_fields[key].default:
            yield key, 'has an effect on webhooks only, and this subscriber\'s kind is "table": remove it'
    if news.notify and settings.database.kind == "sqlite":
        yield "notify", "only PostgreSQL has NOTIFY, and database.url is a SQLite file: remove it"


def _of_webhook(settings: Settings, news: NewsSettings, is_bad: IsBad) -> Iterator[tuple[str, str]]:
    parts = urlsplit(news.url)
    if not news.url:
        yield "url", "a webhook needs one: where to send to, https://..."
    elif not news.private:
        host = parts.hostname or ""
        if parts.scheme != "https":
            yield "url", f"must be https: what is sent can be read on its way{_UNLESS_PRIVATE}"
        if is_numeric(host) and not is_public(host):
            yield "url", f"{host[:100]} is not a public address{_UNLESS_PRIVATE}"
    if news.notify:
        yield "notify", 'has an effect on tables only, and this subscriber\'s kind is "webhook": remove it'
    if news.timeout >= settings.worker.grace and not is_bad(("worker", "grace")):
        grace = format_duration(settings.worker.grace)
        yield "timeout", f"{format_duration(news.timeout)} is too long: it must be less than worker.grace, {grace}"
