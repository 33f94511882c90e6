"""Where a label lies in any store, and what was refused as one, for how long.

A name is readable where it can be, and harmless always, since the carrier chooses the text. What was refused is kept
aside for a person, bounded in time and size.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from worker.labels.verify import UNKNOWN, VerifiedLabel

EXTENSIONS = {"application/pdf": "pdf", "image/png": "png", "application/zpl": "zpl", UNKNOWN: "bin"}
"""File name extension by media type; a label of any other type cannot be stored."""

ASIDE = "refused-labels"
"""Where refused labels lie in a store; the hyphen keeps it apart from the accounts, whose names have none."""

LONGEST = timedelta(days=30)
"""A label that was not asked for in so long is no longer wanted, and it holds a customer's name and address."""

MOST_BYTES = 1_000_000_000
"""All of them together: a carrier that sends nonsense as every label must not fill the disk that labels go to."""

# Safe on every file system and in every object store's key; no dot, so that the dot below tells a
# changed name from an unchanged one, and never a leading hyphen, which commands would take for an option.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_READABLE = 40


@dataclass(frozen=True, slots=True)
class LabelName:
    """Which label it is: the account, the carrier's number for the return, and the position from 1.

    `carrier_ref` is outside input and may be any text at all. ValueError when the position is below 1.
    """

    account: str
    carrier_ref: str
    position: int

    def __post_init__(self) -> None:
        if self.position < 1:
            raise ValueError(f"a label's position counts from 1, not {self.position}")


def relative_path(name: LabelName, label: VerifiedLabel) -> str:
    """Return `account/ref-position-digest.ext`, the digest being 12 digits of the content's SHA-256.

    Two different names never get the same path: read from the right, the digest and the position have no
    hyphen, and what is left determines the reference (see `_safe`). A label that changed gets a new path,
    so a row never points at bytes that it does not describe. ValueError for an unknown media type.
    """
    extension = EXTENSIONS.get(label.media_type)
    if extension is None:
        raise ValueError(f"labels of type {label.media_type!r} are not stored; known: {', '.join(EXTENSIONS)}")
    file = f"{_safe(name.carrier_ref)}-{name.position}-{label.sha256[:12]}.{extension}"
    return f"{_safe(name.account)}/{file}"


def aside_path(name: LabelName) -> str:
    """Return `refused-labels/account/ref-position`: one place for each label, where the last bytes sent as it lie."""
    return f"{ASIDE}/{_safe(name.account)}/{_safe(name.carrier_ref)}-{name.position}"


class Kept(NamedTuple):
    """One refused label in a store: its path there, its size, and when it was written, in seconds since 1970."""

    path: str
    byte_count: int
    written_at: float


def superfluous(kept: Iterable[Kept], now: float) -> list[str]:
    """The paths of those to be removed, the newest first: older than `LONGEST`, or beyond `MOST_BYTES`."""
    total, paths = 0, []
    for each in sorted(kept, key=lambda one: one.written_at, reverse=True):
        total += each.byte_count
        if total > MOST_BYTES or each.written_at < now - LONGEST.total_seconds():
            paths.append(each.path)
    return paths


def stem(account: str, carrier_ref: str) -> str:
    """Return what the paths of all labels of a return begin with, whichever position and content: see `stem_of`."""
    return f"{_safe(account)}/{_safe(carrier_ref)}"


def stem_of(path: str) -> str | None:
    """Return the `stem` of a path in the store: of a label, of one kept aside, or of what a killed writer left of it.

    None for what is no such path.
    """
    folder, _, file = path.removeprefix(f"{ASIDE}/").rpartition("/")
    named = (_KEPT_ASIDE if path.startswith(f"{ASIDE}/") else _STORED).fullmatch(file)
    return f"{folder}/{named[1]}" if named else None


# `.NAME.0123456789abcdef.part` is what a writer that was killed leaves (`worker.labels.files`).
_STORED = re.compile(r"\.?(.+)-[0-9]+-[0-9a-f]{12}\.[a-z]+(?:\.[0-9a-f]{16}\.part)?")
_KEPT_ASIDE = re.compile(r"\.?(.+)-[0-9]+(?:\.[0-9a-f]{16}\.part)?")


def _safe(text: str) -> str:
    """Return the text itself if it is plain; else its readable part, a dot and a digest of the whole."""
    if _PLAIN.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9_]+", "_", text)[:_READABLE].strip("_") or "x"
    # surrogatepass: JSON may hold half a surrogate pair, which plain UTF-8 refuses.
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{readable}.{digest}"
