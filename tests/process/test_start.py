"""A start waits for its database, whatever that still lacks, and whenever in the midst of it a connection is cut."""

import asyncio
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.postgres import PostgresServer
from tests.process.nursery import nursery
from tests.process.running import RunningWorker, until
from tests.process.shop import Shop
from tests.proxy import Proxy
from worker.app import Application
from worker.settings import load
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.schema import SchemaMismatch
from worker.telemetry.logs import Redactor

Start = Callable[..., RunningWorker]


async def starts(config: Path, **environ: str) -> None:
    """Start all of a worker in this process, and stop it."""
    application = Application(load(config, environ, need_keys=True), Redactor())
    try:
        await application.start()
    finally:
        await application.stop()


async def questions_of(config: Path, url: str) -> int:
    async with cut(config, url, 0) as (proxy, its_config):
        await starts(its_config)
        return proxy.asked


class cut:  # noqa: N801
    """A proxy before a database that cuts every connection at this question, and a configuration that names it."""

    def __init__(self, config: Path, url: str, at: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._config, self._at, self._url = config, at, url
        self._port, self._proxy = parts.port, Proxy(parts.hostname, parts.port)

    async def __aenter__(self) -> tuple[Proxy, Path]:
        await self._proxy.__aenter__()
        self._proxy.cut_at = self._at
        config = self._config.with_name(f"{secrets.token_hex(4)}.toml")
        text = self._config.read_text()
        (url,) = (line for line in text.splitlines() if line.startswith("url = "))
        through = self._url.replace(f":{self._port}/", f":{self._proxy.port}/")
        config.write_text(text.replace(url, f'url = "{through}"').replace('wait = "2s"', 'wait = "30s"'))
        return self._proxy, config

    async def __aexit__(self, *error: object) -> None:
        await self._proxy.__aexit__(*error)


async def goes_on(config: Path, url: str, numbers: Iterable[int]) -> None:
    async def one(number: int) -> None:
        async with cut(config, url, number) as (proxy, its_config):
            await starts(its_config)
            assert proxy.asked >= number

    await asyncio.gather(*(one(number) for number in numbers))


@on_postgresql
async def test_a_start_that_is_cut_off_in_the_midst_goes_on_and_gets_there(
    config: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    questions = await questions_of(config, database_url)
    assert questions > 30
    numbers = range(1, questions - 8, 6)  # the last ones are the listener's and the end's
    await goes_on(config, database_url, numbers)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []  # no library's traces


@pytest.mark.long
@on_postgresql
async def test_a_start_that_is_cut_off_at_any_question_of_all_goes_on_and_gets_there(
    config: Path, database_url: str
) -> None:
    questions = await questions_of(config, database_url)
    for first in range(1, questions + 1, 5):
        numbers = range(first, min(first + 5, questions + 1))
        await goes_on(config, database_url, numbers)


@pytest.mark.long
@on_postgresql
async def test_a_start_that_is_cut_off_while_it_migrates_goes_on_and_gets_there(
    config: Path, postgres_server: PostgresServer
) -> None:
    number, questions = 0, 1
    while number < questions:  # one at a time: Alembic knows one migration in a process
        url = postgres_server.create_database()
        try:
            if not number:
                questions = await questions_of(config, url)
            else:
                await goes_on(config, url, [number])
        finally:
            postgres_server.drop_database(url)
        number += 7
    assert questions > 150


@pytest.fixture
def later(config: Path, postgres_server: PostgresServer) -> Iterator[tuple[str, str]]:
    """The names of a role and a database that the settings name and nobody has made yet."""
    role, name = (f"returns_worker_test_{secrets.token_hex(6)}" for _ in range(2))
    parts = urlsplit(postgres_server.url)
    text = config.read_text()
    (url,) = (line for line in text.splitlines() if line.startswith("url = "))
    there = f'url = "postgresql://{role}@{parts.hostname}:{parts.port}/{name}"'
    config.write_text(text.replace(url, there))
    yield role, name
    postgres_server.drop_database(f"postgresql://x/{name}")
    asyncio.run(Shop(postgres_server.url).execute(f"DROP ROLE IF EXISTS {role}"))


@on_postgresql
async def test_a_role_and_a_database_that_come_later_are_waited_for(
    start: Start, later: tuple[str, str], postgres_server: PostgresServer
) -> None:
    role, name = later
    server = Shop(postgres_server.url)
    worker = start(RETURNS_WORKER_DATABASE__WAIT="60s")

    def refusals() -> list[str]:
        return [line["error"] for line in worker.events if line["event"] == "database_refuses"]

    await until(refusals, 10, lambda: worker.log_text)
    await server.execute(f"CREATE ROLE {role} LOGIN")
    await until(lambda: len(refusals()) == 2, 10, lambda: worker.log_text)
    await server.execute(f"CREATE DATABASE {name} OWNER {role}")
    await worker.ready()
    said = refusals()
    assert f'role "{role}" does not exist' in said[0]
    assert f'database "{name}" does not exist' in said[1]
    assert worker.saw("database_refuses")["hint"].startswith("make the database or the role")  # type: ignore[index]
    assert worker.saw("database_back")
    assert await worker.stopped() == 0


@on_postgresql
async def test_migrate_waits_for_a_role_and_a_database_too(
    config: Path, later: tuple[str, str], postgres_server: PostgresServer, tmp_path: Path
) -> None:
    role, name = later
    errors = tmp_path / "errors"
    errors.touch()
    patient = {"RETURNS_WORKER_DATABASE__WAIT": "60s"}
    child = nursery().start("--config", str(config), "migrate", errors=errors, environ=patient)
    await until(lambda: "does not exist" in errors.read_text(), 10, errors.read_text)
    server = Shop(postgres_server.url)
    await server.execute(f"CREATE ROLE {role} LOGIN")
    await server.execute(f"CREATE DATABASE {name} OWNER {role}")
    assert await asyncio.to_thread(child.wait) == 0, errors.read_text()


@on_postgresql
async def test_a_role_that_never_comes_ends_with_69_and_not_with_bad_configuration(
    start: Start, later: tuple[str, str]
) -> None:
    worker = start(RETURNS_WORKER_DATABASE__WAIT="300ms")
    assert await worker.ended() == 69
    assert "error: the database cannot be reached: it refuses to be used: role" in worker.log_text
    assert "Traceback" not in worker.log_text
    refusals = [line for line in worker.events if line["event"] == "database_refuses"]
    assert len(refusals) == 1


@on_postgresql
async def test_rights_that_are_granted_later_are_waited_for(
    config: Path, database_url: str, postgres_server: PostgresServer
) -> None:
    role = f"returns_worker_test_{secrets.token_hex(6)}"
    server = Shop(database_url)
    await server.execute(f"CREATE ROLE {role} LOGIN")
    config.write_text(config.read_text().replace("//postgres@", f"//{role}@").replace('"2s"', '"500ms"', 1))
    try:
        with pytest.raises(DatabaseUnavailable, match="refuses to be used: permission denied") as denied:
            await starts(config)
        assert not isinstance(denied.value, DatabaseRefused)
        starting = asyncio.ensure_future(starts(config, RETURNS_WORKER_DATABASE__WAIT="60s"))
        done, _ = await asyncio.wait([starting], timeout=0.2)
        assert not done
        await server.execute(f"ALTER ROLE {role} SUPERUSER")
        await starting
    finally:
        await server.execute(f"DROP ROLE {role}")


@on_postgresql
async def test_a_database_that_comes_later_may_bring_its_schema_later_still(
    config: Path, later: tuple[str, str], postgres_server: PostgresServer, migrated_postgres: str
) -> None:
    role, name = later
    config.write_text(config.read_text().replace("auto_migrate = true", "auto_migrate = false"))
    server = Shop(postgres_server.url)
    starting = asyncio.ensure_future(starts(config, RETURNS_WORKER_DATABASE__WAIT="60s"))
    done, _ = await asyncio.wait([starting], timeout=0.2)
    assert not done
    await server.execute(f"CREATE ROLE {role} LOGIN")
    await server.execute(f"CREATE DATABASE {name} OWNER {role}")
    with pytest.raises(SchemaMismatch, match="run: returns-worker migrate"):  # nothing was waited for
        await starts(config)
    assert not starting.done()
    child = nursery().start("--config", str(config), "migrate", errors=config.with_name("errors"))
    assert await asyncio.to_thread(child.wait) == 0
    await starting


@on_sqlite
async def test_a_volume_that_is_mounted_later_is_waited_for_and_nothing_is_made_in_its_place(
    config: Path, tmp_path: Path, migrated_file: Path
) -> None:
    volume = tmp_path / "volume"
    text = config.read_text().replace(f"sqlite:///{tmp_path}/", f"sqlite:///{volume}/")
    config.write_text(text.replace(f"file:{tmp_path}/labels", f"file:{volume}/labels"))
    starting = asyncio.ensure_future(starts(config, RETURNS_WORKER_DATABASE__WAIT="60s"))
    done, _ = await asyncio.wait([starting], timeout=0.3)
    assert not done
    assert not volume.exists()
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    shutil.copy(migrated_file, mounted / "returns.db")
    await Shop(f"sqlite:///{mounted}/returns.db").insert("R-1")
    mounted.rename(volume)
    await starting
    assert (await Shop(f"sqlite:///{volume}/returns.db").order("R-1"))["state"] == "pending"


@on_sqlite
async def test_a_file_that_is_no_database_is_bad_configuration_at_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "returns.db").write_bytes(b"no database, but long enough to be looked at " * 100)
    worker = start(RETURNS_WORKER_DATABASE__WAIT="60s")
    assert await worker.ended() == 78
    assert "file is not a database" in worker.log_text
