"""What may become of a true answer, by name: faults choose it for the next requests, magic words for one return."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from worker.simulator.delivery import Reply

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One thing that may become of a `T`; `meaning` says in a line what a client then meets."""

    meaning: str
    apply: Callable[[T], T]


def chosen(changes: Mapping[str, T], name: str) -> T:
    """The one of `changes` with that name; ValueError names them all."""
    if name not in changes:
        raise ValueError(f"change must be one of {', '.join(changes)}, not {name!r}")
    return changes[name]


def by_word(changes: Mapping[str, Change[T]], form: str) -> Mapping[str, Change[T]]:
    """The same changes by their magic words; `form` is one, with `{}` for the name."""
    return {form.format(name): change for name, change in changes.items()}


def in_words(by_word: Mapping[str, Change[T]], words: frozenset[str], true: T) -> T:
    """`true` as the magic words leave it, one after the other in the order of the table."""
    if words:
        for word, change in by_word.items():
            if word in words:
                true = change.apply(true)
    return true


def in_json(apply: Callable[[object], object]) -> Callable[[Reply], Reply]:
    """An answer with success whose JSON is changed by `apply`; any other answer is left as it is."""

    def changed(reply: Reply) -> Reply:
        if not 200 <= reply.status <= 299:
            return reply
        try:
            document = json.loads(reply.body)
        except ValueError:
            return reply
        return replace(reply, body=json.dumps(apply(document)).encode())

    return changed


def in_objects(edit: Callable[[dict[str, object]], dict[str, object]]) -> Callable[[object], object]:
    """What changes each object of a document by `edit`, the innermost first."""

    def changed(node: object) -> object:
        if isinstance(node, dict):
            return edit({name: changed(value) for name, value in node.items()})
        return [changed(each) for each in node] if isinstance(node, list) else node

    return changed
