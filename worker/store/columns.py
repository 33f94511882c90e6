"""Columns: types that behave the same on PostgreSQL and SQLite, moments in UTC and JSON documents, and each table's."""

import json
import sys
from datetime import UTC, datetime
from typing import Any, overload

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import SQLModel

from worker.domain.documents import NestedTooDeeply, read_json

FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""A hold that only a person ends; the latest moment that both databases and Python can say."""


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime: `timestamptz`, on SQLite text `YYYY-MM-DD HH:MM:SS.fff`."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, `timestamptz` elsewhere."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """What the driver is given."""
        return bound(dialect.name, value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """What the driver gave."""
        moment: datetime | None = read_moment(value)
        return moment


class Document(TypeDecorator[Any]):
    """A JSON value: `jsonb`, on SQLite text."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Text on SQLite, `jsonb` elsewhere."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else JSONB())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """What the driver is given."""
        return json.dumps(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """What the driver gave."""
        return read_document(value) if isinstance(value, str) and dialect.name == "sqlite" else value


class UnreadableDocument(str):
    """A JSON document that Python cannot hold, as the text that it is; `why` says what is wrong with it."""

    why: str


def read_document(text: str) -> Any:
    """What a JSON document says, or an `UnreadableDocument`: one row must not break what is done with all."""
    try:
        return read_json(text)
    except ValueError as error:
        unreadable = UnreadableDocument(text)
        unreadable.why = why_unreadable(error)
        return unreadable


def why_unreadable(error: ValueError) -> str:
    """Why `read_json` failed, in words that say nothing of the document but where."""
    if isinstance(error, NestedTooDeeply):
        return str(error)
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    return f"it holds a number of more than {sys.get_int_max_str_digits():,} digits"


def sqlite_text(moment: datetime) -> str:
    """The one form of a moment on SQLite; text is compared as text, so there must be only one."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")


def bound(dialect: str, moment: datetime | None) -> Any:
    """A moment as the driver is given it."""
    return sqlite_text(moment) if moment is not None and dialect == "sqlite" else moment


@overload
def read_moment(value: datetime | str) -> datetime: ...
@overload
def read_moment(value: None) -> None: ...
def read_moment(value: datetime | str | None) -> datetime | None:
    """An aware datetime from what either driver returns."""
    if value is None:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def moment_if_any(value: datetime | str | None) -> datetime | None:
    """The same for what is counted or sorted over many rows: None also for what is no moment."""
    try:
        return read_moment(value)
    except ValueError:
        return None


_TYPES = ((Moment, "timestamptz"), (Document, "json"), (BigInteger, "bigint"), (Integer, "int"))


def columns_of(table: type[SQLModel]) -> list[Any]:
    """The table's columns, in its order."""
    return list(table.__table__.c)  # type: ignore[attr-defined]


def types_of(table: type[SQLModel], *left_out: str) -> dict[str, str]:
    """The table's columns but those that are left out, with the type that PostgreSQL is told when JSON holds them."""
    columns = {column.name: column.type for column in columns_of(table) if column.name not in left_out}
    return {name: next((said for kind, said in _TYPES if isinstance(of, kind)), "text") for name, of in columns.items()}
