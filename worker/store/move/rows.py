"""What is carried from one database to the other: rows by table, with those that belong to one return together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import SQLModel

from worker.store.move.values import Column, JsonText, Unfit, columns_of, meaning
from worker.store.tables import (
    ArchivedReturnRow,
    CarrierAccountRow,
    LabelRow,
    PackageRow,
    ReturnOrderRow,
    StatusTransitionRow,
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its columns; `owner` is the column that names the return its rows belong to."""

    name: str
    columns: Sequence[Column]
    owner: str

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [column.name for column in self.columns]


def _table(row: type[SQLModel], owner: str) -> Table:
    return Table(str(row.__tablename__), columns_of(row), owner)


ORDERS = _table(ReturnOrderRow, "id")
BELONGINGS = tuple(_table(row, "return_order_id") for row in (StatusTransitionRow, PackageRow, LabelRow))
ARCHIVE = _table(ArchivedReturnRow, "id")
TABLES = (ORDERS, *BELONGINGS, ARCHIVE)
"""What belongs to returns, so that a row comes after the one it refers to. An id is that of one return, which is either
in the archive or not."""

ACCOUNTS = _table(CarrierAccountRow, "name")

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row cannot be copied; it repeats no value but what the row is known by."""

    table: str
    key: int | str
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {self.key}: {self.reason}"


@dataclass(slots=True)
class Bundle:
    """Rows that are copied together, such as one return with its history, its packages and its labels."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def add(self, table: Table, values: Row) -> None:
        """Add a row as PostgreSQL is given it, or what is wrong with it."""
        row = []
        for column, value in zip(table.columns, values, strict=True):
            try:
                fitted = column.fit(value)
            except Unfit as error:
                self.problems.append(Problem(table.name, values[0], f"{column.name} {error}"))
                continue
            if isinstance(fitted, JsonText) and fitted.changed:
                self.changed.append(f"{table.name} {values[0]}: {column.name}")
            row.append(fitted)
        self.rows.setdefault(table.name, []).append(row)


def sent(row: Row) -> tuple[Any, ...]:
    """The values as the driver takes them."""
    return tuple(value.text if isinstance(value, JsonText) else value for value in row)


def same(row: Row, found: Iterable[Any]) -> bool:
    """Whether what the other database keeps is what it was given; of a document, whether it says the same."""
    return all(
        given.meaning == meaning(kept) if isinstance(given, JsonText) else given == kept
        for given, kept in zip(row, found, strict=True)
    )
