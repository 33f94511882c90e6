"""Writes a verified copy of a live SQLite database, and removes the older ones of its own making."""

import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, text

from worker.domain.masking import said_by
from worker.store.columns import bound
from worker.store.database import Database
from worker.store.dialect import SQLITE
from worker.store.schema import SchemaState, schema_state
from worker.store.transactions import in_transaction
from worker.store.version import revision

_BUSY_TIMEOUT = 10.0  # seconds that another process' write is waited for
_DAY = 86_400.0  # seconds after which an unfinished copy is surely nobody's work in progress
_UNFINISHED = ".part"


class BackupFailed(Exception):
    """No copy was made, or it is not whole; the message says why. What was at the destination before is still there."""


def destination(database: Path, asked: Path, now: datetime) -> Path:
    """The file to write: `asked`, or in a folder one that is named after the database and the time."""
    if asked.is_dir():
        return asked / f"{database.stem}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{database.suffix}"
    return asked


def copy(database: Path, target: Path) -> int:
    """Write a copy of `database`, as it is at this moment, to `target`; returns its size in bytes.

    Work on the database goes on meanwhile. The copy is checked and on disk before it takes the place of whatever was
    there, in one step (https://sqlite.org/lang_vacuum.html#vacuuminto: a crash while it is written leaves a broken
    file, so it is written under another name). Raises `BackupFailed`.
    """
    target = target.resolve()  # a link leads on to where the copy shall be, and stays
    _refuse_what_is_no_backup(database, target)
    with _explained(target):
        part = _empty_file(target)
        try:
            _vacuum(database, part)
            _verify(database, part)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            size = part.stat().st_size
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    return size


def remove_older(database: Path, made: Path, keep: int) -> tuple[list[Path], list[Path]]:
    """Keep the copy that was just `made` and the newest others, `keep` in all; remove the rest and what crashes left.

    Only what `destination` named for this database counts. Returns what was removed, and the copies whose names say
    that they are from the future: a clock was wrong. Raises `BackupFailed`.
    """
    ours = re.compile(rf"{re.escape(database.stem)}-\d{{8}}T\d{{6}}Z{re.escape(database.suffix)}")
    folder = made.parent
    with _explained(folder):
        others = sorted(file for file in folder.iterdir() if ours.fullmatch(file.name) and file != made)
        removed = others[: max(len(others) - keep + 1, 0)]
        long_ago = datetime.now(UTC).timestamp() - _DAY
        removed += [
            file
            for file in folder.glob(f".{database.stem}-*{_UNFINISHED}")
            if ours.match(file.name.removeprefix(".")) and file.stat().st_mtime < long_ago
        ]
        for file in removed:
            file.unlink(missing_ok=True)
    return removed, [file for file in others if file.name > made.name and file not in removed]


async def remember_backup(database: Database, made_at: datetime) -> None:
    """Let the workers' metric tell when the copy was made; an older schema has no place for it."""
    if await schema_state(database) is SchemaState.CURRENT:
        await _remember(database, made_at)


@in_transaction
def _remember(connection: Connection, made_at: datetime) -> None:
    connection.execute(text("UPDATE database_place SET backed_up_at = :at"), {"at": bound(SQLITE, made_at)})


def _refuse_what_is_no_backup(database: Path, target: Path) -> None:
    if target.exists() and not target.is_file():
        raise BackupFailed(f"{target} is no regular file: name a file, or a folder that there is")
    own = {f"{database.resolve()}{end}" for end in ("", "-wal", "-shm", "-journal", "-worker")}
    if str(target) in own or (target.exists() and target.samefile(database)):
        raise BackupFailed(f"{target} belongs to the database itself: name another file")


def _empty_file(target: Path) -> Path:
    """A file for its owner's eyes only, since it holds customers' addresses; VACUUM INTO takes it while it is empty."""
    number, name = tempfile.mkstemp(_UNFINISHED, f".{target.name}.", target.parent)
    os.close(number)
    return Path(name)


def _vacuum(database: Path, part: Path) -> None:
    with closing(_opened(database, "rw")) as source:
        source.execute("VACUUM INTO ?", (str(part),))


def _verify(database: Path, part: Path) -> None:
    with closing(_opened(part, "ro")) as copied:
        found = [row[0] for row in copied.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise BackupFailed(f"the copy is not whole: {'; '.join(map(str, found))[:300]}")
        version = revision(SQLITE, copied.execute)
    with closing(_opened(database, "rw")) as source:
        if revision(SQLITE, source.execute) != version:
            raise BackupFailed("the database was migrated meanwhile: make the copy once more")


def _opened(file: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_TIMEOUT)


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupFailed(f"cannot write {target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BackupFailed(f"cannot copy the database to {target}: {said_by(error)}") from error
