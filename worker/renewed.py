"""Secrets that may be replaced while a worker runs; the log learns each new one before it is used."""

from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from worker.carriers.port import NotSent
from worker.domain.masking import forms_of_key
from worker.dsn import secrets_of_url
from worker.settings import DatabaseSettings, KeySource, KeyUnavailableError, SecretSource, UrlSource
from worker.telemetry.logs import Redactor

log = structlog.get_logger()


def renewed_key(key: KeySource, redactor: Redactor) -> Callable[[], str]:
    """Give the account's key as it is now; it raises `NotSent` where there is none."""
    known = ""

    def current() -> str:
        nonlocal known
        try:
            value = key.current()
        except KeyUnavailableError as error:  # there never was a key: nothing can have been sent
            raise NotSent(f"no key: {error}") from error
        if value != known:
            redactor.add(*forms_of_key(value))
            known = value
        return value

    return current


def renewed_secrets(source: SecretSource, redactor: Redactor) -> Callable[[], Sequence[bytes]]:
    """Give the keys that a webhook's requests are signed by, as they are now; none where they cannot be read."""
    known, problem = "", None

    def current() -> Sequence[bytes]:
        nonlocal known, problem
        keys: Sequence[bytes] = ()
        with suppress(KeyUnavailableError):  # its problem says so
            text, keys = source.text(), source.current()
            if text != known:
                redactor.add(*forms_of_key(text))
                known = text
        if source.problem not in (problem, None):
            hint = "the last good one stays in use" if keys else "nothing is sent before it can be read"
            log.warning("webhook_secret_unreadable", subscriber=source.subscriber, problem=source.problem, hint=hint)
        problem = source.problem
        return keys

    return current


def renewed_url(
    settings: DatabaseSettings, redactor: Redactor, unreadable: Callable[[bool], object]
) -> Callable[[], str]:
    """Give the database's URL as it is now, masked in the log before it is used.

    `unreadable` is told each time whether its file cannot be read; the last good URL stays in use then.
    """
    source, known, problem = UrlSource(settings), settings.url, None

    def current() -> str:
        nonlocal known, problem
        url = source.current()
        if url != known:
            redactor.add(*secrets_of_url(url))
            log.info("database_url_changed", hint="connections that are made from now on use it")
        if source.problem not in (problem, None):
            log.warning("database_url_unreadable", problem=source.problem, hint="the last good one stays in use")
        known, problem = url, source.problem
        unreadable(problem is not None)
        return url

    return current
