"""The settings as a JSON Schema for editors: what the model takes, told in the words of the start file.

In the terms of draft 4 and without references, the most that every editor of TOML understands. Nothing is required: any
setting may come from the environment instead. What needs more than one value is left to `load`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from importlib import resources
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from worker.domain.payload import COUNTRY
from worker.domain.returns import Party
from worker.settings.durations import FORMS, format_duration
from worker.settings.model import Settings

Place = tuple[str, ...]
"""Where a setting is: ("accounts", "*", "timeout"), with `*` for a name."""

_ANY_NAME = "*"
_EXAMPLES = frozenset({"default", "shop", "support"})  # names of an account, a subscriber and a token in the start file
_CLOSED: Mapping[str, Any] = {"additionalProperties": False}
_LIMITS = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}  # what these are flags of in draft 4
_NOT_FOR_EDITORS = frozenset({"$ref", "$defs", "title", "writeOnly"})
_SET = re.compile(r"(?:# )?([A-Za-z]\w*) = ")
_TABLE = re.compile(r"(?:# )?\[([\w.]+)\]")


def start_file() -> str:
    """Every setting with its default and its reason, ready to be filled in: `config/worker.toml`."""
    return resources.files("worker.settings").joinpath("start.toml").read_text("utf-8")


def schema() -> dict[str, Any]:
    """The schema, ready to be written as JSON."""
    model = Settings.model_json_schema(schema_generator=_Generator)
    receiver = model["$defs"]["AccountSettings"]["properties"]["receiver"] = _shape(Party)
    receiver["properties"]["address"]["properties"]["country"]["pattern"] = rf"^\s*{COUNTRY}\s*$"
    tables = _written_out(model, model["$defs"], (), dict(_comments(start_file())))
    about = {"title": "Settings of returns-worker", "description": f"Any of them may be left out; {FORMS}."}
    return {"$schema": "http://json-schema.org/draft-04/schema#", **tables, **about}


class _Generator(GenerateJsonSchema):
    """Pydantic's own, where TOML or draft 4 have it otherwise."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """TOML has no null: what is unset is not there."""
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Draft 4 has no schema of names, but patterns of them."""
        values, names = self.generate_inner(schema["values_schema"]), schema["keys_schema"]
        if names["type"] == "literal":
            return {"type": "object", "properties": dict.fromkeys(names["expected"], values), **_CLOSED}
        pattern = str(names.get("pattern", ".")).replace(r"\z", "$")  # which only Python calls so
        return {"type": "object", "patternProperties": {pattern: values}, **_CLOSED}

    def encode_default(self, dft: Any) -> Any:
        """A duration as it is written in the file."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _shape(part: Any) -> dict[str, Any]:
    """A part of the payload: its members are texts, for which numbers pass, or such parts."""
    if not is_dataclass(part):
        return {"type": ["string", "integer"]}
    return {"type": "object", "properties": {each.name: _shape(each.type) for each in fields(part)}, **_CLOSED}


def _written_out(node: Any, parts: Mapping[str, Any], place: Place, said: Mapping[Place, str]) -> dict[str, Any]:
    """A node without references, titles and defaults that the file cannot have, and with what is said of it."""
    if "$ref" in node:
        node = {**parts[node["$ref"].rpartition("/")[2]], **node}
    found = {key: value for key, value in node.items() if key not in _NOT_FOR_EDITORS}
    if found.get("default") is None or found.get("type") == "object":
        found.pop("default", None)
    for flag, limit in _LIMITS.items():
        if flag in found:
            found |= {limit: found[flag], flag: True}
    for key in ("properties", "patternProperties"):
        if key in found:
            found[key] = {
                name: _written_out(inner, parts, (*place, name if key == "properties" else _ANY_NAME), said)
                for name, inner in found[key].items()
            }
    if "anyOf" in found:
        found["anyOf"] = [_written_out(each, parts, (*place, ""), said) for each in found["anyOf"]]
    description = _said_of(place, said) or found.get("description")
    return {**found, "description": description} if description else found


def _said_of(place: Place, said: Mapping[Place, str]) -> str | None:
    """The comment on a setting; one that overrides the cadence means what it means in [polling]."""
    general = ("polling", place[-1]) if "polling" in place[:-1] else place
    return said.get(general) or said.get(place)


def _comments(text: str) -> Iterator[tuple[Place, str]]:
    """Each table and key of the start file, those that are commented out too, with the comment above it.

    Keys without a comment have that of the key above them; what is said of one status holds for `by_status`.
    """
    table: Place = ()
    comment: list[str] = []
    closed = False
    for line in text.splitlines():
        header, key = _TABLE.fullmatch(line), _SET.match(line)
        if header:
            table = tuple(_ANY_NAME if name in _EXAMPLES else name for name in header[1].split("."))
            yield table[:-1] if "by_status" in table else table, " ".join(comment)
            comment = []
        elif key:
            yield (*table, key[1]), " ".join(comment)
            closed = True
        else:
            comment = [] if closed or not line else comment
            comment += line.removeprefix("#").split()
            closed = False
