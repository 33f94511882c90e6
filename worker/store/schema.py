"""Says whether a database is older or newer than this code, and has it brought up to date.

The question is asked at every start and by every /readyz, so it does without Alembic, which only an upgrade imports.
"""

from enum import Enum
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, exc, text

from worker.store.database import Database
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.failures import first_line, is_name_taken
from worker.store.fitness import require_utf8
from worker.store.ground import NoGround, make_room, require_sight
from worker.store.migrating import Waiting, patiently
from worker.store.transactions import reading
from worker.store.version import (
    VERSION_TABLE,
    asking,
    former_is_kept,
    is_anothers,
    keep_former,
    our_tables_stand,
    revision,
    take_over,
)

_HEAD = "head"  # what to migrate to; tests begin with an older one
_LOCK = 7_203_655_001  # any number that no other program on this database uses as advisory lock


class SchemaState(Enum):
    """How a database's schema stands to this code."""

    CURRENT = "current"
    MISSING = "missing"
    OLDER = "older"
    NEWER = "newer"
    UNCLEAR = "of no known version"


class SchemaMismatch(Exception):
    """The database's schema is not the one this version works with; the message says what to do."""


async def schema_state(database: Database) -> SchemaState:
    """Compare the database's revision with this code's; raises `DatabaseRefused` where the role cannot see it."""
    return await database.reading(_state_seen, database.schema)


def _state_seen(connection: Connection, schema: str | None) -> SchemaState:
    state = _state(connection)
    if state is SchemaState.MISSING:
        require_sight(connection, schema)
    return state


async def migrate(database: Database, waiting: Waiting | None = None) -> tuple[str | None, str]:
    """Apply what is missing, one worker at a time; returns the revision before and after.

    Raises `SchemaMismatch` when the database is newer than this code, or has no room for our tables, `DatabaseUnusable`
    when it cannot keep every text, `SchemaLocked` when others' locks take longer than `waiting` says.
    """

    def change(connection: Connection) -> tuple[str | None, str]:
        require_utf8(connection)
        _be_the_one(connection)
        return _upgrade(connection, database.schema)

    return await patiently(database, change, waiting or Waiting())


keeps_former_table = reading(former_is_kept)
"""Whether a current database still has the `alembic_version` of before, for older workers."""


def prepare_schema(connection: Connection, schema: str | None) -> None:
    """Within a PostgreSQL transaction, make the schema where there is none; another one is not touched.

    Raises `SchemaMismatch` when it is older or newer than this code, `DatabaseRefused` when it cannot keep every text.
    """
    require_utf8(connection)
    _be_the_one(connection)
    state = _state(connection)
    if state is SchemaState.MISSING:
        _upgrade(connection, schema)
    elif state is SchemaState.UNCLEAR:
        raise SchemaMismatch(UNKNOWN_VERSION)
    elif state is not SchemaState.CURRENT:
        remedy = "migrate it first" if state is SchemaState.OLDER else "upgrade this returns-worker first"
        raise SchemaMismatch(f"the schema of the other database is {state.value} than this returns-worker: {remedy}")


def _be_the_one(connection: Connection) -> None:
    """Wait for another that migrates this database, until the transaction ends; on SQLite each transaction does."""
    if connection.dialect.name == POSTGRESQL:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


async def require_current(database: Database) -> None:
    """Raise `SchemaMismatch` unless the schema is this code's."""
    state = await schema_state(database)
    if state is SchemaState.NEWER:
        raise SchemaMismatch(_NEWER)
    if state is SchemaState.UNCLEAR:
        raise SchemaMismatch(UNKNOWN_VERSION)
    if state is not SchemaState.CURRENT:
        raise SchemaMismatch(f"the database's schema is {state.value}; run: returns-worker migrate")


_NEWER = "the database was made by a newer version of returns-worker; upgrade this worker, or use another database"


UNKNOWN_VERSION = (
    "tables of returns-worker are here, and nothing says of which version: returns_worker_schema is missing, empty,"
    " hidden from this role, not ours, or has several rows; see `returns-worker check`, or put it back from a backup"
)
_NAME_TAKEN = "a name that returns-worker needs is taken ({}), and nothing was changed: keep its tables apart,"
_APART = {
    POSTGRESQL: 'in a schema of their own: database.schema = "returns" (copy-to: --schema)',
    SQLITE: "in a file of their own: database.url",
}


_MIGRATIONS = Path(__file__).parent / "migrations"


def _state(connection: Connection) -> SchemaState:
    current = _revision(connection)
    if current is None:
        there = our_tables_stand(connection.dialect.name, asking(connection))
        return SchemaState.UNCLEAR if there else SchemaState.MISSING
    head, *older = _revisions()
    if current == head:
        return SchemaState.CURRENT
    return SchemaState.OLDER if current in older else SchemaState.NEWER


def _revision(connection: Connection) -> str | None:
    return revision(connection.dialect.name, asking(connection))


@cache
def _revisions() -> tuple[str, ...]:
    """Every revision this code knows, the newest first, as the names of the migrations' files begin."""
    names = (file.name for file in (_MIGRATIONS / "versions").glob("[0-9]*.py"))
    return tuple(sorted((name.partition("_")[0] for name in names), reverse=True))


def _upgrade(connection: Connection, schema: str | None) -> tuple[str | None, str]:
    from worker.store.upgrade import upgrade  # noqa: PLC0415 - Alembic, a fifth of a start, for what is rarely needed

    state = _state(connection)
    if state is SchemaState.NEWER:
        raise SchemaMismatch(_NEWER)
    if state is SchemaState.UNCLEAR:
        raise SchemaMismatch(UNKNOWN_VERSION)
    before, dialect = _revision(connection), connection.dialect.name
    if before is None and is_anothers(dialect, asking(connection)):
        taken = f"table {VERSION_TABLE} already exists"
        raise SchemaMismatch(f"{_NAME_TAKEN.format(taken)} {_APART[dialect]}")
    try:
        make_room(connection, schema)
        taken_over = take_over(connection)
        upgrade(connection, _MIGRATIONS, _HEAD)
    except NoGround as error:
        raise SchemaMismatch(str(error)) from error
    except exc.DBAPIError as error:
        if is_name_taken(error):
            raise SchemaMismatch(f"{_NAME_TAKEN.format(first_line(error))} {_APART[dialect]}") from error
        raise
    after = str(_revision(connection))
    keep_former(connection, before, after, taken_over=taken_over)
    return before, after
