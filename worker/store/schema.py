"""Says whether a database is older or newer than this code, and has it brought up to date.

The question is asked at every start and by every /readyz, so it does without Alembic, which only an upgrade imports.
"""

from enum import Enum
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.database import Database
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.encoding import require_utf8
from worker.store.migrating import Waiting, patiently

_HEAD = "head"  # what to migrate to; tests begin with an older one
_LOCK = 7_203_655_001  # any number that no other program on this database uses as advisory lock


class SchemaState(Enum):
    """How a database's schema stands to this code."""

    CURRENT = "current"
    MISSING = "missing"
    OLDER = "older"
    NEWER = "newer"


class SchemaMismatch(Exception):
    """The database's schema is not the one this version works with; the message says what to do."""


async def schema_state(database: Database) -> SchemaState:
    """Compare the database's revision with this code's."""
    async with database.reading() as connection:
        return await connection.run_sync(_state)


async def migrate(database: Database, waiting: Waiting | None = None) -> tuple[str | None, str]:
    """Apply what is missing, one worker at a time; returns the revision before and after.

    Raises `SchemaMismatch` when the database is newer than this code, `DatabaseRefused` when it cannot keep every text,
    `SchemaLocked` when others' locks take longer than `waiting` says.
    """

    async def change(connection: AsyncConnection) -> tuple[str | None, str]:
        await require_utf8(connection)
        if database.dialect == POSTGRESQL:
            await _be_the_one(connection)
        return await connection.run_sync(_upgrade)

    return await patiently(database, change, waiting or Waiting())


async def prepare_schema(connection: AsyncConnection) -> None:
    """Within a PostgreSQL transaction, make the schema where there is none; another one is not touched.

    Raises `SchemaMismatch` when it is older or newer than this code, `DatabaseRefused` when it cannot keep every text.
    """
    await require_utf8(connection)
    await _be_the_one(connection)
    state = await connection.run_sync(_state)
    if state is SchemaState.MISSING:
        await connection.run_sync(_upgrade)
    elif state is not SchemaState.CURRENT:
        remedy = "migrate it first" if state is SchemaState.OLDER else "upgrade this returns-worker first"
        raise SchemaMismatch(f"the schema of the other database is {state.value} than this returns-worker: {remedy}")


async def _be_the_one(connection: AsyncConnection) -> None:
    """Wait for whoever else migrates this database, until the transaction ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def require_current(database: Database) -> None:
    """Raise `SchemaMismatch` unless the schema is this code's."""
    state = await schema_state(database)
    if state is SchemaState.NEWER:
        raise SchemaMismatch(_NEWER)
    if state is not SchemaState.CURRENT:
        raise SchemaMismatch(f"the database's schema is {state.value}; run: returns-worker migrate")


_NEWER = "the database was made by a newer version of returns-worker; upgrade this worker, or use another database"


_MIGRATIONS = Path(__file__).parent / "migrations"
_HAS_VERSION = {  # in the schema of the search path, or in the file
    POSTGRESQL: "SELECT to_regclass('alembic_version') IS NOT NULL",
    SQLITE: "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'",
}


def _state(connection: Connection) -> SchemaState:
    current = _revision(connection)
    if current is None:
        return SchemaState.MISSING
    head, *older = _revisions()
    if current == head:
        return SchemaState.CURRENT
    return SchemaState.OLDER if current in older else SchemaState.NEWER


def _revision(connection: Connection) -> str | None:
    """What Alembic has noted in its table of one row (https://alembic.sqlalchemy.org/en/latest/tutorial.html)."""
    if not connection.execute(text(_HAS_VERSION[connection.dialect.name])).scalar_one():
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


@cache
def _revisions() -> tuple[str, ...]:
    """Every revision this code knows, the newest first, as the names of the migrations' files begin."""
    names = (file.name for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))
    return tuple(sorted((name.partition("_")[0] for name in names), reverse=True))


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    from worker.store.upgrade import upgrade  # noqa: PLC0415 - Alembic, a fifth of a start, for what is rarely needed

    if _state(connection) is SchemaState.NEWER:
        raise SchemaMismatch(_NEWER)
    before = _revision(connection)
    upgrade(connection, _MIGRATIONS, _HEAD)
    return before, str(_revision(connection))
