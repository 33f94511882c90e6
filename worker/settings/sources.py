"""Read the TOML file and lay the environment over it, remembering which setting came from where.

`RETURNS_WORKER_` + the path joined with `__` names any setting; the path is taken in lower case. A table or a list
is given as JSON; a table so given is merged into the file's, and a variable for a key inside it wins over the
whole. An account whose name holds `__` or starts or ends with `_` can be set in the file only.
(pydantic-settings' own sources ignore misspelt variables and know no origin of a value, hence these lines.)
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.domain.tracking import folded
from worker.listening import FILE_VARIABLE, configuration_file, keys_of_variables
from worker.settings.model import Settings
from worker.settings.problems import Keys, annotation_at, is_container

_NOT_SETTINGS = "RETURNS_WORKER_TEST_"


@dataclass
class Sources:
    """The raw configuration, where each part is from, and what was wrong already while reading it."""

    raw: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None
    file_failed: bool = False
    origins: dict[Keys, str] = field(default_factory=dict)
    problems: list[tuple[Keys, str]] = field(default_factory=list)

    def origin(self, keys: Keys) -> str | None:
        """Say where the setting at `keys` is from: a variable, a file, or None for a default."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.origins:
                return self.origins[keys[:length]]
        inside: Any = self.raw
        for key in keys:
            if isinstance(inside, list):  # an item is from where its list is
                break
            if not isinstance(inside, Mapping) or key not in inside:
                return None
            inside = inside[key]
        below = [name for place, name in self.origins.items() if place[: len(keys)] == keys]
        return below[0] if below else str(self.file) if self.file else None


def read_sources(file: Path | None, environ: Mapping[str, str]) -> Sources:
    """Read the named file, else RETURNS_WORKER_CONFIG, else returns-worker.toml if there is one; then overlay."""
    sources = Sources()
    sources.file = configuration_file(file, environ)
    if sources.file is not None:
        _read_file(sources, sources.file)
    _read_environment(sources, environ)
    sources.problems += _unfit((), sources.raw)
    return sources


def _unfit(keys: Keys, value: Any) -> Iterator[tuple[Keys, str]]:
    """Every text that nothing can be done with: a NUL, and lone surrogates, which stand for bytes that are no UTF-8."""
    if isinstance(value, str):
        if "\0" in value:
            yield keys, "must hold no NUL character"
        elif any("\ud800" <= char <= "\udfff" for char in value):
            yield keys, "must be UTF-8 text"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unfit((*keys, key), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _unfit((*keys, str(number)), inner)


def _read_file(sources: Sources, file: Path) -> None:
    problem = ""
    try:
        sources.raw = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = f"is not UTF-8 text (at line {line})"
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and numbers or nesting beyond all reason
        problem = f"is not valid TOML: {error}"
    if problem:
        sources.file_failed = True
        sources.problems.append(((str(file),), problem))


def _read_environment(sources: Sources, environ: Mapping[str, str]) -> None:
    variables = {
        keys: name
        for keys, name in keys_of_variables(environ).items()
        if name != FILE_VARIABLE and not name.startswith(_NOT_SETTINGS)
    }
    for keys, name in sorted(variables.items(), key=lambda item: len(item[0])):  # the most particular last: it wins
        sources.origins[keys] = f"environment variable {name}"
        annotation, text = annotation_at(Settings, keys), environ[name]
        is_json = is_container(annotation) or (annotation is Any and text.lstrip().startswith(("{", "[")))
        try:
            value: Any = json.loads(text) if is_json else text
        except (ValueError, RecursionError):
            sources.problems.append((keys, "must be JSON when it comes from the environment"))
            continue
        for key in reversed(keys):
            value = {key: value}
        _merge(sources.raw, value)


def _merge(into: dict[str, Any], new: Mapping[str, Any], *, words: bool = False) -> None:
    if words:  # in a status map, spellings of one word are one key; two in `new` itself are left for the check of them
        said = {folded(key) for key in new}
        for same in [key for key in into if folded(key) in said]:
            del into[same]
    for key, value in new.items():
        existing = into.get(key)
        if isinstance(value, Mapping) and isinstance(existing, dict):
            _merge(existing, value, words=key == "status_map")
        else:
            into[key] = value
