"""Reads a small text file that a URL, a variable or a habit names."""

import os
import stat
from pathlib import Path

from worker.dsn.errors import BadUrl

_LONGEST = 1_000_000  # bytes


def read_lines(file: Path) -> tuple[list[str], int]:
    """Its lines without their ends, and its mode; raises `BadUrl`."""
    try:
        with open(file, "rb", opener=_without_waiting) as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise BadUrl(f"{file}: is not a regular file")
            content = stream.read(_LONGEST + 1)
    except OSError as error:
        raise BadUrl(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > _LONGEST:
        raise BadUrl(f"{file}: is longer than {_LONGEST} bytes")
    try:
        return [line.rstrip("\r") for line in content.decode("utf-8-sig").split("\n")], mode
    except UnicodeDecodeError:
        raise BadUrl(f"{file}: is not UTF-8 text") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe could block the whole worker
