"""What was sent as a label and refused is kept aside for a person, bounded in time and size: one rule for any store."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

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
