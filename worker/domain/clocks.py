"""Which moments can be, and when a clock is believed: two rules for a database whose clock may be, or was, wrong.

What waits by itself waits `LONGEST_WAIT` at most, or the longest time that its kind has. A moment further ahead was
written under a clock that was ahead: it is over. And no age is judged by a clock that jumped, until it has gone
steadily for `STEADY`: what was judged by a wrong one is judged for good.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

LONGEST_WAIT = timedelta(hours=1)
"""The longest lease, hold that a carrier asks for, and time that a circuit is open; the settings keep to it."""

JUMP = timedelta(minutes=1)
"""A clock that is further off than this was set: no delay of a network, and no slewing, explains more."""

STEADY = timedelta(hours=1)
"""After so long without a jump a clock is the truth: NTP sets a wrong one right within minutes of a machine's start."""

LONGEST_ABSENCE = timedelta(days=1)
"""A clock may be so much later than when it was seen last; later still, it may as well be wrong."""

LATEST = LONGEST_WAIT + timedelta(minutes=2)
"""A lease, a hold or a circuit ends so far ahead at most: a command's lease is half a minute longer than the longest
time limit, and a clock that is believed may be off by `JUMP`."""


def lasts(until: datetime | None, now: datetime, longest: timedelta = LATEST) -> bool:
    """Whether something goes on until then: it is over when that is past, and when it is no moment that can be."""
    return until is not None and now < until <= now + longest


def has_been(moment: datetime, now: datetime) -> bool:
    """Whether something that is said to have happened then can have: nothing happens in a time to come."""
    return moment <= now + JUMP


def lease_margin(lease: timedelta) -> timedelta:
    """What is left of a lease beyond the longest request that may be made within it: a fifth, at most 5 s."""
    return min(lease / 5, timedelta(seconds=5))


class Clock(NamedTuple):
    """The database's clock as it was seen last, and since when it is doubted; None: it is believed."""

    seen_at: datetime
    doubted_since: datetime | None = None

    @property
    def is_believed(self) -> bool:
        """Whether ages may be judged by it."""
        return self.doubted_since is None


def seen(before: Clock | None, now: datetime, passed: timedelta | None) -> tuple[Clock, timedelta | None]:
    """The clock at `now`, and by how much it jumped; None: it did not.

    `passed`: how much time went by on a clock that is never set; None: unknown, since another process saw it last.
    """
    if before is None:
        return Clock(now), None
    off = now - before.seen_at - (passed or timedelta(0))
    if off < -JUMP or off > (JUMP if passed is not None else LONGEST_ABSENCE):
        return Clock(now, now), off
    doubted = before.doubted_since
    return Clock(now, doubted if doubted is not None and now - doubted < STEADY else None), None
