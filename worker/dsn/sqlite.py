"""What a SQLite URL means: a file, and nothing else that such a URL says elsewhere."""

import re
from pathlib import Path

from worker.domain.file_names import name_in_url
from worker.dsn.parameters import BadUrl

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def read_sqlite(rest: str) -> Path:
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
