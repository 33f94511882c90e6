"""What several settings must be to each other, and what a command needs of them."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from worker.domain.clocks import lease_margin
from worker.domain.payload import receiver_problems
from worker.domain.tracking import POLLED
from worker.dsn import BadUrl, PostgresqlUrl, check_files, parse_url
from worker.settings.durations import format_duration
from worker.settings.model import AccountSettings, Settings
from worker.settings.news_checks import missing_secrets, news_problems
from worker.settings.problems import IsBad, Keys, Problems
from worker.settings.secrets import KeySource, KeyUnavailableError, SecretFile, check_token

_OLDEST_SQLITE = (3, 35, 0)  # the first with RETURNING: https://sqlite.org/releaselog/3_35_0.html

_NO_ACCOUNT = (
    "no account is configured; at least one [accounts.NAME] is needed, in the file that --config or"
    " RETURNS_WORKER_CONFIG names, else in returns-worker.toml in this folder"
)


class AtCarrier(Protocol):
    """What a carrier says of the settings of its accounts."""

    @property
    def own_settings(self) -> frozenset[str]:
        """Those that not every carrier has, and this one does."""

    @property
    def receiver_problems(self) -> Callable[[Mapping[str, Any]], Sequence[str]]:
        """What is wrong with a receiver, a line `receiver.…: …` each."""


NO_CARRIERS: Mapping[str, AtCarrier] = MappingProxyType({})


def key_source(
    settings: Settings,
    account: str,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> KeySource:
    """Make the key source of a configured account; `KeyError` when there is none; no `environ`: this process'."""
    configured = settings.accounts[account]
    directory = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    return KeySource(
        account,
        configured.api_key.get_secret_value() if configured.api_key else None,
        configured.api_key_file,
        Path(directory) if directory else None,
        clock,
    )


def token_file(settings: Settings, name: str, environ: Mapping[str, str] | None = None) -> SecretFile | None:
    """What holds a configured token: its file, else the systemd credential `http.tokens.<name>`; None: nothing does."""
    directory = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    file = settings.http.tokens[name].file or (Path(directory, f"http.tokens.{name}") if directory else None)
    return SecretFile(file, check_token) if file is not None else None


def cross_problems(
    settings: Settings, environ: Mapping[str, str], is_bad: IsBad, carriers: Mapping[str, AtCarrier]
) -> Problems:
    """Check settings against each other, those of accounts by their carriers, and what completes the database's URL.

    What was bad by itself is left out.
    """
    if settings.database.kind == "sqlite" and sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        oldest = ".".join(map(str, _OLDEST_SQLITE))
        yield (
            ("database", "url"),
            f"this Python comes with SQLite {sqlite3.sqlite_version}, which knows no RETURNING: {oldest} or newer is"
            " needed; use another Python (python3 -c 'import sqlite3; print(sqlite3.sqlite_version)'), or PostgreSQL",
        )
    if not is_bad(("database", "url")):
        try:
            url = parse_url(settings.database.url, environ)
            if isinstance(url, PostgresqlUrl):
                check_files(url)
        except BadUrl as error:
            yield ("database", "url"), str(error)
    yield from _times(settings, is_bad)
    yield from _ladders(settings, is_bad)
    for name, account in settings.accounts.items():
        at = None if is_bad(("accounts", name, "carrier")) else carriers.get(account.carrier)
        problems = list(_of_another_carrier(account, at, carriers)) if at is not None else []
        if account.receiver is not None and (at is None or "receiver" in at.own_settings):
            check = receiver_problems if at is None else at.receiver_problems
            problems += [(place, text) for place, _, text in (line.partition(": ") for line in check(account.receiver))]
        yield from ((("accounts", name, *place.split(".")), text) for place, text in problems)
    if settings.database.schema is not None and settings.database.kind == "sqlite" and not is_bad(("database", "url")):
        yield ("database", "schema"), "only PostgreSQL has schemas, and database.url is a SQLite file: remove it"
    yield from news_problems(settings, is_bad)
    if settings.http.public_url is not None and not settings.http.tokens and not is_bad(("http",)):
        yield (
            ("http", "public_url"),
            "whoever reaches that address would see the pages: configure a token, [http.tokens.NAME], or remove it",
        )
    for name, table in (("retry", settings.retry), ("circuit", settings.circuit)):
        if table.cap < table.first and not _cadence_is_bad((name,), is_bad):
            yield (name, "cap"), _cap_below_first(table.cap, table.first)


