"""A database's password is rotated under a running worker, which goes on without a restart."""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.databases import on_postgresql
from tests.postgres import PostgresServer
from tests.process.running import RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator

Start = Callable[..., RunningWorker]
pytestmark = on_postgresql

UNREADABLE = "returns_worker_database_url_unreadable"


class Rotation:
    """A role with a password, and the file by which the worker knows both."""

    def __init__(self, shop: Shop, role: str, file: Path) -> None:
        self._shop, self._role, self.file = shop, role, file

    def url(self, password: str) -> str:
        parts = urlsplit(self._shop.url)
        return f"postgresql://{self._role}:{password}@{parts.hostname}:{parts.port}{parts.path}"

    def write(self, content: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(content)
        os.replace(new, self.file)

    async def change(self, password: str) -> None:
        """The server asks for another password, and ends what was opened by the old one."""
        await self._shop.execute(f"ALTER ROLE {self._role} PASSWORD '{password}'")
        await self._shop.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ?1", self._role
        )

    async def connections(self) -> set[str]:
        rows = await self._shop.execute("SELECT application_name FROM pg_stat_activity WHERE usename = ?1", self._role)
        return {row["application_name"] for row in rows}


FIRST, SECOND, THIRD = (f"{name}-{secrets.token_hex(8)}" for name in ("first", "second", "third"))


@pytest.fixture
def rotation(config: Path, shop: Shop, postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Rotation]:
    with postgres_server.role(FIRST) as role:
        rotation = Rotation(shop, role, tmp_path / "database.url")
        rotation.write(rotation.url(FIRST))
        text = config.read_text()
        config.write_text(text.replace(f'url = "{shop.url}"', f'url_file = "{rotation.file}"'))
        yield rotation


async def test_a_rotated_password_is_taken_up_without_a_restart_and_nothing_is_lost(
    rotation: Rotation, start: Start, shop: Shop, carrier: Simulator
) -> None:
    worker = await start().ready()
    await until(lambda: _all_of(rotation, 2), 10)
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "tracking"), 10, lambda: worker.log_text)

    rotation.write(rotation.url(SECOND))
    await rotation.change(SECOND)
    await shop.insert("R-2")
    await until(lambda: shop.is_in("R-2", "tracking"), 20, lambda: worker.log_text)
    await until(lambda: _all_of(rotation, 2), 20, lambda: worker.log_text)
    assert worker.saw("database_url_changed")

    await rotation.change(THIRD)  # and whoever rotates it writes the file after that
    refused = await until(lambda: worker.saw("database_refuses"), 10, lambda: worker.log_text)
    assert "password authentication failed" in refused["error"]
    assert "url_file" in refused["hint"]
    rotation.write(rotation.url(THIRD))
    await shop.insert("R-3")
    await until(lambda: shop.is_in("R-3", "tracking"), 20, lambda: worker.log_text)
    await until(lambda: worker.saw("database_back"), 10, lambda: worker.log_text)
    assert len(carrier.requests("create")) == 3
    assert await worker.stopped() == 0
    assert [word for word in (FIRST, SECOND, THIRD) if word in worker.log_text] == []


async def test_a_file_that_turns_bad_or_names_another_database_changes_nothing_and_is_said_once(
    rotation: Rotation, start: Start, shop: Shop
) -> None:
    worker = await start().ready()
    assert await worker.metric(UNREADABLE) == 0

    def problems() -> list[str]:
        return [line["problem"] for line in worker.events if line["event"] == "database_url_unreadable"]

    for content in (SECOND, rotation.url(SECOND).rpartition("/")[0] + "/another"):
        said = len(problems())
        rotation.write(content)
        await until(lambda said=said: len(problems()) > said, 10, lambda: worker.log_text)
    assert await worker.metric(UNREADABLE) == 1
    assert "restart the workers" in problems()[-1]
    await shop.insert("R-1")
    await until(lambda: shop.is_in("R-1", "tracking"), 20, lambda: worker.log_text)
    assert len(problems()) == 2
    rotation.write(rotation.url(FIRST))
    await until(lambda: _is_readable(worker), 10)
    assert await worker.stopped() == 0
    assert [word for word in (FIRST, SECOND) if word in worker.log_text] == []


async def _all_of(rotation: Rotation, kinds: int) -> bool:
    """The pool's, and the one that listens."""
    return len(await rotation.connections()) == kinds


async def _is_readable(worker: RunningWorker) -> bool:
    return await worker.metric(UNREADABLE) == 0
