"""What is copied: tables and columns, and the value that PostgreSQL is given for one of SQLite, or why it takes none.

SQLite keeps whatever it is given. PostgreSQL knows no NUL character and no bytes that are not UTF-8, and `jsonb` takes
neither `\\u0000` nor half a surrogate pair (https://www.postgresql.org/docs/current/datatype-json.html). In a JSON
document each becomes U+FFFD. That is what the worker reads for bytes that are not UTF-8, and it refuses a payload with
that, and with any of the others, before anything is sent. Elsewhere they may be what something is known by: refused.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Boolean, Integer
from sqlmodel import SQLModel

from worker.domain.documents import NestedTooDeeply, read_json
from worker.store import tables
from worker.store.columns import Document, Moment, columns_of, read_moment
from worker.store.news_tables import NewsSubscriberRow, ReturnEventRow, WebhookEventRow, WebhookMissedRow

_UNDECODABLE = re.compile("[\udc80-\udcff]")  # bytes as `surrogateescape` reads them
# What jsonb takes, a whole pair or any other escape, is group 1: it hides what comes after an escaped backslash.
_ESCAPE = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\[^u])|\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_DEEPEST = 2_000  # SQLite's JSON_MAX_DEPTH
_CALLS = 10_000  # a level of a document takes up to three of them
_REPLACEMENT = "\\ufffd"

Row = Sequence[Any]


class Unfit(ValueError):
    """PostgreSQL takes no such value; the message says what is wrong with it, and does not repeat it."""


class JsonText(str):
    """A JSON document as it is sent; what it says, and whether it had to be changed."""

    meaning: Any
    changed: bool


@dataclass(frozen=True, slots=True)
class Fitted:
    """Rows as PostgreSQL is given them, what is wrong with others, and which documents had to be changed.

    What is said of a row repeats no value but what the row is known by.
    """

    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


class Table:
    """A table that is copied; the first of its columns is its key."""

    def __init__(self, row: type[SQLModel]) -> None:
        columns = columns_of(row)
        self.name = str(row.__tablename__)
        self.columns = [column.name for column in columns]
        self.documents = [number for number, column in enumerate(columns) if isinstance(column.type, Document)]
        self._plain = itemgetter(*(number for number in range(len(columns)) if number not in self.documents))
        self._readers = [_reader(column) for column in columns]

    def fitted(self, rows: Sequence[Row]) -> Fitted:
        """Rows that were read from SQLite, for PostgreSQL."""
        found = Fitted()
        for row in rows:
            try:
                fitted: Row = [v if v is None else read(v) for read, v in zip(self._readers, row, strict=True)]
            except Unfit:
                found.problems.extend(self._problems(row))
                continue
            found.rows.append(fitted)
            for number in self.documents:
                if fitted[number] is not None and fitted[number].changed:
                    found.changed.append(self.said(row, self.columns[number]))
        return found

    def same(self, fitted: Row, kept: Row) -> bool:
        """Whether what PostgreSQL keeps is what it was given; of documents, whether they say the same."""
        return self._plain(fitted) == self._plain(kept) and all(
            meaning(kept[number]) == fitted[number].meaning if fitted[number] is not None else kept[number] is None
            for number in self.documents
        )

    def said(self, row: Row, what: str) -> str:
        """A line about a row."""
        return f"{self.name} {row[0]}: {what}"

    def _problems(self, row: Row) -> Iterator[str]:
        for column, read, value in zip(self.columns, self._readers, row, strict=True):
            try:
                if value is not None:
                    read(value)
            except Unfit as error:
                yield self.said(row, f"{column} {error}")


def document(text: Any) -> JsonText:
    """A JSON document as `jsonb` keeps it; raises `Unfit`."""
    if not isinstance(text, str):
        raise Unfit("is no text")
    kept = _ESCAPE.sub(lambda escape: escape[1] or _REPLACEMENT, text) if "\\" in text else text
    read = JsonText(kept.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    try:
        read.meaning, read.changed = meaning(read), read != text
    except NestedTooDeeply:
        raise Unfit("is nested too deeply") from None
    except ValueError:
        raise Unfit("is not JSON") from None
    return read


def meaning(text: str) -> Any:
    """What a JSON document says, so that two spellings of it can be compared; numbers as they are, not as floats."""
    return read_json(text, _DECODER, _DEEPEST)


@contextmanager
def as_deep_as_sqlite() -> Iterator[None]:
    """Reads and compares what SQLite takes for JSON: it is nested 2,000 deep at most."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _CALLS))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant)


def _answer(value: Any) -> JsonText:
    """What a carrier answered is only kept to be looked at: what is no JSON is kept as text, as the worker does."""
    try:
        return document(value)
    except Unfit:
        wrapped = document(json.dumps({"text": str(value).replace("\x00", "\ufffd")}, ensure_ascii=False))
        wrapped.changed = True
        return wrapped


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit("is no text")
    if "\x00" in value:
        raise Unfit("holds a NUL character")
    if _UNDECODABLE.search(value):
        raise Unfit("holds bytes that are not UTF-8")
    return value


def _moment(value: Any) -> Any:
    try:
        return read_moment(_text(value))
    except ValueError:
        raise Unfit("is no moment") from None


def _whole(bits: int, value: Any) -> int:
    if not isinstance(value, int) or not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Unfit(f"is no whole number of {bits} bits")
    return value


def _yes_or_no(value: Any) -> bool:
    if value not in (0, 1):
        raise Unfit("is neither true nor false")
    return bool(value)


def _reader(column: Any) -> Callable[[Any], Any]:
    match column.type:
        case Document():
            return _answer if column.nullable else document
        case Moment():
            return _moment
        case Boolean():
            return _yes_or_no
        case Integer():
            return partial(_whole, 64 if isinstance(column.type, BigInteger) else 32)
    return _text


ORDERS = Table(tables.ReturnOrderRow)
BELONGINGS = tuple(Table(row) for row in (tables.StatusTransitionRow, tables.PackageRow, tables.LabelRow))
NEWS = tuple(Table(row) for row in (ReturnEventRow, WebhookEventRow, WebhookMissedRow))
SHARED = (Table(tables.CarrierAccountRow), Table(NewsSubscriberRow))
"""What a worker that was started there has made rows of, by their names; what is copied takes their place."""
TABLES = (ORDERS, *BELONGINGS, Table(tables.ArchivedReturnRow), *SHARED, *NEWS)
"""In an order in which a row comes after the one it refers to."""
