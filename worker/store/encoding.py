"""Says whether a database can keep every text."""

from sqlalchemy import text

from worker.store.database import Database
from worker.store.dialect import POSTGRESQL


async def limited_encoding(database: Database) -> str | None:
    """The encoding of a database that cannot keep every letter; None for UTF-8, which SQLite always has.

    `initdb` takes SQL_ASCII where the environment names no language (LANG=C): then JSON with a letter beyond ASCII is
    refused (https://www.postgresql.org/docs/current/datatype-json.html).
    """
    if database.dialect != POSTGRESQL:
        return None
    async with database.reading() as connection:
        encoding = str((await connection.execute(text("SHOW server_encoding"))).scalar_one())
    return None if encoding == "UTF8" else encoding
