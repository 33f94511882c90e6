"""What was sent as a label and refused is kept aside for a person, bounded in time and size: one rule for any store."""

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from worker.labels.errors import NotALabel
from worker.labels.names import EXTENSIONS, UNKNOWN
from worker.labels.verify import VerifiedLabel, media_type_of, verify_label

LONGEST = timedelta(days=30)
"""A label that nobody has asked after for so long is no longer wanted, and it holds a customer's name and address."""

MOST_BYTES = 1_000_000_000
"""All of them together: a carrier that sends nonsense as every label must not fill the disk that labels go to."""


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


async def as_it_is(content: bytes) -> VerifiedLabel:
    """Return the content as a label on a person's word: of the kind that its bytes tell, and with pages if it has any.

    `page_count` is None, too, where they cannot be counted.
    """
    try:
        return await verify_label(content, pages=None, media_types=EXTENSIONS)
    except (NotALabel, OSError):  # OSError: no checking process can be started here
        return VerifiedLabel(content, media_type_of(content) or UNKNOWN, None, hashlib.sha256(content).hexdigest())
