"""What an editor is told of the settings: everything the model takes, and nothing else, in the start file's words."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.settings.test_defaults import leaves
from worker.demo.folder import _TOML as DEMO
from worker.domain.payload import read_payload
from worker.settings import ConfigurationError, Settings, load, parse_duration, parse_positive_duration, show
from worker.settings.schema import schema, start_file

ROOT = Path(__file__).parents[2]
SCHEMA = schema()
COMMENTS = " ".join(word for line in start_file().splitlines() for word in line.removeprefix("#").split())
EDITOR = jsonschema.Draft4Validator(SCHEMA)

# Draft 4 without references; taplo takes no more.
UNDERSTOOD = {
    "type",
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "enum",
    "anyOf",
    "pattern",
} | {
    *(
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "default",
        "description",
        "format",
        "title",
        "$schema",
    )
}


def toml_files() -> Iterator[tuple[str, str]]:
    for file in sorted((*ROOT.glob("config/*.toml"), *ROOT.glob("deploy/**/worker.toml"))):
        yield str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "deploy" / "RUNBOOK.md"):
        for number, block in enumerate(
            # A map of a file's columns is TOML, and no configuration.
            re.findall(r"(?<!-map -->\n)^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        ):
            yield f"{page.name} {number}", block
    yield "demo", DEMO
    yield "start file", start_file()
    yield "every line of it", re.sub(r"^# (\[[a-z_.]+\]|[A-Za-z_]+ = .+)$", r"\1", start_file(), flags=re.MULTILINE)
    yield "what is shown", show(load(ROOT / "config" / "local.toml", {}))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in (*node.get("properties", {}).values(), *node.get("patternProperties", {}).values()):
        yield from nodes(inner)
    for inner in node.get("anyOf", []):
        yield from nodes(inner)


def at(place: tuple[str, ...]) -> dict[str, Any]:
    """The node of a setting, by names as they are in the file."""
    node = SCHEMA
    for key in place:
        patterns = node.get("patternProperties", {}).items()
        node = (
            node["properties"][key]
            if key in node.get("properties", {})
            else next(inner for pattern, inner in patterns if re.search(pattern, key))
        )
    return node


def is_fine(document: dict[str, Any]) -> bool:
    return EDITOR.is_valid(document)


def test_the_packaged_start_file_is_the_reference() -> None:
    """It lies in the package so that a wheel has it: `cp config/worker.toml worker/settings/start.toml`."""
    assert start_file() == (ROOT / "config" / "worker.toml").read_text(encoding="utf-8")


def test_an_editor_understands_every_word_of_the_schema() -> None:
    jsonschema.Draft4Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA, allow_nan=False)
    assert {key for node in nodes(SCHEMA) for key in node} <= UNDERSTOOD


@pytest.mark.parametrize("place", [place for place, _ in leaves(Settings)], ids=".".join)
def test_every_setting_is_in_the_schema_with_what_the_start_file_says_of_it(place: tuple[str, ...]) -> None:
    node = at(place)
    assert node["description"] in COMMENTS
    assert {"type", "anyOf"} & node.keys()


def test_every_table_is_closed_and_nothing_is_required() -> None:
    tables = [node for node in nodes(SCHEMA) if node.get("type") == "object"]
    assert len(tables) > 20
    assert all(node["additionalProperties"] is False for node in tables)


@pytest.mark.parametrize(("name", "text"), [pytest.param(*each, id=each[0]) for each in toml_files()])
def test_every_configuration_that_is_shipped_or_shown_is_fine_to_an_editor(name: str, text: str) -> None:
    EDITOR.validate(tomllib.loads(text))


ACCOUNT = "[accounts.default]\n"


@pytest.mark.parametrize(
    "text",
    [
        "databse = {}",
        'database = { ulr = "sqlite:///x.db" }',
        "[accounts.Shop-1]",
        f'{ACCOUNT}carier = "izipack"',
        f'{ACCOUNT}carrier = "dhl"',
        f"{ACCOUNT}api_key = 5",
        f"{ACCOUNT}rate_per_minute = -1",
        f"{ACCOUNT}max_in_flight = 1001",
        f'{ACCOUNT}timeout = "20x"',
        f'{ACCOUNT}timeout = "0s"',
        f"{ACCOUNT}timeout = 0",
        f'{ACCOUNT}link_grace = "-1s"',
        f'{ACCOUNT}label_hosts = "h"',
        f'{ACCOUNT}label_pages = "all"',
        f'{ACCOUNT}receiver.address.housenumber = "3"',
        f'{ACCOUNT}receiver.address.country = "Netherlands"',
        f"{ACCOUNT}receiver.name = true",
        f'{ACCOUNT}status_map = {{ X = "expired" }}',
        f'{ACCOUNT}status_map = {{ "" = "failed" }}',
        f"{ACCOUNT}polling = {{ frist = 1 }}",
        f'{ACCOUNT}[accounts.default.polling.by_status.delivered]\nfirst = "1h"',
        "polling = { factor = 0.9 }",
        "polling = { jitter = 1 }",
        "polling = { first = true }",
        'worker = { tick = "1h30m" }',
        "worker = { lease = -1 }",
        "labels = { max_bytes = 0 }",
        'log = { level = "loud" }',
    ],
)
def test_what_an_editor_marks_is_what_a_start_refuses(text: str) -> None:
    assert not is_fine(tomllib.loads(text))
    Path("given.toml").write_text(text)
    with pytest.raises(ConfigurationError):
        load(Path("given.toml"), {})


numbers = st.one_of(st.integers(-10, 10**10), st.floats(allow_nan=False, allow_infinity=False))
texts = st.one_of(st.from_regex(r" ?[0-9]{0,4}(\.[0-9]{1,4})? ?(ms|s|m|h|d|w)? ?", fullmatch=True), st.text(max_size=6))


@given(st.one_of(numbers, texts))
def test_an_editor_and_the_worker_read_the_same_durations(written: object) -> None:
    """But for what is longer than ten years as text, and what rounds to nothing."""
    for document, read in (
        ({"database": {"wait": written}}, parse_duration),
        ({"worker": {"tick": written}}, parse_positive_duration),
    ):
        try:
            read(written)
        except ValueError as error:
            known = re.search("ten years|more than zero", str(error))
            assert not is_fine(document) or (known and (isinstance(written, str) or 0 < float(str(written)) < 1e-6))
        else:
            assert is_fine(document)


@given(st.from_regex(r"[A-Za-z]{1,3}", fullmatch=True))
def test_an_editor_and_the_worker_read_the_same_receivers(country: str) -> None:
    receiver = {"address": {"country": country, "house_number": 3}}
    refused = [line for line in read_payload("{}", receiver)[1] if "is meant" not in line]
    assert is_fine({"accounts": {"default": {"receiver": receiver}}}) == (refused == [])
