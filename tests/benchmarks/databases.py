"""Databases with a million rows in seconds: each kind is filled once, and copied for each run that changes it."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from tests.benchmarks.rows import Rows, fill
from tests.postgres import PostgresServer
from tests.store.shop import Shop
from worker.store.database import Database
from worker.store.schema import migrate

POSTGRESQL, SQLITE = "postgresql", "sqlite"


class Databases:
    """A private PostgreSQL and a folder of SQLite files, gone at the end."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._filled: dict[tuple[str, Rows], str] = {}
        self._copies = 0

    @classmethod
    @contextmanager
    def private(cls, folder: Path) -> Iterator["Databases"]:
        """Start the server, stop it at the end."""
        server = PostgresServer.start()
        try:
            yield cls(server, folder)
        finally:
            server.stop()
            for file in folder.glob("*.db*"):
                file.unlink()

    @contextmanager
    def copy(self, kind: str, rows: Rows) -> Iterator[str]:
        """The URL of a database with these rows, for one run alone."""
        filled = self.filled(kind, rows)
        self._copies += 1
        if kind == SQLITE:
            file = self._folder / f"copy-{self._copies}.db"
            shutil.copyfile(filled.removeprefix("sqlite:///"), file)
            try:
                yield f"sqlite:///{file}"
            finally:
                for name in self._folder.glob(f"{file.name}*"):
                    name.unlink()
            return
        name = filled.rpartition("/")[2]
        copied = f"{name}_{self._copies}"
        self.execute(f"CREATE DATABASE {copied} TEMPLATE {name} STRATEGY file_copy")
        try:
            yield filled.replace(name, copied)
        finally:
            self.execute(f"DROP DATABASE {copied} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """One statement as the server's superuser."""

        async def execute() -> None:
            connection = await asyncpg.connect(self._server.url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(execute())

    def set(self, name: str, value: str) -> None:
        """Change a setting of the server that needs no restart."""
        self.execute(f"ALTER SYSTEM SET {name} = {value}")
        self.execute("SELECT pg_reload_conf()")

    def forget(self, kind: str, rows: Rows) -> None:
        """Drop what a big figure has filled, to leave its room on the disk to the next."""
        filled = self._filled.pop((kind, rows), None)
        if filled is None:
            return
        if kind == SQLITE:
            Path(filled.removeprefix("sqlite:///")).unlink()
        else:
            self._server.drop_database(filled)

    def filled(self, kind: str, rows: Rows) -> str:
        """The URL of the database with these rows, for runs that change nothing, or mend what they changed."""
        if (kind, rows) not in self._filled:
            if kind == SQLITE:
                url = f"sqlite:///{self._folder}/filled-{len(self._filled)}.db"
            else:
                url = self._server.create_database()
            asyncio.run(_filled(url, rows))
            self._filled[kind, rows] = url
        return self._filled[kind, rows]


async def _filled(url: str, rows: Rows) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()
    async with Shop.at(url) as shop:
        await fill(shop, rows)
        await shop.run("UPDATE database_place SET place = NULL")  # a copy of it is no database that was restored
        if shop.sqlite:  # one file that can be copied
            await shop.run("PRAGMA wal_checkpoint(TRUNCATE)")
