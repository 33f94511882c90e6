"""Undoes zlib's compression as strictly as its specification is, and within bounds: the one rule for PDFs and PNGs."""

import zlib
from collections.abc import Iterable, Iterator

MOST_UNPACKED = 300_000_000
"""Bytes that one picture or drawing may unpack to: an A4 page in colour at 600 dots per inch has 104 million."""

# Bytes that are put in and taken out in one go: zlib copies what it has not yet read, each time.
_TAKEN = 1 << 16
_GIVEN = 1 << 20


class CannotInflate(Exception):
    """The bytes are no whole compressed data, or too much of it; `str` says which, to be put behind their name."""


def inflated(packed: Iterable[bytes | memoryview], most: int) -> Iterator[bytes]:
    """Yield what the pieces of one compressed whole unpack to, at most 1 MB at a time.

    Its end and its checksum must be there (RFC 1950, section 2.2); what follows is left out. Raises `CannotInflate`
    when they are not, or when it unpacks to more than `most` bytes.
    """
    engine = zlib.decompressobj()
    given = 0
    for piece in _slices(packed):
        waiting, full = piece, True
        while not engine.eof and (waiting or full):
            try:
                part = engine.decompress(waiting, _GIVEN)
            except zlib.error:
                raise CannotInflate("does not decompress") from None
            given += len(part)
            if given > most:
                raise CannotInflate(f"unpacks to more than {_said(most)}")
            if part:
                yield part
            waiting, full = engine.unconsumed_tail, len(part) == _GIVEN
    if not engine.eof:
        raise CannotInflate("ends too early")


def _slices(packed: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    for piece in packed:
        view = memoryview(piece)
        for at in range(0, len(view), _TAKEN):
            yield view[at : at + _TAKEN]


def _said(size: int) -> str:
    return f"{size // 1_000_000} MB" if size >= 1_000_000 else f"the {size} bytes"
