"""What the name of a file, a folder or a bucket may be, and what `[labels] store` means."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

ACCEPTED = "file:FOLDER, file:///ABSOLUTE/FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
"""The forms, for messages."""
LARGEST_LABEL = 256 * 2**20
"""Bytes of the largest label that `labels.max_bytes` may allow: each is read into memory whole."""

_SCHEMES = ("s3://", "gs://", "az://")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")


def check_file_name(name: str) -> str:
    """Return `name`, if a line of a log can show it and every file system take it; else raise `ValueError`."""
    if any(char < " " or char == "\x7f" for char in name):  # a NUL would fail where the file is opened
        raise ValueError("must hold no NUL and no other control character")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8 text") from None
    return name


def name_in_url(written: str) -> str:
    """The name of a file or folder that a URL has, its percent-encoding taken off; raises ValueError.

    A % without two digits behind it is itself, and so is a #. As what is missing is made, a ~ is refused.
    """
    try:
        name = unquote(written, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8 text, without its percent-encoding too") from None
    if name.startswith("~"):
        raise ValueError("must be a whole path: ~ is not expanded here; a name that begins so is written ./~")
    return check_file_name(name)


def check_plain_name(name: str) -> str:
    """Return `name`, if every file system takes it and it leads nowhere else; else raise `ValueError`."""
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"{name[:100]!r} must be letters, digits, _, - and dots, with none of the last two first")
    return name


@dataclass(frozen=True)
class Bucket:
    """A bucket or container, and where in it."""

    url: str


def read_label_store(store: str) -> Path | Bucket:
    """The folder, relative as it is written, or the bucket; ValueError never repeats `store`, which may hold a key."""
    scheme = next((each for each in ("file:", *_SCHEMES) if store.startswith(each)), None)
    if scheme is None:
        raise ValueError(f"must be {ACCEPTED}")
    if "?" in store:
        raise ValueError("takes no parameters: leave out the ? and what follows; in a name it is written %3F")
    rest = store.removeprefix(scheme)
    return _folder(rest) if scheme == "file:" else _bucket(scheme, rest)


def _folder(rest: str) -> Path:
    if rest.startswith("//"):
        rest = rest.removeprefix("//").removeprefix("localhost")
        if not rest.startswith("/"):
            raise ValueError(f"must name no other host: {ACCEPTED}")
    name = name_in_url(rest)
    if not name.strip("/"):
        raise ValueError(f"must name a folder: {ACCEPTED}")
    return Path(name)


def _bucket(scheme: str, rest: str) -> Bucket:
    bucket, *prefix = check_file_name(rest).rstrip("/").split("/")
    if not bucket or any(char in bucket for char in ":@%# "):
        raise ValueError(f"must name a bucket alone behind {scheme}: keys and addresses belong in the environment")
    # What reads the URL would drop these, and labels would lie elsewhere than their location says.
    if any(unquote(part) in {"", ".", ".."} or "#" in part for part in prefix):
        raise ValueError("must have a prefix without empty parts, ., .. and #")
    if any(char < " " for char in unquote("/".join(prefix))):
        raise ValueError("must hold no control characters, without its percent-encoding too")
    return Bucket(f"{scheme}{'/'.join((bucket, *prefix))}")
