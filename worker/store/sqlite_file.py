"""One worker's hold on a SQLite file: a lock that dies with its process, and a witness of what was sent from it."""

import errno
import fcntl
import os
import stat
import uuid
from pathlib import Path

_LEADS_ELSEWHERE = (errno.ELOOP, errno.EISDIR)
_NO_FILE = "it is a link, or no file: see who made it, and remove it"


class AlreadyRunning(Exception):
    """Another worker has this SQLite file."""


def absence(path: Path) -> str | None:
    """What to say where there is no database at `path`; None where there is one."""
    if path.is_file():
        return None
    said = f"there is no database at {path.absolute()}"
    if path.is_absolute():
        return f"{said}; run: returns-worker migrate"
    # To make one here would leave two, and the worker's returns would seem to be gone.
    return f"{said}: database.url is relative to the folder that a command is called in; call it in the worker's folder"


class SqliteFile:
    """The file `<database>-worker` beside a database; locked as long as this object is open.

    SQLite writes one at a time, and lets several processes wait unfairly; so one worker has a file to itself. The lock
    is flock's: the kernel lets it go when the process dies, whichever way. It cannot be on the database file itself,
    since SQLite's own locks vanish when any descriptor of that file is closed (https://sqlite.org/howtocorrupt.html).

    The witness counts the creations sent. A database that counts fewer is older than what was done with it: it was
    restored from a backup. One that does not know this witness was copied from somewhere else.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock; raises `AlreadyRunning`, and `OSError` where no file can be written or locked.

        A link, or what is no file, is refused: what root opened through it, and gave to the database's owner, would be
        somebody else's.
        """
        self.path = path.absolute()  # with its links: where one is turned elsewhere, the file counts as replaced
        resolved = path.resolve()
        witness = resolved.with_name(f"{resolved.name}-worker")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would be waited for
        try:
            self._file = os.open(witness, flags, 0o600)
        except OSError as error:
            raise OSError(error.errno, _NO_FILE) if error.errno in _LEADS_ELSEWHERE else error from None
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise OSError(errno.ELOOP, _NO_FILE)
            self._belong_to_owner_of(resolved)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._name, self.creations, _ = self._read()
            self._write()
            os.fsync(self._file)
        except BlockingIOError as error:
            holder = self._read()[2]
            os.close(self._file)
            raise AlreadyRunning(
                f"another worker (process {holder}) has {self.path}:"
                " a SQLite file takes one worker, PostgreSQL takes many"
            ) from error
        except BaseException:
            os.close(self._file)
            raise
        self._number = self.path.stat().st_ino if self.path.exists() else None

    @property
    def place(self) -> str:
        """What tells this file from a copy of it."""
        if self._number is None:
            self._number = self.path.stat().st_ino
        return f"{self._name}/{self._number}"

    @property
    def is_replaced(self) -> bool:
        """Whether another file has taken the database's place since, or none."""
        try:
            return self._number is not None and self.path.stat().st_ino != self._number
        except FileNotFoundError:
            return self._number is not None

    def sent(self, creations: int, *, durable: bool = False) -> None:
        """Remember that the database counts so many creations, before the last of them is sent.

        `durable`: also through a power cut, after which the database itself could count fewer.
        """
        self.creations = creations
        self._write()
        if durable:
            os.fsync(self._file)

    def close(self) -> None:
        """Let another worker have the database."""
        os.close(self._file)

    def _belong_to_owner_of(self, database: Path) -> None:
        """What root runs must not leave a file that the service's user cannot open; SQLite does so with its own."""
        if os.geteuid() == 0 and database.exists():
            owner, own = database.stat(), os.fstat(self._file)
            if (owner.st_uid, owner.st_gid) == (own.st_uid, own.st_gid):
                return
            if own.st_nlink != 1:  # a second name of somebody else's file
                raise OSError(errno.ELOOP, _NO_FILE)
            os.fchown(self._file, owner.st_uid, owner.st_gid)

    def _read(self) -> tuple[str, int, str]:
        """The witness' name, how many creations it counts, and the process that wrote it; a new name where none is."""
        words = os.pread(self._file, 200, 0).decode("ascii", "replace").partition("\n")[0].split()
        if len(words) != 3 or not words[1].isdecimal():
            return uuid.uuid4().hex, 0, "unknown"
        return words[0], int(words[1]), words[2]

    def _write(self) -> None:
        os.pwrite(self._file, f"{self._name} {self.creations:020} {os.getpid():<10}\n".encode(), 0)
