"""Which of the two databases it is, and what SQL says differently on each."""

from collections.abc import Iterable, Mapping
from typing import Final

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"

NOW: Final = {POSTGRESQL: "now()", SQLITE: "strftime('%Y-%m-%d %H:%M:%f', 'now')"}
"""The database's own time, as SQL; on PostgreSQL when the transaction began."""

CLOCK: Final = NOW | {POSTGRESQL: "clock_timestamp()"}
"""The same at this very moment, for what may have waited for a lock."""

LOCKED: Final = {POSTGRESQL: " FOR UPDATE", SQLITE: ""}
"""Locks the rows of a query until the transaction ends; SQLite has one writer."""

SKIP_LOCKED: Final = {POSTGRESQL: " FOR UPDATE SKIP LOCKED", SQLITE: ""}
"""The same, but for those that somebody else locks."""


def later(dialect: str, seconds: str, since: Mapping[str, str] = NOW) -> str:
    """So many seconds after the database's time; `seconds` is SQL for a number, such as a parameter."""
    if dialect == POSTGRESQL:
        return f"{since[dialect]} + make_interval(secs => {seconds})"
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds')"


def json_values(dialect: str, parameter: str) -> str:
    """The members of a parameter that is a JSON list, as rows with the column `value`; on PostgreSQL texts."""
    return (
        f"json_array_elements_text(CAST(:{parameter} AS json))" if dialect == POSTGRESQL else f"json_each(:{parameter})"
    )


def json_members(dialect: str, column: str, name: str) -> str:
    """The members of a JSON list that a column of text holds, as rows `name` with the column `value`."""
    if dialect == POSTGRESQL:
        return f"json_array_elements_text(CAST({column} AS json)) AS {name}(value)"
    return f"json_each({column}) AS {name}"


def json_rows(dialect: str, parameter: str, columns: Mapping[str, str], name: str) -> str:
    """The members of a parameter that is a JSON list of objects, as rows; `columns` with their types on PostgreSQL."""
    if dialect == POSTGRESQL:
        return f"json_to_recordset(CAST(:{parameter} AS json)) AS {name}({typed(columns)})"
    return f"(SELECT {extracted(columns)} FROM json_each(:{parameter})) AS {name}"


def typed(columns: Mapping[str, str]) -> str:
    """Columns with their types, as PostgreSQL is told what JSON holds."""
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def extracted(columns: Iterable[str], source: str = "value") -> str:
    """The members of a JSON object as columns, on SQLite."""
    return ", ".join(f"json_extract({source}, '$.{name}') AS {name}" for name in columns)


def among(dialect: str, parameter: str, kind: str) -> str:
    """What a column that is one of a parameter, a JSON list, is followed by; `kind` is its type on PostgreSQL.

    There it is an array: the planner cannot know how few they are, and would join with the whole table.
    """
    values = json_values(dialect, parameter)
    if dialect == POSTGRESQL:
        return f"= ANY (ARRAY(SELECT CAST(value AS {kind}) FROM {values} value))"
    return f"IN (SELECT value FROM {values})"


AMONG_IDS: Final = {dialect: among(dialect, "ids", "bigint") for dialect in NOW}
"""What a column that is one of `:ids`, a JSON list, is followed by."""
