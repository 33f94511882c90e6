"""How a label is named in the store: readable where it can be, harmless whatever the carrier says."""

import hashlib
import re
from dataclasses import dataclass

from worker.labels.verify import VerifiedLabel

UNKNOWN = "application/octet-stream"
"""The media type of a label that a person accepted although nothing tells what it is (RFC 2046, 4.5.1)."""

EXTENSIONS = {"application/pdf": "pdf", "image/png": "png", "application/zpl": "zpl", UNKNOWN: "bin"}
"""File name extension by media type; a label of any other type cannot be stored."""

ASIDE = "refused-labels"
"""Where refused labels lie in a store; the hyphen keeps it apart from the accounts, whose names have none."""

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
    """Return `refused-labels/account/ref-position`: one place for each label, whatever was sent as it."""
    return f"{ASIDE}/{_safe(name.account)}/{_safe(name.carrier_ref)}-{name.position}"


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
