"""Whatever stands in a setting, or in what completes it: one message, and no traceback."""

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr

from worker.settings import ConfigurationError, Settings, load
from worker.settings.problems import Keys

BYTES = "a\udcff"
"""What Python makes of a byte in the environment that is no UTF-8."""


def texts(model: type[BaseModel], place: Keys = ()) -> Iterator[tuple[Keys, type]]:
    """Every setting that is a text or a path, and which of them."""
    for name, field in model.model_fields.items():
        for kind in kinds(field.annotation):
            if kind in {str, SecretStr, Path}:
                yield (*place, name), kind
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                named = {"accounts": ("default",), "tokens": ("support",), "by_status": ("in_transit",)}.get(name, ())
                yield from texts(kind, (*place, name, *named))


def kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in {Union, types.UnionType, dict}:
        for part in get_args(annotation)[-2:]:
            yield from kinds(part)
    elif hasattr(annotation, "__metadata__"):
        yield from kinds(get_args(annotation)[0])
    else:
        yield annotation


TEXTS = sorted(set(texts(Settings)))
NAMES = [".".join(place) for place, _ in TEXTS]


def variable(place: Keys) -> str:
    return "RETURNS_WORKER_" + "__".join(place).upper()


def test_the_table_has_every_kind_of_setting() -> None:
    assert {"database.url", "database.url_file", "labels.store", "accounts.default.proxy", "http.listen"} <= set(NAMES)


@pytest.mark.parametrize(("place", "kind"), TEXTS, ids=NAMES)
@pytest.mark.parametrize("bad", [BYTES, "a\0b"], ids=["no UTF-8", "NUL"])
def test_no_setting_takes_what_is_no_text(place: Keys, kind: type, bad: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(environ={variable(place): bad})
    (problem,) = raised.value.problems
    assert problem.startswith(f"{'.'.join(place)}: must")


@pytest.mark.parametrize(("place", "kind"), [each for each in TEXTS if each[1] is Path or "url" in each[0][-1]])
def test_a_path_is_one_line(place: Keys, kind: type) -> None:
    scheme = "sqlite:///" if place[0] == "database" else "http://"
    with pytest.raises(ConfigurationError) as raised:
        load(environ={variable(place): "a\nb" if kind is Path else f"{scheme}a\nb"})
    (problem,) = raised.value.problems
    assert "\n" not in problem


def test_a_text_deep_in_a_table_is_looked_at_too() -> None:
    accounts = {"default": {"receiver": {"lines": ["fine", "\ud800"]}, "label_hosts": ["a\0"]}}
    with pytest.raises(ConfigurationError) as raised:
        load(environ={"RETURNS_WORKER_ACCOUNTS": json.dumps(accounts)})
    assert [problem.partition(" [")[0] for problem in raised.value.problems] == [
        "accounts.default.receiver.lines.1: must be UTF-8 text",
        "accounts.default.label_hosts.0: must hold no NUL character",
    ]


@pytest.mark.parametrize("content", [b"postgresql://u:p\nw@h/x", b"postgresql://u:\xff@h/x", b"sqlite:///a\0.db", b""])
def test_a_file_with_a_url_holds_a_url(content: bytes) -> None:
    Path("url").write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        load(environ={"RETURNS_WORKER_DATABASE__URL_FILE": "url"})
    assert len(raised.value.problems) == 1
