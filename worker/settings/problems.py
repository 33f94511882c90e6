"""What is wrong with a configuration, one line each, never with a secret's value."""

import json
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Keys = tuple[str, ...]
"""A setting's place: ("accounts", "default", "timeout")."""
Problems = Iterator[tuple[Keys, str]]
IsBad = Callable[[Keys], bool]
"""Whether something at or inside this place was bad already, so that only a default stands for it."""

_TABLE = "must be a table"
_NAMES = "name is made of a-z, 0-9 and _ only"
_NAMED = {
    ("accounts",): f"an account's {_NAMES}",
    ("http", "tokens"): f"a token's {_NAMES}",
    ("news",): f"a subscriber's {_NAMES}, 63 characters at most",
}


class ConfigurationError(Exception):
    """The configuration is bad; `problems` holds every problem found, and `str` lists them all."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return "\n".join([f"bad configuration, {count}:", *(f"  {problem}" for problem in self.problems)])


def dotted(keys: Keys) -> str:
    """Write a setting's place as TOML does."""
    return ".".join(map(toml_key, keys))


def toml_key(key: str) -> str:
    """Write a key as TOML does: in quotes unless it is bare."""
    is_bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if is_bare else toml_text(key)


def toml_text(text: str) -> str:
    """Write a text as TOML does."""
    # JSON's escapes are TOML's, but for DEL; lone surrogates (odd bytes in the environment) can't be printed.
    printable = text.encode("utf-8", "replace").decode()
    return json.dumps(printable, ensure_ascii=False).replace("\x7f", "\\u007f")


def annotation_at(model: type[BaseModel], keys: Keys) -> Any:
    """Find the type of the setting at `keys`, without None and Annotated; None where there is no such setting."""
    current: Any = model
    for key in keys:
        if isinstance(current, type) and issubclass(current, BaseModel):
            if key not in current.model_fields:
                return None
            current = _plain(current.model_fields[key].annotation)
        elif get_origin(current) is dict:
            current = _plain(get_args(current)[1])
        elif current is not Any:
            return None
    return current


def is_container(annotation: Any) -> bool:
    """Whether a setting of this type is a table or a list."""
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_model or get_origin(annotation) in {dict, list, tuple}


def field_problems(model: type[BaseModel], error: ValidationError) -> list[tuple[Keys, str]]:
    """Translate pydantic's errors to (place, what is wrong and what is allowed)."""
    found: list[tuple[Keys, str]] = []
    for details in error.errors(include_url=False, include_input=False):
        is_key = details["loc"][-1:] == ("[key]",)
        keys = tuple(str(part) for part in (details["loc"][:-1] if is_key else details["loc"]))
        if is_key or details["type"] == "extra_forbidden":
            text = _bad_key(model, keys)
        else:
            text = _wrong(details["type"], details["msg"], details.get("ctx", {}))
            if keys[:-1] in _NAMED and text == _TABLE:
                text += f": its settings stand below [{dotted(keys[:-1])}.NAME]"
        found.append((keys, text))
    return found


def _bad_key(model: type[BaseModel], keys: Keys) -> str:
    parent = annotation_at(model, keys[:-1])
    if keys[:-1] in _NAMED:
        return _NAMED[keys[:-1]]
    allowed: list[str] = []
    if isinstance(parent, type) and issubclass(parent, BaseModel):
        allowed = list(parent.model_fields)
    elif get_origin(parent) is dict and get_origin(_plain(get_args(parent)[0])) is Literal:
        allowed = [str(value) for value in get_args(_plain(get_args(parent)[0]))]
    if not allowed:
        return "must not be empty"
    close = get_close_matches(keys[-1].lower(), allowed, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"unknown setting; {hint}known here: {', '.join(allowed)}"


def _wrong(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """What pydantic found, in the words of a configuration file; pydantic's own words where they serve."""
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        names = re.sub(r"<\S+ ('\w+')>", r"\1", str(context["expected"]))  # members of an enumeration
        return f"must be one of {names.replace(' or ', ', ')}"
    if kind in {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}:
        bound = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
        return "must be " + ", ".join(f"{bound[name]} {limit:g}" for name, limit in context.items() if name in bound)
    expected = {
        "int": "must be a whole number",
        "float": "must be a number",
        "finite": "must be a finite number",
        "bool": "must be true or false",
        "string": "must be text in quotes",
        "path": "must be a path in quotes",
        "dict": _TABLE,
        "model": _TABLE,
        "tuple": "must be a list",
    }
    return expected.get(kind.partition("_")[0], message)


def _plain(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return _plain(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation
