"""A real PgBouncer in transaction mode before a test's database, with fewer server connections than clients.

It is Debian's package `pgbouncer`; where that is missing, the tests that need it are skipped. A small shell starts it
and waits on a pipe whose other end only the test process holds, as in `tests.postgres`: whichever way that process
ends, PgBouncer and its folder are gone.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

import pytest

from tests.postgres import free_port, unprivileged

SERVER_CONNECTIONS = 2

KEEPER = """
"$1" pgbouncer.ini &
read -r _
kill -TERM $!
wait $!
rm -rf "$2"
"""
"""SIGTERM is PgBouncer 1.18's immediate shutdown, which breaks its clients' connections."""

CONFIG = """
[databases]
{name} = {target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {server_connections}
pidfile = {folder}/pgbouncer.pid
"""
"""Everything else is PgBouncer's default, `ignore_startup_parameters` too."""


class PgBouncer:
    """A running PgBouncer; `url` leads through it to the database that `postgres_url` names."""

    folder: Path

    def __init__(self, postgres_url: str) -> None:
        """Skips the calling test where there is no PgBouncer."""
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")  # not on a user's PATH
        if program is None:
            pytest.skip("needs pgbouncer (Debian: pgbouncer)")
        self._program, self._target = program, urlsplit(postgres_url)
        self._port = free_port()
        self.url = f"postgresql://worker@127.0.0.1:{self._port}{self._target.path}"
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it and wait until it listens."""
        as_user = unprivileged() if os.geteuid() == 0 else {}
        self.folder = folder = Path(tempfile.mkdtemp(prefix="returns-worker-pgbouncer-"))
        (folder / "pgbouncer.ini").write_text(self._config(folder))
        if as_user:
            for path in (folder, *folder.iterdir()):
                os.chown(path, as_user["user"], as_user["group"])
        with (folder / "log").open("wb") as log:
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "keeper", self._program, str(folder)],
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops it in order
                **as_user,
            )
        deadline = time.monotonic() + 10
        while not self._listens():
            if time.monotonic() > deadline:
                log_text = (folder / "log").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"pgbouncer does not listen:\n{log_text}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Break every connection and remove everything; a second call does nothing."""
        if self._keeper is not None:
            assert self._keeper.stdin is not None
            self._keeper.stdin.close()
            self._keeper.wait(timeout=30)
            self._keeper = None

    def restart(self) -> None:
        """Break every connection and listen again on the same port."""
        self.stop()
        self.start()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _config(self, folder: Path) -> str:
        target = {
            "host": self._target.hostname,
            "port": self._target.port,
            "user": self._target.username,
            "password": self._target.password,
        }
        given = {key: unquote(str(value)).replace("'", "''") for key, value in target.items() if value}
        return CONFIG.format(
            name=self._target.path.removeprefix("/"),
            target=" ".join(f"{key}='{value}'" for key, value in given.items()),
            listen_port=self._port,
            server_connections=SERVER_CONNECTIONS,
            folder=folder,
        )


@pytest.fixture
def pgbouncer(postgres_url: str) -> Iterator[PgBouncer]:
    """A PgBouncer before a fresh, empty database."""
    bouncer = PgBouncer(postgres_url)
    try:
        yield bouncer.start()
    finally:
        bouncer.stop()
