"""What a database's URL means: PostgreSQL's as libpq reads it, SQLite's as a file; and what it needs to connect."""

import os
from collections.abc import Mapping
from pathlib import Path

from worker.domain.masking import forms_of_passwords
from worker.dsn.parameters import BadUrl
from worker.dsn.postgresql import PostgresqlUrl, Tls, password_of, read_postgresql
from worker.dsn.sqlite import read_sqlite
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
        read_sqlite(rest)
        return f"sqlite://{rest}"
    hint = next((hint for start, hint in _OTHER_SPELLINGS.items() if scheme.startswith(start)), None)
    raise BadUrl(hint or "must be sqlite:///FILE or postgresql://USER@HOST/NAME; no other database is supported")


def parse_url(url: str, environ: Mapping[str, str] | None = None) -> Path | PostgresqlUrl:
    """The SQLite file, or the PostgreSQL database with all that `environ` adds to it (default: this process' own).

    Raises `BadUrl`, whose text holds nothing of the URL but names of parameters, variables and files.
    """
    scheme, _, rest = check_url(url).partition("://")
    if scheme == "sqlite":
        return read_sqlite(rest)
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
