"""Renders docs/reference/settings.md from what an editor is told of the settings.

`.venv/bin/python -m tests.documents.settings_page` writes the page; a test says when that is due.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worker.settings.schema import schema

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
# What stands for a name that the operator gives.
_NAMES = {"accounts": "NAME", "news": "NAME", "tokens": "NAME", "by_status": "STATUS"}
_FREE = frozenset({"receiver", "status_map"})  # tables whose keys are the payload's, or the carrier's words

_COLUMNS = "| setting | kind | default | meaning |\n|---|---|---|---|"
_HEAD = """\
# Settings

Rendered from the model and the comments of [config/worker.toml](../../config/worker.toml), which
`returns-worker config init` writes; `.venv/bin/python -m tests.documents.settings_page` renders it again. A setting may
stand in the file, or in the environment, which wins: `RETURNS_WORKER_` and its path joined with `__`, such as
`RETURNS_WORKER_DATABASE__URL` or `RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY`. A duration is "200ms", "90s", "15m",
"6h", "60d" or a number of seconds.
`returns-worker check --show` prints what is in force, secrets masked.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_tables(schema(), "")])


def _tables(table: Mapping[str, Any], path: str) -> Iterator[str]:
    """A section for each table with settings, in the order of the file."""
    rows, inner = [], []
    for name, node in table.get("properties", {}).items():
        if "anyOf" in node or node["type"] != "object" or name in _FREE:
            rows.append(_row(name, node))
        else:
            inner.append((name, node))
    if rows and "polling" in path and path != "polling":
        yield f"## `[{path}]`\n\nAny key of [`[polling]`](#polling); it comes before that for {_of(path)}.\n"
    elif rows:
        about = f"{_cell(table['description'])}\n\n" if path and "description" in table else ""
        yield "\n".join([f"## `[{path}]`\n\n{about}{_COLUMNS}", *rows, ""])
    for name, node in inner:
        place = f"{path}.{name}".lstrip(".")
        named = next(iter(node.get("patternProperties", {}).values()), None)
        if name == "by_status":  # the same for each status
            named = next(iter(node["properties"].values())) | {"description": node["description"]}
        yield from _tables(named or node, f"{place}.{_NAMES[name]}" if named else place)


def _of(path: str) -> str:
    account, status = "accounts" in path, "STATUS" in path
    return " and ".join(["this account"] * account + ["this tracking status"] * status)


def _row(name: str, node: Mapping[str, Any]) -> str:
    default = f"`{json.dumps(node['default'], ensure_ascii=False)}`" if "default" in node else "unset"
    return f"| `{name}` | {_kind(node)} | {default} | {_cell(node['description'])} |"


def _kind(node: Mapping[str, Any]) -> str:
    if "anyOf" in node:
        return "duration"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    return {"object": "table", "array": "list", "boolean": "true or false"}.get(node["type"], str(node["type"]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
