"""What each column of a CSV file is in a return: a map in the shape of an intake line, checked before any line."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.domain.payload import read_payload, reference_problems

_NOTHING: Final = object()
_CONSTANT: Final = {"value"}
_MEMBERS: Final = ("account", "reference", "payload")


class BadMap(ValueError):
    """The map breaks rules; the message has a line `path: what is wrong` for each."""


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """For `account`, `reference` and each path of the payload a column's name, or `{"value": ...}` for every line.

    `columns`: those that it names, each once.
    """

    account: Any
    reference: str
    payload: Mapping[str, Any]
    columns: Sequence[str]

    @property
    def constant_account(self) -> str | None:
        """The account of every line; None: a column says which."""
        return None if isinstance(self.account, str) else self.account["value"]

    def read(self, cells: Mapping[str, str]) -> tuple[str, str, dict[str, Any], list[str]]:
        """Account, reference and payload of a line by its columns, and what is wrong with it.

        Every value stays the text that it is. An empty cell is left out. Where all columns of one table of the map are
        empty, the whole table is left out, its constants too: the line has no second package, for example.
        """

        def filled(column: str) -> Any:
            return cells[column] if cells[column].strip() else _NOTHING

        reference = cells[self.reference]
        problems = reference_problems(reference) if reference.strip() else ["reference: is empty"]
        account = _filled(self.account, filled)[0]
        payload = _filled(self.payload, filled)[0]
        payload = {} if payload is _NOTHING else payload
        problems += read_payload(json.dumps(payload))[1]
        return "default" if account is _NOTHING else account, reference, payload, problems


def read_map(document: Mapping[str, Any]) -> ColumnMap:
    """The map that a TOML document says; raises `BadMap`."""
    account = document.get("account", {"value": "default"})
    reference, payload = document.get("reference"), document.get("payload", {})
    problems = [f"{name}: is not known here; there are {', '.join(_MEMBERS)}" for name in document.keys() - {*_MEMBERS}]
    if not isinstance(reference, str) or not reference:
        problems.append("reference: must be a column's name")
    if not (isinstance(account, str) or (_is_constant(account) and isinstance(account["value"], str))) or not account:
        problems.append('account: must be a column\'s name, or { value = "NAME" }')
    if not isinstance(payload, dict):
        problems.append("payload: must be a table")
    else:
        problems += _wrong_leaves(payload, "payload")
    if not problems:
        # Each column is an empty text, so that only paths and constants can be wrong: by the rules for payloads, which
        # know the paths.
        shape = _filled(payload, lambda _: "")[0]
        problems += [
            f"payload.{problem}" for problem in read_payload(json.dumps({} if shape is _NOTHING else shape))[1]
        ]
    if problems:
        raise BadMap("\n".join(problems))
    columns = dict.fromkeys(_columns([reference, account, payload]))
    return ColumnMap(account, str(reference), payload, tuple(columns))


def _filled(part: Any, cell: Callable[[str], Any]) -> tuple[Any, bool, bool]:
    """A part of the map with its cells, whether it names any column, and whether one of them has something."""
    if isinstance(part, str):
        value = cell(part)
        return value, True, value is not _NOTHING
    if _is_constant(part):
        return part["value"], False, False
    keys = list(part) if isinstance(part, dict) else range(len(part))
    read = [(key, *_filled(part[key], cell)) for key in keys]
    names, has = any(named for _, _, named, _ in read), any(full for _, _, _, full in read)
    if (names and not has) or not read:
        return _NOTHING, names, has
    members = [(key, value) for key, value, _, _ in read if value is not _NOTHING]
    return dict(members) if isinstance(part, dict) else [value for _, value in members], names, has


def _is_constant(part: Any) -> bool:
    return isinstance(part, dict) and part.keys() == _CONSTANT and isinstance(part["value"], str | int | float)


def _columns(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif not _is_constant(part):
        for each in part.values() if isinstance(part, dict) else part:
            yield from _columns(each)


def _wrong_leaves(part: Any, path: str) -> list[str]:
    if isinstance(part, dict) and not _is_constant(part):
        return [line for name, member in part.items() for line in _wrong_leaves(member, f"{path}.{name}")]
    if isinstance(part, list):
        return [line for index, member in enumerate(part) for line in _wrong_leaves(member, f"{path}[{index}]")]
    if _is_constant(part) or (isinstance(part, str) and part):
        return []
    return [f"{path}: must be a column's name, or {{ value = ... }} with a text, a number, true or false"]
