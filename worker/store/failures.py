"""Which errors mean that a database is away for now, refuses, or has a locked row, whatever its driver calls them."""

import sqlite3

import asyncpg
from sqlalchemy import exc

from worker.domain.masking import said_by
from worker.dsn import BadUrl

# https://sqlite.org/rescode.html: another process writes, the disk fails or is full, the file is not there, time is up
_SQLITE_OUTAGES = tuple(
    f"SQLITE_{name}" for name in ("BUSY", "LOCKED", "IOERR", "FULL", "CANTOPEN", "READONLY", "PROTOCOL", "INTERRUPT")
)


# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, roll-back, insufficient resources,
# operator intervention, system error; and one code: the server has become a standby.
_POSTGRESQL_OUTAGES = ("08", "40", "53", "57", "58", "25006")
_LOCKED = "55P03"  # lock_not_available
_DEADLOCK = "40P01"

# Of the same list: a trigger that failed, a constraint, data changed beside a trigger, a view's rule; what a function
# raises (P0, or as the standard has it 45); and of the row itself, a value that does not fit and a limit.
_BY_A_RULE = ("09", "23", "27", "44", "45", "P0")
_OF_A_ROW = (*_BY_A_RULE, "22", "54")
_UNIQUE = "23505"  # unique_violation
_ARCHIVED = "has archived a return of this"  # what our own trigger says, which on SQLite has no code of its own

# https://www.pgbouncer.org/features.html: in transaction mode the next statement may run on another server connection,
# which knows no statement of this name, or another one's.
_UNKNOWN_STATEMENT = ("26000", "42P05")
_BEHIND_A_POOLER = "behind a transaction-mode pooler such as PgBouncer, set database.pooler = true"


class DatabaseUnavailable(Exception):
    """The database is away, locked, full or restarting: wait and try again."""


class DatabaseRefused(DatabaseUnavailable):
    """The database is there and will not let us work: no rights, or no database at all. A person has to act."""


class DatabaseUnusable(DatabaseRefused):
    """What is there, or how we ask for it, will never do: no SQLite database, one that is not whole, a wrong option."""


class RowLocked(DatabaseUnavailable):
    """Somebody's open transaction locks the row, for longer than it was worth waiting: the database itself is well."""


class DatabaseReplaced(DatabaseUnavailable):
    """Another file has taken the place of the SQLite file that is open: what is written to it would be lost."""


_SQLITE_UNUSABLE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
# No rights on a table (42501), no such role or password, no such database.
_SQLITE_REFUSALS = ("SQLITE_AUTH", "SQLITE_PERM")
_READ_ONLY = ("SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY")  # whole names: others of them pass, as a recovery does
_POSTGRESQL_REFUSALS = ("42501", "28", "3D000")
_NO_RIGHT = "42501"  # insufficient_privilege
_ROLES = (
    "after each `migrate`, deploy/sql/roles.sql has to be run; 'Roles on PostgreSQL' in docs/operate/database.md has"
    " what each role may"
)
_MISTAKES_AT_LOGIN = ("22", "42")  # a setting that the URL's options ask for, and that there is not, or not so
# duplicate_table (for a view, an index and a sequence too), duplicate_object (a type), duplicate_function
_NAME_TAKEN = ("42P07", "42710", "42723")
_SQLITE_NAME_TAKEN = (" already exists", "there is already ")
_MOVED = "have moved to another database"  # what the triggers of a SQLite file say that was moved away from


class translated:  # noqa: N801  a context manager reads as a verb
    """Raises what says that the database is away, refuses, or has a locked row, instead of the driver's errors."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            return
        if isinstance(error, BadUrl):
            raise DatabaseUnusable(f"database.url: {error}") from None
        if _sqlstate(error) == _LOCKED:
            raise RowLocked(first_line(error)) from error
        if _is_unusable(error):
            raise DatabaseUnusable(first_line(error)) from error
        if _is_refusal(error):
            raise DatabaseRefused(first_line(error)) from error
        if _is_outage(error):
            raise DatabaseUnavailable(first_line(error)) from error


def is_locked(error: DatabaseUnavailable) -> bool:
    """Whether what was in the way is somebody's open transaction: a lock waited for too long, or for each other."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    if isinstance(cause, sqlite3.Error):
        return str(getattr(cause, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    return getattr(cause, "sqlstate", None) in (_LOCKED, _DEADLOCK)


def _is_unusable(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "").startswith(_SQLITE_UNUSABLE) or _MOVED in str(cause)
    state = _sqlstate(error)
    return _is_at_login(error) and state != _NO_RIGHT and state.startswith(_MISTAKES_AT_LOGIN)


def _is_at_login(error: BaseException) -> bool:
    return isinstance(error, asyncpg.PostgresError) or (isinstance(error, exc.DBAPIError) and error.statement is None)


def _is_refusal(error: BaseException) -> bool:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "")
        return name.startswith(_SQLITE_REFUSALS) or name in _READ_ONLY
    return _sqlstate(error).startswith(_POSTGRESQL_REFUSALS)


def is_name_taken(error: exc.DBAPIError) -> bool:
    """Whether something could not be made because another thing has its name."""
    if isinstance(error.orig, sqlite3.Error):
        return any(words in str(error.orig) for words in _SQLITE_NAME_TAKEN)
    return _sqlstate(error) in _NAME_TAKEN


def _sqlstate(error: BaseException) -> str:
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or "")


def _is_outage(error: BaseException) -> bool:
    """Whether `error` is about the database's availability and not about what we asked of it."""
    if isinstance(error, (OSError, TimeoutError, exc.TimeoutError, exc.InterfaceError)):
        return True
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorname", "").startswith(_SQLITE_OUTAGES)
    if isinstance(error, asyncpg.PostgresError):
        return True  # raised outside a statement: while connecting
    if isinstance(error, exc.DBAPIError):
        # A plan that a migration of another worker made invalid: the driver forgets it, and the next try has a new one.
        cause = getattr(error.orig, "__cause__", None)
        if error.connection_invalidated or isinstance(cause, asyncpg.InvalidCachedStatementError):
            return True
        state = _sqlstate(error)
        while_connecting = error.statement is None and state != "" and not state.startswith(_BY_A_RULE)  # else a commit
        return while_connecting or state.startswith(_POSTGRESQL_OUTAGES + _UNKNOWN_STATEMENT)
    return False


def refusal_of(error: BaseException) -> str | None:
    """What the database has against a row: a rule, be it somebody else's, or a value; None: it is about something else.

    Rules are constraints and what triggers raise. Some are asked only when a transaction commits.
    """
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    against = isinstance(cause, (sqlite3.IntegrityError, sqlite3.DataError)) or _sqlstate(error).startswith(_OF_A_ROW)
    return first_line(error) if against else None


def is_taken(error: BaseException) -> bool:
    """Whether another row, archived or not, has what must be there once."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    unique = getattr(cause, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_UNIQUE" or _ARCHIVED in str(cause)
    return unique or _sqlstate(error) == _UNIQUE


def first_line(error: BaseException) -> str:
    """What the database said, without details, which may quote a row."""
    cause = error.orig if isinstance(error, exc.DBAPIError) and error.orig else error
    line = said_by(str(cause).strip().partition("\n")[0]) or type(cause).__name__
    state = _sqlstate(error)
    what_to_do = _BEHIND_A_POOLER if state in _UNKNOWN_STATEMENT else _ROLES if state == _NO_RIGHT else None
    return f"{line}: {what_to_do}" if what_to_do else line
