"""The promises of the tests' own PostgreSQL."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.postgres import URL_VARIABLE, PostgresServer, _with_database

ours = pytest.mark.skipif(URL_VARIABLE in os.environ, reason="the server is not ours")


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_fresh_database_is_empty_and_speaks_utf8(postgres_url: str) -> None:
    assert await value(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    assert await value(postgres_url, "SHOW server_encoding") == "UTF8"
    assert await value(postgres_url, "SELECT 'é'") == "é"


async def test_each_database_is_its_own_and_can_be_had_inside_a_running_loop(
    postgres_server: PostgresServer,
) -> None:
    one, other = postgres_server.create_database(), postgres_server.create_database()
    try:
        await value(one, "CREATE TABLE only_here ()")
        assert await value(other, "SELECT to_regclass('only_here')") is None
    finally:
        postgres_server.drop_database(one)
        postgres_server.drop_database(other)


async def test_a_database_goes_away_even_while_somebody_is_connected(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    left_open = await asyncpg.connect(url)
    postgres_server.drop_database(url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await value(url, "SELECT 1")
    left_open.terminate()


def test_only_databases_of_the_tests_can_be_dropped(postgres_server: PostgresServer) -> None:
    with pytest.raises(AssertionError, match="not a database of the tests"):
        postgres_server.drop_database(postgres_server.url)


@ours
async def test_what_was_committed_survives_a_crash_on_the_same_port(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    witness = await asyncpg.connect(postgres_url)
    await witness.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postgres_server.restart_immediately()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await witness.fetchval("SELECT 1")
    assert await value(postgres_url, "SELECT answer FROM kept") == 42


@ours
def test_a_killed_test_process_leaves_no_server_and_no_folder() -> None:
    program = (
        "import sys; from tests.postgres import PostgresServer; server = PostgresServer.start();"
        "print(server.url, server._cluster._folder, flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        url, folder = other.stdout.readline().split()
        assert Path(folder).is_dir()
        other.kill()
    deadline = time.monotonic() + 20
    while Path(folder).exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40@db:5433/main?sslmode=require", "postgresql://u:p%40@db:5433/x?sslmode=require"),
        ("postgresql:///main?host=/run/postgresql", "postgresql:///x?host=/run/postgresql"),
        ("postgresql://localhost", "postgresql://localhost/x"),
    ],
)
def test_the_rest_of_the_url_is_kept(url: str, expected: str) -> None:
    assert _with_database(url, "x") == expected
