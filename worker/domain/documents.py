"""Reads JSON that others wrote, without letting its nesting use up Python's stack."""

import json
import re
from itertools import accumulate
from typing import Any, Final

DEEPEST: Final = 750
"""Lists and objects in each other that are read: this leaves some of Python's 1,000 calls to what runs besides."""

_STRING: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OTHER_THAN_BRACKETS: Final = re.compile(r"[^\[\]{}]+")
_RISES: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
_DECODER: Final = json.JSONDecoder()


class NestedTooDeeply(ValueError):
    """A document whose lists and objects lie deeper in each other than is read."""


def read_json(text: str, decoder: json.JSONDecoder = _DECODER, deepest: int = DEEPEST) -> Any:
    """What a JSON document says; raises `ValueError`, of it `NestedTooDeeply` and `json.JSONDecodeError`.

    The decoder calls itself once a level. Near the end of the stack everything that Python runs in between fails too,
    such as what a collected object does at its end, and that would go unnoticed: so depth is counted first.
    """
    if text.count("[") + text.count("{") > deepest and _depth(text) > deepest:
        raise NestedTooDeeply("it is nested too deeply")
    return decoder.decode(text)


def _depth(text: str) -> int:
    """How many brackets are open at most; for what is no JSON some number that is not too small."""
    brackets = _OTHER_THAN_BRACKETS.sub("", _STRING.sub("", text))
    return max(accumulate(map(_RISES.__getitem__, brackets)), default=0)
