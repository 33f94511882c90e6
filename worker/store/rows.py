"""What the tables say of their columns, so that no statement lists them again."""

from typing import Any

from sqlalchemy import BigInteger, Integer
from sqlmodel import SQLModel

from worker.store.columns import Document, Moment

_TYPES = ((Moment, "timestamptz"), (Document, "json"), (BigInteger, "bigint"), (Integer, "int"))


def columns_of(table: type[SQLModel]) -> list[Any]:
    """The table's columns, in its order."""
    return list(table.__table__.c)  # type: ignore[attr-defined]


def types_of(table: type[SQLModel], *left_out: str) -> dict[str, str]:
    """The table's columns but those that are left out, with the type that PostgreSQL is told when JSON holds them."""
    columns = {column.name: column.type for column in columns_of(table) if column.name not in left_out}
    return {name: next((said for kind, said in _TYPES if isinstance(of, kind)), "text") for name, of in columns.items()}
