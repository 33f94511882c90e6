"""Databases are named as their own tools name them."""

import asyncio
import contextlib
import os
import secrets
import shutil
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from tests.postgres import PostgresServer
from tests.store.conftest import Open
from worker.store.database import Database
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.hints import watch
from worker.store.schema import migrate, require_current


@pytest.fixture
def url() -> str:
    """Each test here names its own."""
    return ""


async def setting(database: Database, name: str) -> str:
    asking = text("SELECT current_setting(:name)").bindparams(name=name)
    return str(await database.reading(lambda connection: connection.execute(asking).scalar_one()))


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


PASSWORDS = ("p@ss:w/o?r#d %+&='\"", "a+b#[::1];,|\\", "50%25 100%", "é€😀")


@pytest.fixture(scope="module")
def role(postgres_server: PostgresServer) -> str:
    """One that gets in by its password alone."""
    name = f"returns_worker_test_{secrets.token_hex(4)}"
    postgres_server.ask_for_password(name)
    return name


@pytest.mark.parametrize("password", PASSWORDS)
async def test_a_password_may_hold_any_character(
    postgres_server: PostgresServer, opened: Open, role: str, password: str
) -> None:
    parts = urlsplit(postgres_server.url)
    owner = await asyncpg.connect(postgres_server.url)
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD $odd${password}$odd$")
    place = f"{parts.hostname}:{parts.port}{parts.path}"
    try:
        urls = [f"postgresql://{role}:{quote(password, safe=safe)}@{place}" for safe in ("", "+#[]&=;,:'\"|\\")]
        urls.append(f"postgresql://{place}?user={role}&password={quote(password, safe='+#[]:/?@')}")
        for url in urls:
            assert await setting(opened(url), "server_encoding") == "UTF8"
        assert with_psql(urls[1], "SELECT 1") in {"1", None}
        with pytest.raises(DatabaseRefused, match="password authentication failed"):
            await setting(opened(f"postgresql://{role}:wrong@{place}"), "server_encoding")
    finally:
        await owner.execute(f"DROP ROLE {role}")
        await owner.close()


def with_psql(url: str, question: str, **environ: str) -> str | None:
    """What psql answers; None where there is none."""
    if shutil.which("psql") is None:
        return None
    command = ["psql", url, "--no-psqlrc", "--tuples-only", "--no-align", "--command", question]
    environ = {"PATH": os.defpath, "PGCONNECT_TIMEOUT": "5"} | environ
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ, timeout=30)
    return done.stdout.strip()


@pytest.mark.parametrize(
    "parameters",
    [
        "hostaddr=127.0.0.1",
        "options=-c%20work_mem%3D7MB&sslcompression=0&sslsni=1&requirepeer=&load_balance_hosts=random&require_auth=",
        "application_name=a%20b%2Bc",
        "service=shop",
        "target_session_attrs=read-write",
    ],
)
async def test_a_connection_is_the_one_that_psql_makes(
    postgres_server: PostgresServer, opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: str
) -> None:
    parts = urlsplit(postgres_server.url)
    (tmp_path / "services").write_text("[shop]\noptions=-c work_mem=9MB\nhost=wrong\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=8MB")
    host = "no.such.host.invalid" if "hostaddr" in parameters else parts.hostname
    url = f"postgresql://{parts.username}@{host}:{parts.port}{parts.path}?{parameters}"
    question = "SELECT current_user || current_database() || current_setting('work_mem')"
    if "application_name" in parameters:
        question += " || current_setting('application_name')"
    answer = str(await opened(url).reading(lambda connection: connection.execute(text(question)).scalar_one()))
    known = "&".join(each for each in parameters.split("&") if not each.startswith(("load_balance", "require_auth")))
    said = with_psql(
        url.replace(parameters, known), question, PGSERVICEFILE=str(tmp_path / "services"), PGOPTIONS="-c work_mem=8MB"
    )
    assert said in {answer, None}


@pytest.mark.parametrize("options", ["-c bogus_setting=1", "-c work_mem=lots", "-Z"])
async def test_an_option_that_the_server_does_not_take_is_no_outage(
    postgres_server: PostgresServer, opened: Open, options: str
) -> None:
    with pytest.raises(DatabaseRefused):
        await setting(opened(f"{postgres_server.url}?options={quote(options)}"), "server_encoding")


async def test_a_changed_password_file_is_taken_up_by_the_next_connection(
    postgres_server: PostgresServer, opened: Open, role: str, tmp_path: Path
) -> None:
    parts, file = urlsplit(postgres_server.url), tmp_path / "pass"
    file.touch(0o600)
    owner = await asyncpg.connect(postgres_server.url)
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'first'")
    database = opened(f"postgresql://{role}@{parts.hostname}:{parts.port}{parts.path}?passfile={file}")
    try:
        for password in ("first", "sec#nd"):
            await owner.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
            file.write_text(f"*:*:*:*:{password}\n")
            assert await setting(database, "server_encoding") == "UTF8"
            await database.close()
        file.unlink()
        with pytest.raises(DatabaseRefused, match=r"^database\.url: .*/pass: cannot be read"):
            await setting(database, "server_encoding")
        with pytest.raises(DatabaseRefused):
            database.connecting(" (wake)")
    finally:
        await owner.execute(f"DROP ROLE {role}")
        await owner.close()


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


async def test_no_server_of_the_kind_that_is_asked_for_is_an_outage(postgres_url: str, opened: Open) -> None:
    """In a failover there is none for a while that writes, or none that follows."""
    database = opened(f"{postgres_url}?target_session_attrs=standby")
    with pytest.raises(DatabaseUnavailable, match="None of the hosts match"):
        await setting(database, "server_encoding")
    lost = asyncio.Event()
    listening = asyncio.create_task(watch(database, lambda: None, lambda: 0, lambda *_: lost.set()))
    await asyncio.wait_for(lost.wait(), 8)
    assert not listening.done()
    listening.cancel()


async def test_a_server_that_asks_for_a_login_that_the_driver_has_not_is_an_outage(opened: Open) -> None:
    """As one that asks for Kerberos, or whatever stands in its place."""

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(struct.pack("!cii", b"R", 8, 7))  # AuthenticationGSS
        await reader.read()
        writer.close()

    server = await asyncio.start_server(ask, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(DatabaseUnavailable, match="authentication"):
            await setting(opened(f"postgresql://x@127.0.0.1:{port}/y?sslmode=disable"), "server_encoding")
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
