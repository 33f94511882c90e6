"""The settings in force as TOML text, secrets masked."""

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from worker.domain.masking import MASK
from worker.domain.tracking import POLLED
from worker.settings.durations import format_duration
from worker.settings.model import AccountSettings, Settings
from worker.settings.polling import PollingOverride
from worker.settings.problems import toml_key, toml_text
from worker.settings.table import Table


class _Note(str):
    """What is said in a comment about a setting that has no value of its own."""

    __slots__ = ()


def show(
    settings: Settings,
    by_carrier: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    environ: Mapping[str, str] | None = None,
) -> str:
    """Write the settings in force as valid TOML; every secret is `********`, unset ones are comments.

    `by_carrier`: for each account the settings that its carrier fills up. `environ` (else this process') tells whether
    there are systemd credentials. Comments say where a key comes from, and what `polling` comes to.
    """
    environ = os.environ if environ is None else environ
    values = _values(settings)
    for name, account in settings.accounts.items():
        shown = values["accounts"][name]
        shown |= {key: _plain(value) for key, value in by_carrier.get(name, {}).items()}
        shown |= _key_notes(name, account, environ)
        shown |= _cadence(settings, name)
    for name, token in settings.http.tokens.items():
        if token.file is None and environ.get("CREDENTIALS_DIRECTORY"):
            values["http"]["tokens"][name]["file"] = _Note(f"the systemd credential http.tokens.{name}")
    if settings.database.wake and not settings.database.can_wake:
        values["database"]["wake"] = _Note("without effect behind a transaction-mode pooler")
    return "\n".join(_table("", values)).strip() + "\n"


def _key_notes(name: str, account: AccountSettings, environ: Mapping[str, str]) -> Iterator[tuple[str, _Note]]:
    """Where the key comes from when it is no value; `KeySource` has the order."""
    if account.api_key is not None:
        if account.api_key_file is not None:
            yield "api_key_file", _Note("not read, since api_key is set")
    elif account.api_key_file is not None:
        yield "api_key", _Note("from api_key_file")
    elif environ.get("CREDENTIALS_DIRECTORY"):
        yield "api_key", _Note(f"from the systemd credential {name}.api_key")


def _cadence(settings: Settings, account: str) -> Iterator[tuple[str, _Note]]:
    """What the layers of `polling` come to for an account; statuses that are polled alike on one line."""
    alike: dict[str, list[str]] = {}
    for status in POLLED:
        values = settings.polling_values(account, status)
        keys = [f"{name} = {_value(values[name])}" for name in PollingOverride.model_fields]
        stay = f"; expired after {format_duration(values['max_stay'])} in it" if values["max_stay"] else ""
        alike.setdefault(", ".join(keys) + stay, []).append(status)
    for text, statuses in alike.items():
        yield f"polling of {', '.join(statuses)}", _Note(text)


def _values(table: Table) -> dict[str, Any]:
    values = table.shown()
    if isinstance(table, PollingOverride):  # an unset override is not a setting: the next layer decides
        values = {name: value for name, value in values.items() if value is not None}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Table):
        return _values(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return value


def _table(path: str, values: Mapping[str, Any]) -> Iterator[str]:
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    if path and len(tables) < len(values):
        yield f"\n[{path}]"
    for key, value in values.items():
        if value is None or isinstance(value, _Note):
            yield f"# {key}: {value or 'not set'}"
        elif key not in tables:
            yield f"{toml_key(key)} = {_value(value)}"
    for key, inner in tables.items():
        yield from _table(f"{path}.{toml_key(key)}" if path else toml_key(key), inner)


def _value(value: Any) -> str:
    if isinstance(value, SecretStr):
        return toml_text(MASK)
    if isinstance(value, timedelta):
        return toml_text(format_duration(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(inner) for inner in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_key(str(key))} = {_value(inner)}" for key, inner in value.items()) + "}"
    return toml_text(str(value))
