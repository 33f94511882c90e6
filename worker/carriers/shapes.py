"""Shapes of JSON: those in which carriers write the same thing, and a request that a payload's own fields go into."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from worker.carriers.port import Unintelligible
from worker.carriers.replies import EXACT, as_document, clean_text
from worker.domain.payload import InvalidPayload

_MOST = 1000  # members of an object that is read as a list
_ID = re.compile(r"([0-9]{1,19})(?:\.0{1,9})?")  # 64 bits
_PLACE = re.compile(r"[0-9]{1,19}")


def read_list(value: Any) -> list[Any] | None:
    """A list, however it is written; None for what is none.

    PHP writes an array whose keys have a gap, or begin with 1, as an object with numbers for names: these are its
    members in the order of their numbers. Other programs write a list of one as that one: any other object is taken for
    its only member. An object without members says nothing of what could be in it.
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not 0 < len(value) <= _MOST:
        return None
    if not all(_PLACE.fullmatch(name) for name in value):
        return [value]
    return [value[name] for name in sorted(value, key=int)]


def read_text(value: Any) -> str | None:
    """Text, or the digits of a whole number (3 and 3.0 alike); None for anything else."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < EXACT else None
    return str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def read_id(value: Any) -> str | None:
    """A number of the carrier's as text: a whole one above 0, of 19 digits at most; None for anything else."""
    found = _ID.fullmatch((read_text(value) or "").strip())
    return str(int(found[1])) if found and int(found[1]) else None


def read_word(value: Any, longest: int, document: Any) -> str | None:
    """A status as the carrier's word, cut at `longest`; None where it has said none, by null or by an empty text.

    Raises `Unintelligible` for what is no word, with the `document` in which it stood.
    """
    text = read_text(value)
    if text is None and value is not None:
        raise Unintelligible(f"the status is no word: {as_document(value)[:200]}", raw=as_document(document))
    return clean_text(text or "", longest).strip() or None


class Problems(list[str]):
    """What is wrong with a payload, a line `path: problem` for each thing."""

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__(lines)
        self._places: set[str] = set()  # where something is wrong; with a bracket behind it, the list of such a member
        self._noted = 0  # so many lines are among the places

    def add(self, path: str, problem: str) -> None:
        """Add what is wrong at `path`, unless something is: there, in what it is a part of, or in one of its members.

        A value that cannot be read is not missing, too.
        """
        for line in self[self._noted :]:
            place = line.partition(":")[0]
            self._places.update((place, *(place[: at + 1] for at, char in enumerate(place) if char == "[")))
        self._noted = len(self)
        if self._places.isdisjoint((path, f"{path}[", *(path[:at] for at, char in enumerate(path) if char in ".["))):
            self.append(f"{path}: {problem}")


def finished(body: Mapping[str, Any], extra: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """A request's `body` with the payload's `carrier_fields`, `extra`, merged in deeply: for what only the carrier has.

    `body` must hold every field that the payload can set, empty ones too: none of them is overridden. Raises
    `InvalidPayload` with all `problems`, each once.
    """
    merged = _merged(body, extra, "carrier_fields", problems)
    if problems:
        raise InvalidPayload(tuple(dict.fromkeys(problems)))
    return merged


def _merged(body: Mapping[str, Any], extra: Mapping[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    merged, known = dict(body), {name.casefold() for name in body}  # as carriers on ASP.NET compare them
    for name, value in extra.items():
        place = f"{path}.{name}"
        if name.casefold() not in known:
            merged[name] = value
        elif isinstance(body.get(name), Mapping) and isinstance(value, Mapping):
            merged[name] = _merged(body[name], value, place, problems)
        else:
            problems.append(f"{place}: is set by the payload itself and cannot be overridden")
    return merged
