"""Reads a SQLite value as the one that PostgreSQL is given, or says why it takes none such.

SQLite keeps whatever it is given. PostgreSQL knows no NUL character and no bytes that are not UTF-8, and `jsonb` takes
neither `\\u0000` nor half a surrogate pair (https://www.postgresql.org/docs/current/datatype-json.html). In a JSON
document each becomes U+FFFD. That is what the worker reads for bytes that are not UTF-8, and it refuses a payload with
that, and with any of the others, before anything is sent. Elsewhere they may be what something is known by: refused.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Integer
from sqlmodel import SQLModel

from worker.store.columns import Document, Moment, read_moment

_UNDECODABLE = re.compile("[\udc80-\udcff]")  # bytes as `surrogateescape` reads them
# A whole pair, any other code, or another escape, so that an escaped backslash hides what comes after it. Outside of
# strings JSON has no backslash.
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)
_REPLACEMENT = "\\ufffd"


class Unfit(Exception):
    """PostgreSQL takes no such value; the message says what is wrong with it, and does not repeat it."""


@dataclass(frozen=True, slots=True)
class JsonText:
    """A JSON document: the text that is sent, what it means, and whether it had to be changed."""

    text: str
    meaning: Any
    changed: bool


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that is copied, and how its values are read from SQLite."""

    name: str
    read: Callable[[Any], Any]
    is_document: bool

    def fit(self, value: Any) -> Any:
        """The value for PostgreSQL; raises `Unfit`."""
        return None if value is None else self.read(value)


def columns_of(table: type[SQLModel]) -> Sequence[Column]:
    """The columns of a table."""
    return [
        Column(column.name, _reader(column), isinstance(column.type, Document))
        for column in table.__table__.c  # type: ignore[attr-defined]
    ]


def document(text: str) -> JsonText:
    """A JSON document as `jsonb` keeps it; raises `Unfit`."""
    _refuse_nul(text)
    kept = _ESCAPE.sub(_kept, text) if "\\u" in text else text
    kept = kept.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        return JsonText(kept, meaning(kept), kept != text)
    except ValueError:
        raise Unfit("is not JSON") from None
    except RecursionError:
        raise Unfit("is nested too deeply") from None


def meaning(text: str) -> Any:
    """What a JSON document says, so that two spellings of it can be compared; numbers as they are, not as floats."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant)


def _kept(escape: re.Match[str]) -> str:
    text = escape.group()
    if len(text) != 6:  # \uXXXX alone
        return text
    code = int(text[2:], 16)
    return _REPLACEMENT if code == 0 or 0xD800 <= code <= 0xDFFF else text


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _refuse_nul(text: Any) -> None:
    if not isinstance(text, str):
        raise Unfit("is no text")
    if "\x00" in text:
        raise Unfit("holds a NUL character")


def _text(value: Any) -> str:
    _refuse_nul(value)
    if _UNDECODABLE.search(value):
        raise Unfit("holds bytes that are not UTF-8")
    return str(value)


def _moment(value: Any) -> Any:
    try:
        return read_moment(_text(value))
    except ValueError:
        raise Unfit("is no moment") from None


def _answer(value: Any) -> JsonText:
    """What a carrier answered is only kept to be looked at: what is no JSON is kept as text, as the worker does."""
    try:
        return document(value)
    except Unfit:
        text = str(value).replace("\x00", "\ufffd").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        wrapped = json.dumps({"text": text}, ensure_ascii=False)
        return JsonText(wrapped, meaning(wrapped), True)


def _whole(bits: int) -> Callable[[Any], int]:
    most = 1 << (bits - 1)

    def read(value: Any) -> int:
        if not isinstance(value, int) or not -most <= value < most:
            raise Unfit(f"is no whole number of {bits} bits")
        return value

    return read


def _reader(column: Any) -> Callable[[Any], Any]:
    match column.type:
        case Document():
            return _answer if column.nullable else document
        case Moment():
            return _moment
        case BigInteger():
            return _whole(64)
        case Integer():
            return _whole(32)
        case _:
            return _text
