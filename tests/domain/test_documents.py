"""Whatever its nesting, a document is read or refused, and nothing beside it fails in silence."""

import gc
import json
import sys
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.documents import DEEPEST, NestedTooDeeply, read_json

_ATOMS = st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\a')
_VALUES = st.recursive(_ATOMS, lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='[]{}"\\'), inner))


@given(_VALUES)
def test_a_document_means_what_it_meant(value: Any) -> None:
    assert read_json(json.dumps(value), deepest=0 if not isinstance(value, (list, dict)) else DEEPEST) == value


@given(_VALUES)
def test_its_depth_is_that_of_its_lists_and_objects_not_of_brackets_in_its_texts(value: Any) -> None:
    deep, text = _depth(value), json.dumps(value)
    assert read_json(text, deepest=deep) == value
    if deep:
        with pytest.raises(NestedTooDeeply):
            read_json(text, deepest=deep - 1)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 4000 + "]" * 4000, '{"a":' * 5000, '"' + "[" * 5000, "]" * 5000])
def test_what_is_too_deep_or_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_json(text)


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1, 950, 4000])
def test_what_is_collected_meanwhile_can_still_do_what_it_does_at_its_end(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given garbage that Python may collect at any moment, with something to do then that takes a few calls
    failed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: failed.append(unraisable.exc_type))
    gc.disable()
    garbage = [_Circle() for _ in range(50)]
    endings: list[int] = []
    watched = [weakref.ref(each, lambda _: endings.append(_calls(100))) for each in garbage]
    before = gc.get_threshold()
    del garbage
    # When a document is read that makes it collect near its deepest
    gc.set_threshold(gc.get_count()[0] + min(depth, 930) - 30)
    try:
        gc.enable()
        try:
            read_json("[" * depth + "]" * depth)
        except NestedTooDeeply:
            assert depth > DEEPEST
    finally:
        gc.set_threshold(*before)
    # Then all of that was done
    gc.collect()
    assert failed == []
    assert endings == [0] * len(watched)


class _Circle:
    def __init__(self) -> None:
        self.me = self


def _calls(count: int) -> int:
    return _calls(count - 1) if count else 0


def _depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(_depth, parts), default=0)