def missing_parts(settings: Settings, environ: Mapping[str, str], is_bad: IsBad, *, keys: bool) -> Problems:
    """Check that there is an account, that its files can be read, and with `keys` each key and each token of a page."""
    if not settings.accounts and not is_bad(("accounts",)):
        yield ("accounts",), _NO_ACCOUNT
    for name, account in settings.accounts.items():
        if account.ca_file is not None:
            try:
                account.ca_file.open("rb").close()
            except OSError as error:
                yield ("accounts", name, "ca_file"), f"{account.ca_file}: cannot be read: {error.strerror}"
        places = [("accounts", name, "api_key"), ("accounts", name, "api_key_file")]
        if not keys or any(is_bad(place) for place in places):
            continue
        try:
            key_source(settings, name, environ).current()
        except KeyUnavailableError as error:
            yield places[1] if account.api_key_file and not account.api_key else places[0], str(error)
    if keys:
        yield from missing_secrets(settings, environ, is_bad)
        yield from _tokens(settings, environ, is_bad)


def _tokens(settings: Settings, environ: Mapping[str, str], is_bad: IsBad) -> Problems:
    """Report each token that cannot be used; of two that are the same, nothing would tell who came."""
    owners: dict[str, str] = {}
    for name in settings.http.tokens:
        place = ("http", "tokens", name, "file")
        if is_bad(place):
            continue
        file = token_file(settings, name, environ)
        token = file.current() if file is not None else None
        if file is None:
            yield place, f"no token: set it, or the systemd credential http.tokens.{name}"
        elif token is None:
            yield place, str(file.problem)
        elif token in owners:
            yield place, f"{file.path}: is the token of {owners[token]} too; each needs its own"
        else:
            owners[token] = name


def _times(settings: Settings, is_bad: IsBad) -> Problems:
    accounts = settings.accounts.items()
    timeouts = [(account.timeout, name) for name, account in accounts if not is_bad(("accounts", name, "timeout"))]
    if not timeouts:
        return
    longest, slowest = max(timeouts)
    named = f"accounts.{slowest}.timeout ({format_duration(longest)})"
    worker = settings.worker
    if worker.lease - lease_margin(worker.lease) < longest and not is_bad(("worker", "lease")):
        needed = format_duration(min(longest * 5 / 4, longest + timedelta(seconds=5)))
        yield (
            ("worker", "lease"),
            f"{format_duration(worker.lease)} is too short: at least {needed}, which is {named} plus a margin "
            "(a fifth of the lease, at most 5s)",
        )
    if worker.grace <= longest and not is_bad(("worker", "grace")):
        yield ("worker", "grace"), f"{format_duration(worker.grace)} is too short: longer than {named}"


def _ladders(settings: Settings, is_bad: IsBad) -> Problems:
    """Report each pair of cap and first once per account, and not again for accounts that only inherit it."""
    general: set[tuple[timedelta, timedelta]] = set()
    every: Keys = ()
    for owner in [every, *(("accounts", name) for name in settings.accounts)]:
        seen = set(general)
        tables = settings.accounts[owner[1]].polling.by_status if owner else settings.polling.by_status
        for status in POLLED:
            ladder = settings.polling_for(owner[1] if owner else "", status)
            layers = {(*start, "polling", *end) for start in (every, owner) for end in ((), ("by_status", status))}
            pair = (ladder.cap, ladder.first)
            wrong = ladder.cap < ladder.first and not any(_cadence_is_bad(layer, is_bad) for layer in layers)
            if wrong and pair not in seen:
                seen.add(pair)
                place = (*owner, "polling", *(("by_status", status) if status in tables else ()), "cap")
                yield place, f"{_cap_below_first(*pair)} (for the status {status})"
        if not owner:
            general = seen


def _of_another_carrier(
    account: AccountSettings, at: AtCarrier, carriers: Mapping[str, AtCarrier]
) -> Iterator[tuple[str, str]]:
    """What would have no effect; a default has none anywhere, and stands in what `show` writes."""
    for key, field in AccountSettings.model_fields.items():
        owners = [name for name, each in carriers.items() if key in each.own_settings]
        if owners and key not in at.own_settings and getattr(account, key) != field.default:
            only = f"has an effect at {' and '.join(owners)} only"
            yield key, f"{only}, and this account's carrier is {account.carrier}: remove it"


def _cadence_is_bad(table: Keys, is_bad: IsBad) -> bool:
    return is_bad((*table, "first")) or is_bad((*table, "cap"))


def _cap_below_first(cap: timedelta, first: timedelta) -> str:
    return f"{format_duration(cap)} is less than first, {format_duration(first)}; it must be at least that"
