"""Renders docs/reference/api.md from the description that the worker serves as /api/openapi.json.

`.venv/bin/python -m tests.documents.api_page` writes the page; a test says when that is due.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from worker.web.api.openapi import OF_EVERY, OF_EVERY_POST, document
from worker.web.problems import Kind

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api.md"

_HEAD = """\
# The API

For programs: what the worker's [pages](../operate/page.md) show and do, as JSON, on the same listener and by the same
tokens. The worker itself has it as OpenAPI 3.1 at `/api/openapi.json`, from which most of this page is rendered
(`.venv/bin/python -m tests.documents.api_page`).

```sh
printf 'Authorization: Bearer %s' "$(cat /etc/returns-worker/support.token)" |
  curl -H @- 'http://127.0.0.1:9464/api/returns?state=needs_attention'
```

Each request shows its token; sent like this, no list of processes has it. A cookie of the pages does not count here,
and no `Origin` is asked for. Where no token is configured, who is on the worker's own machine may look without one, and
nothing can be done; elsewhere there is nothing at all then (404). [Who may](../operate/page.md#who-may) has the rest.

What is sent is `application/json`, of 64 kB at most; no body at all is `{}`. A member or a parameter that there is not
is refused by its name, with everything else that is wrong. Times are UTC, as `2026-01-31T12:00:00+00:00`. Members may
be added to any answer. What of a return is not named here is the worker's own, and not promised.

A part of a path is percent-encoded (`A/B` is `A%2FB`). The references `.` and `..`, which clients take out of a path,
are written `~.` and `~..`; one that begins with `~` and goes on so, such as `~..`, has one `~` more.

A list goes on by its `next`: GET that as it is, until it is null. What is inserted meanwhile shifts nothing.

All of this has one connection to the database together with the pages, and two seconds for what is looked at. Ask a few
times a minute, and not for each return in a loop: a shop that follows many reads [the tables](tables.md), which have
room for that. Why a return has an error code, and who does what, says [error-codes.md](error-codes.md); which state
follows which, [states.md](states.md). What takes counting (`today`, `accounts`, `news`) may be up to 90 seconds old, a
second in a small shop, and never older than what this worker was last told to do.
"""

_PROBLEMS = """\
## Problems

What is not done is told as RFC 9457 has it, `application/problem+json`. A program goes by `type`, which does not
change; `detail` is a sentence for a person. `errors` names what is wrong with what was sent: `pointer` is a place in
the body (RFC 6901), `parameter` one of the query.

```json
{"type": "urn:problem-type:returns-worker:refused", "title": "Things are not as they would have to be", "status": 409,
 "detail": "it is completed: only a return that is rejected or needs attention can be retried"}
```

| `type`, behind `urn:problem-type:returns-worker:` | status | what it says | `Retry-After` |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    described = document()
    parts = [_HEAD, "## Operations\n\n| operation | what it does |\n|---|---|"]
    operations = [
        (f"{method.upper()} {path}", about)
        for path, each in described["paths"].items()
        for method, about in each.items()
    ]
    parts += [f"| [`{name}`](#{_anchor(name)}) | {_cell(about['summary'])} |" for name, about in operations]
    parts.append(f"\n{_PROBLEMS}" + "\n".join(_problem(kind) for kind in Kind))
    parts.append(f"\nWith every operation: {_named(OF_EVERY)}. With every POST besides: {_named(OF_EVERY_POST)}.\n")
    for name, about in operations:
        parts += _operation(name, about)
    schemas = described["components"]["schemas"]
    parts.append("## What is sent and told\n")
    parts += [_schema(name, schemas) for name in sorted(schemas)]
    return "\n".join(parts)


def _problem(kind: Kind) -> str:
    again = f"{kind.retry_after} s" if kind.retry_after is not None else ""
    return f"| {_named([kind])} | {kind.status} | {kind.title} | {again} |"


def _operation(name: str, about: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}\n\n{_cell(about['summary'])}. {_cell(about.get('description', ''))}".rstrip() + "\n"
    query = [each for each in about.get("parameters", ()) if each["in"] == "query"]
    if query:
        yield "| parameter | kind | meaning |\n|---|---|---|"
        yield "\n".join(f"| `{each['name']}` | {_kind(each['schema'])} | {_meaning(each)} |" for each in query) + "\n"
    body = about.get("requestBody")
    asks = f"Body: {_kind(body['content']['application/json']['schema'])}. " if body else ""
    content = about["responses"]["200"]["content"]
    told = _kind(content["application/json"]["schema"]) if "application/json" in content else ", ".join(content)
    usual = {*OF_EVERY, *(OF_EVERY_POST if body else ())}
    kinds = [
        kind for kind in Kind if kind not in usual and f"`{kind.type}`" in str(about["responses"].get(str(kind.status)))
    ]
    yield f"{asks}Answer: {told}." + (f" Problems: {_named(kinds)}." if kinds else "") + "\n"


def _named(kinds: Sequence[Kind]) -> str:
    return ", ".join(f"`{kind.type.rpartition(':')[2]}`" for kind in kinds)


def _schema(name: str, schemas: Mapping[str, Any]) -> str:
    schema = schemas[name]
    about = f"### {name}\n\n{_cell(' '.join(schema['description'].split()))}\n"
    if "enum" in schema:
        return f"{about}\n{_kind(schema)}\n"
    properties = schema.get("properties", {})
    if not properties:
        return about
    base = next((each for each in schemas if _begins(properties, schemas[each].get("properties", {}))), None)
    if base is not None:
        about += f"\nWhat [{base}](#{_anchor(base)}) has, and:\n"
        properties = {each: value for each, value in properties.items() if each not in schemas[base]["properties"]}
    rows = [f"| `{each}` | {_kind(value)} | {_meaning(value)} |" for each, value in properties.items()]
    return "\n".join([f"{about}\n| member | kind | meaning |\n|---|---|---|", *rows, ""])


def _begins(properties: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    return 1 < len(others) < len(properties) and list(properties.items())[: len(others)] == list(others.items())


def _meaning(schema: Mapping[str, Any]) -> str:
    default = schema.get("default", schema.get("schema", {}).get("default"))
    said = f" Default: `{default!r}`." if type(default) is int else ""
    return _cell(" ".join(schema.get("description", "").split())) + said


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_kind, schema[several])))
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if isinstance(schema.get("type"), list):
        return " or ".join(schema["type"])
    kind = {"boolean": "true or false", "string": "text", "integer": "number", "null": "null"}.get(
        schema.get("type", "")
    )
    bounds = {"maxLength": "of {} characters at most", "maximum": "up to {}"}
    said = [words.format(f"{schema[key]:,}") for key, words in bounds.items() if key in schema and schema[key] < 10**9]
    return " ".join([("moment" if schema.get("format") == "date-time" else kind) or "any JSON", *said])


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
