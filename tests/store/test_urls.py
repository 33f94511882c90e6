"""Databases are named as their own tools name them."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import text

from tests.store.conftest import Open
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.schema import migrate, require_current


@pytest.fixture
def url() -> str:
    """Each test here names its own."""
    return ""


async def setting(database: Database, name: str) -> str:
    async with database.reading() as connection:
        return str((await connection.execute(text("SELECT current_setting(:name)"), {"name": name})).scalar_one())


async def test_every_usual_parameter_of_libpq_is_taken(postgres_url: str, opened: Open) -> None:
    parameters = (
        "sslmode=disable&connect_timeout=5&application_name=shop-returns&target_session_attrs=any"
        "&options=-c%20statement_timeout%3D12345%20-c%20work_mem%3D5MB"
        "&keepalives=1&keepalives_idle=30&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=1000"
        "&gssencmode=disable&channel_binding=prefer&client_encoding=utf8&fallback_application_name=x"
    )
    database = opened(f"{postgres_url}?{parameters}")
    await migrate(database)
    await require_current(database)
    assert await setting(database, "statement_timeout") == "12345ms"
    assert await setting(database, "work_mem") == "5MB"
    assert await setting(database, "application_name") == "shop-returns"


async def test_a_connection_says_whose_it_is_and_keeps_utc(postgres_url: str, opened: Open) -> None:
    database = opened(postgres_url)
    assert await setting(database, "application_name") == "returns-worker"
    assert await setting(opened(f"{postgres_url}?options=-ctimezone%3DAsia/Tokyo"), "timezone") == "UTC"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
async def test_both_schemes_are_taken(postgres_url: str, opened: Open, scheme: str) -> None:
    assert await setting(opened(f"{scheme}:{postgres_url.partition(':')[2]}"), "server_encoding") == "UTF8"


async def test_host_port_user_and_name_may_be_parameters(postgres_url: str, opened: Open) -> None:
    parts = urlsplit(postgres_url)
    name = parts.path.removeprefix("/")
    for url in (
        f"postgresql:///{name}?host={parts.hostname}&port={parts.port}&user={parts.username}",
        f"postgresql://?host={parts.hostname}&port={parts.port}&user={parts.username}&dbname={name}",
        f"postgresql://{parts.username}@127.0.0.1:1,{parts.hostname}:{parts.port}/{name}",
    ):
        assert await setting(opened(url), "server_encoding") == "UTF8"


async def test_a_password_may_hold_any_character(postgres_url: str, opened: Open) -> None:
    parts = urlsplit(postgres_url)
    password = quote("p@ss:w/o?r#d %+&='\"", safe="")
    url = f"postgresql://{parts.username}:{password}@{parts.hostname}:{parts.port}{parts.path}"
    assert await setting(opened(url), "server_encoding") == "UTF8"


@asynccontextmanager
async def socket_of(postgres_url: str) -> AsyncIterator[Path]:
    """A folder with a socket that leads to the server, as a server's own would be."""
    parts = urlsplit(postgres_url)
    folder = Path(tempfile.mkdtemp(prefix="rw-"))  # short: a socket's path has at most about 100 bytes
    piping: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(parts.hostname, parts.port)
        for task in (pipe(reader, server_writer), pipe(server_reader, writer)):
            piping.add(asyncio.ensure_future(task))

    server = await asyncio.start_unix_server(accept, folder / ".s.PGSQL.5432")
    try:
        yield folder
    finally:
        server.close()
        for task in piping:
            task.cancel()
        await asyncio.gather(*piping)
        await server.wait_closed()
        shutil.rmtree(folder)


async def test_a_socket_in_a_folder_is_reached(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    async with socket_of(postgres_url) as folder:
        encoded = quote(str(folder), safe="")
        for url in (
            f"postgresql://{parts.username}@/{parts.path[1:]}?host={folder}",
            f"postgresql:///{parts.path[1:]}?host={encoded}&user={parts.username}",
            f"postgresql://{parts.username}@{encoded}{parts.path}",
        ):
            database = Database(url)
            assert await setting(database, "server_encoding") == "UTF8"
            await database.close()


async def test_a_socket_that_is_not_there_is_an_outage(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable):
        await setting(opened(f"postgresql://x@/y?host={tmp_path}"), "server_encoding")


async def test_a_server_that_does_not_answer_is_an_outage_after_the_connect_timeout(opened: Open) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(8):
            with pytest.raises(DatabaseUnavailable):
                url = f"postgresql://x@127.0.0.1:{port}/y?connect_timeout=1&sslmode=disable"
                await setting(opened(url), "server_encoding")
    finally:
        server.close()


async def test_a_server_without_tls_is_refused_where_tls_is_required(postgres_url: str, opened: Open) -> None:
    with pytest.raises(DatabaseUnavailable, match="SSL"):
        await setting(opened(f"{postgres_url}?sslmode=require"), "server_encoding")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("plain.db", "plain.db"),
        ("with space.db", "with space.db"),
        ("with%20space.db", "with space.db"),
        ('o\'dd "x".db', 'o\'dd "x".db'),
        ("100%.db", "100%.db"),
        ("a%2520b.db", "a%20b.db"),
        ("q%3Fmode=ro", "q?mode=ro"),
        ("#1.db", "#1.db"),
    ],
)
async def test_a_file_may_have_any_name(tmp_path: Path, opened: Open, written: str, name: str) -> None:
    database = opened(f"sqlite:///{tmp_path}/{written}")
    await migrate(database)
    assert (tmp_path / name).is_file()
    assert database.path == tmp_path / name


async def test_a_relative_file_lies_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///returns.db")
    await migrate(database)
    await database.close()
    assert (tmp_path / "returns.db").is_file()
