"""A command pays for its own imports alone: what a start, a health check or a look at the help does not import."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from worker.cli.commands import Commands
from worker.listening import read_listen
from worker.settings import ConfigurationError, load
from worker.store.database import Database
from worker.store.schema import migrate

LIBRARIES = {"aiohttp", "alembic", "apscheduler", "asyncpg", "httpx", "jinja2", "obstore", "prometheus_client"} | {
    *("pydantic", "pypdf", "rich", "sqlalchemy", "sqlmodel", "structlog", "typer", "worker.app", "worker.simulator")
}
SPY = """
import atexit, os, pathlib, sys
from worker.cli import main
atexit.register(lambda: pathlib.Path(os.environ["SPIED"]).write_text("\\n".join(sys.modules)))
main()
"""
RUNNABLE = """
[accounts.default]
api_key = "IZI-a-key"
[database]
auto_migrate = true
[http]
listen = "127.0.0.1:0"
"""


def imported(folder: Path, *words: str, listen: str | None = None) -> set[str]:
    """Everything that a command, called in this folder, has imported when it ends well."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RETURNS_WORKER_")}
    environ |= {"SPIED": str(folder / "spied")} | ({"RETURNS_WORKER_HTTP__LISTEN": listen} if listen else {})
    done = subprocess.run(
        [sys.executable, "-c", SPY, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set((folder / "spied").read_text().splitlines())


@pytest.fixture
def well() -> Iterator[str]:
    """The address of something that answers as a worker does that is well."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("words", [["health"], ["health", "--ready"]])
def test_a_health_check_imports_no_library(tmp_path: Path, well: str, words: list[str]) -> None:
    assert imported(tmp_path, *words, listen=well) & LIBRARIES == set()


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["--version"], {"typer"}),
        (["--help"], {"typer", "rich"}),
        (["health", "--timeout", "9"], {"typer", "pydantic"}),  # typer has pydantic look at values
    ],
)
def test_short_commands_import_little(tmp_path: Path, well: str, words: list[str], needed: set[str]) -> None:
    assert imported(tmp_path, *words, listen=well) & LIBRARIES == needed


async def test_a_worker_starts_without_what_it_does_not_need_yet(tmp_path: Path) -> None:
    (tmp_path / "returns-worker.toml").write_text(RUNNABLE)
    database = Database(f"sqlite:///{tmp_path}/returns.db")
    await migrate(database)
    await database.close()
    run = await asyncio.to_thread(imported, tmp_path, "run", "--until-idle", listen="0.0.0.0:0")
    # rich is imported by structlog (structlog/dev.py), whoever uses that
    assert run & LIBRARIES == LIBRARIES - {"alembic", "jinja2", "obstore", "pypdf", "worker.simulator"}
    assert "worker.web.pages" not in run
    assert {name.removeprefix("worker.cli.") for name in run if name.startswith("worker.cli.")} == {
        *("commands", "entry", "explained", "lazy", "output", "probe", "progress", "service", "session", "streams")
    }


@pytest.mark.parametrize("name", list(Commands.entries))
def test_the_list_of_commands_says_of_each_what_its_own_help_says(name: str) -> None:
    entry = Commands.entries[name]
    assert entry.load().help.partition("\n\n")[0].replace("\n", " ") == entry.summary()


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("", {}),
        ("[http]\nlisten = ' [::1]:9000 '", {}),
        ("[http]\nlisten = 'Some.Host.:80'", {}),
        ("[http]\nlisten = '127.0.0.1:9000'", {"RETURNS_WORKER_HTTP__LISTEN": "0.0.0.0:1"}),
        ("\ufeff[http]\nlisten = '127.0.0.1:9000'", {"RETURNS_WORKER_http__listen": "0.0.0.0:2"}),
    ],
)
def test_a_health_check_reads_the_address_as_the_settings_do(
    tmp_path: Path, text: str, environ: dict[str, str]
) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(text, encoding="utf-8")
    for named, variables in ((file, environ), (None, environ | {"RETURNS_WORKER_CONFIG": str(file)})):
        http = load(named, variables).http
        assert read_listen(named, variables) == (http.host, http.port)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("[http]\nlisten = 9464", {}),
        ("[http]\nlisten = 'nowhere'", {}),
        ("http = 'x'", {}),
        ("[http", {}),
        (None, {}),
        ("", {"RETURNS_WORKER_HTTP__LISTEN": "127.0.0.1"}),
        ("", {"RETURNS_WORKER_HTTP": "nonsense"}),
    ],
)
def test_an_address_that_is_not_plain_is_left_to_the_settings(
    tmp_path: Path, text: str | None, environ: dict[str, str]
) -> None:
    file = tmp_path / "worker.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises((OSError, ValueError)):
        read_listen(file, environ)
    with pytest.raises(ConfigurationError):
        load(file, environ)


def test_a_health_check_that_cannot_tell_the_address_says_all_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "returns-worker.toml").write_text("[http]\nlisten = 'nowhere'\n[worker]\ntick = 'never'\n")
    command = [sys.executable, "-m", "worker", "health"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (78, "")
    assert "http.listen: " in done.stderr
    assert "worker.tick: " in done.stderr
