"""What a database's URL means: PostgreSQL's as libpq reads it, SQLite's as a file; and what it needs to connect."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from worker.domain.file_names import name_in_url
from worker.domain.masking import forms_of_passwords
from worker.dsn.parameters import BadUrl
from worker.dsn.postgresql import PostgresqlUrl, Tls, password_of, read_postgresql
from worker.dsn.surroundings import read_small, unreadable
from worker.dsn.tls import tls_context
from worker.dsn.uri import SCHEMES, check_uri

__all__ = [
    "BadUrl",
    "PostgresqlUrl",
    "Tls",
    "check_files",
    "check_url",
    "parse_url",
    "password_of",
    "place_of_url",
    "read_small",
    "secrets_of_url",
    "tls_context",
    "unreadable",
]

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_OTHER_SPELLINGS = {
    "jdbc": "that is Java's spelling: write postgresql://USER:PASSWORD@HOST/NAME",
    "postgresql+": "the driver is not yours to choose: write postgresql://",
    "postgres+": "the driver is not yours to choose: write postgresql://",
    "sqlite+": "the driver is not yours to choose: write sqlite:///FILE",
    "sqlite": "must name a file: sqlite:///returns.db (relative) or sqlite:////var/lib/x.db (absolute)",
}


def check_url(url: str) -> str:
    """Return the URL with the name of its database in the usual spelling, if it is one by itself; else raise `BadUrl`.

    Whether what completes it is there (variables, files) is not looked at.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if separator and scheme in SCHEMES:
        check_uri(rest)
        return f"postgresql://{rest}"
    if separator and scheme == "sqlite":
        _read_sqlite(rest)
        return f"sqlite://{rest}"
    hint = next((hint for start, hint in _OTHER_SPELLINGS.items() if scheme.startswith(start)), None)
    raise BadUrl(hint or "must be sqlite:///FILE or postgresql://USER@HOST/NAME; no other database is supported")


def parse_url(url: str, environ: Mapping[str, str] | None = None) -> Path | PostgresqlUrl:
    """The SQLite file, or the PostgreSQL database with all that `environ` adds to it (default: this process' own).

    Raises `BadUrl`, whose text holds nothing of the URL but names of parameters, variables and files.
    """
    scheme, _, rest = check_url(url).partition("://")
    if scheme == "sqlite":
        return _read_sqlite(rest)
    return read_postgresql(rest, os.environ if environ is None else environ)


def check_files(url: PostgresqlUrl) -> None:
    """Read the files that connecting needs: those of TLS, and that of passwords; raises `BadUrl`."""
    if url.tls.mode != "disable":
        tls_context(url)
    password_of(url)


def place_of_url(url: str, environ: Mapping[str, str] | None = None) -> str:
    """What a database is called to everybody: a URL with nothing but where it is."""
    parsed = parse_url(url, environ)
    return f"sqlite:///{parsed}" if isinstance(parsed, Path) else parsed.place


def secrets_of_url(url: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Every text of some length that gives a password for this database away, the longest first."""
    parsed = parse_url(url, environ)
    return () if isinstance(parsed, Path) else forms_of_passwords(*parsed.secrets)


def _read_sqlite(rest: str) -> Path:
    """The file that `rest`, what follows `sqlite://`, names, its percent-encoding taken off; raises `BadUrl`.

    Where a file has the very name that stands in the URL, with its % or ?, it was taken by that name by an earlier
    version, and its returns must not be left behind unnoticed.
    """
    written = rest.removeprefix("/")
    if not rest.startswith("/") or not written:
        raise BadUrl("must name a file: sqlite:///returns.db (relative) or sqlite:////var/lib/x.db (absolute)")
    _refuse_other_meanings(written)
    try:
        name = name_in_url(written)
    except ValueError as error:
        raise BadUrl(str(error)) from None
    if name != written and Path(written).exists():
        raise BadUrl(f"means the file {name!r}, but there is {_literally(written)}, or move it away")
    if name.endswith("/") or Path(name).is_dir():
        raise BadUrl("must name a file, and this is a folder")
    return Path(name)


def _refuse_other_meanings(written: str) -> None:
    if written.startswith(":memory:"):
        raise BadUrl("must name a file; a database in memory is seen by no other process and forgets every return")
    if written.startswith("file:"):
        raise BadUrl("must be sqlite:///FILE without a second file:, which SQLite would read as an address of its own")
    if _DRIVE.match(written):
        raise BadUrl("names a drive, which this system has not: sqlite:////var/lib/x.db is an absolute path")
    if "?" in written:
        there = f"; there is {_literally(written)}" if "\0" not in written and Path(written).exists() else ""
        raise BadUrl(f"takes no parameters: leave out the ? and what follows; in a name it is written %3F{there}")


def _literally(written: str) -> str:
    """A file that is called as the URL is written, and the URL that means it."""
    spelled = written.replace("%", "%25").replace("?", "%3F")
    return f"a file that is called {written!r}: to use that, write sqlite:///{spelled}"
