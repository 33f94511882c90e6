"""What `check` says of a database that cannot keep every text, or may not keep what it was told."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere, on_postgresql, on_sqlite
from tests.postgres import PostgresServer
from tests.process.running import typed


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def elsewhere_encoded(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[str]:
    """A database as `initdb` makes it where the environment names no UTF-8: LANG=C, or an old Latin-1."""
    url = postgres_server.create_database(encoding=request.param)
    yield url
    postgres_server.drop_database(url)


def test_a_database_that_has_not_every_letter_is_refused_with_the_way_out(folder: Path, elsewhere_encoded: str) -> None:
    """There a letter of a carrier's answer cost the number of the creation."""
    configured(folder, f'[database]\nurl = "{elsewhere_encoded}"\n{ACCOUNTS}')
    for command in ("migrate", "check"):
        done = called(command)
        assert done.exit_code == 78, done.output
        assert "its encoding is " in done.stderr
        assert "createdb --encoding=UTF8 --template=template0" in done.stderr


async def test_no_worker_starts_on_one(folder: Path, postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("SQL_ASCII")
    code, _, errors = await typed(configured(folder, f'[database]\nurl = "{url}"\n{ACCOUNTS}'), "run")
    assert code == 78, errors
    assert "its encoding is SQL_ASCII" in errors
    postgres_server.drop_database(url)


def test_a_sqlite_file_in_utf_16_is_refused_too(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "returns.db")) as connection:
        connection.executescript("PRAGMA encoding = 'UTF-16le'; CREATE TABLE somebodys (id)")
    configured(folder, f'[database]\nurl = "sqlite:///{folder}/returns.db"\n{ACCOUNTS}')
    for command in ("migrate", "check"):
        done = called(command)
        assert done.exit_code == 78, done.output
        assert "its encoding is UTF-16le" in done.stderr


@on_sqlite
def test_nothing_is_copied_to_one_and_the_file_stays_in_use(
    folder: Path, filled_url: str, elsewhere_encoded: str
) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    done = called("copy-to", elsewhere_encoded)
    assert done.exit_code == 78, done.output
    assert "the SQLite file is in use as before" in done.stderr
    assert "its encoding is " in done.stderr


@on_postgresql
def test_check_says_nothing_of_one_that_can(folder: Path, filled_url: str) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    assert "encoding" not in called("check").stderr


@on_postgresql
def test_check_warns_of_a_server_that_may_forget_what_it_was_told(folder: Path, filled_url: str) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    off = elsewhere(_fsync_is_off(filled_url))
    assert ("database: fsync is off" in called("check").stderr) == off


async def _fsync_is_off(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT current_setting('fsync') = 'off'"))
    finally:
        await connection.close()
