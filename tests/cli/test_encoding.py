"""What `check` says of a database that cannot keep every text, or may not keep what it was told."""

import re
from pathlib import Path

import asyncpg
import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere, migrated, on_postgresql
from tests.postgres import PostgresServer


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_check_warns_of_a_database_that_cannot_keep_every_letter(
    folder: Path, postgres_server: PostgresServer, encoding: str
) -> None:
    url = postgres_server.create_database(encoding)
    elsewhere(migrated(url))
    configured(folder, f'[database]\nurl = "{url}"\n{ACCOUNTS}')
    done = called("check")
    assert done.exit_code == 0, done.output
    assert re.search(rf"warning +database: its encoding is {encoding}", done.stderr)
    assert "make a database with ENCODING 'UTF8'" in done.stderr
    postgres_server.drop_database(url)


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
