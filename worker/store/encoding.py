"""Refuses a database that cannot keep every text."""

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.failures import DatabaseUnusable

_ASKED = {POSTGRESQL: "SHOW server_encoding", SQLITE: "PRAGMA encoding"}
_WAY_OUT = {
    POSTGRESQL: "make a database by createdb --encoding=UTF8 --template=template0, and move this one's rows there",
    SQLITE: "make a new file, and move this one's tables there",
}


def require_utf8(connection: Connection) -> None:
    """Raise `DatabaseUnusable` where texts are not kept as UTF-8.

    `initdb` takes SQL_ASCII where the environment names no language (LANG=C). There, and in LATIN1 and its like, one
    letter that the encoding does not have makes a record fail, and with it the number of a creation
    (https://www.postgresql.org/docs/current/datatype-json.html). A SQLite file in UTF-16 takes no insert: the checks of
    its moments refuse each.
    """
    dialect = connection.dialect.name
    encoding = str(connection.execute(text(_ASKED[dialect])).scalar_one())
    if encoding not in ("UTF8", "UTF-8"):
        raise DatabaseUnusable(f"its encoding is {encoding}, and not UTF-8: {_WAY_OUT[dialect]}")
