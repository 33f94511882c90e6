"""The settings in force as TOML text, secrets masked."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from worker.settings.durations import format_duration
from worker.settings.model import Settings
from worker.settings.polling import PollingOverride
from worker.settings.table import Table
from worker.settings.urls import MASK


def show(settings: Settings) -> str:
    """Write the settings in force as valid TOML; every secret is `********`, unset ones are comments."""
    return "\n".join(_table("", _values(settings))).strip() + "\n"


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
        if value is None:
            yield f"# {_key(key)}: not set"
        elif key not in tables:
            yield f"{_key(key)} = {_value(value)}"
    for key, inner in tables.items():
        yield from _table(f"{path}.{_key(key)}" if path else _key(key), inner)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, SecretStr):
        return _text(MASK)
    if isinstance(value, timedelta):
        return _text(format_duration(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(inner) for inner in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))} = {_value(inner)}" for key, inner in value.items()) + "}"
    return _text(str(value))


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL; lone surrogates (odd bytes in the environment) can't be printed.
    printable = text.encode("utf-8", "replace").decode()
    return json.dumps(printable, ensure_ascii=False).replace("\x7f", "\\u007f")
