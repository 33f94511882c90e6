"""How many requests an account may send now: never more than its limit in any 60 seconds, over all workers together.

A token bucket kept as one moment, as in the generic cell rate algorithm (ITU-T I.371): `spent_until` runs ahead of the
clock by one interval for each token taken. The burst is taken out of the refill, not added to it: with a burst b and
one token each T seconds, a window of W seconds sees at most b + W/T tokens, so T follows from the limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.clocks import JUMP

RATES: Mapping[str, int] = {
    "izipack": 60,  # it publishes no limit; one request a second is what a polite client would send
    "returnpilot": 50,  # of the 60 it allows (page guide/concepts/rate-limiting), whose scope it does not say
}
"""The carriers that there are, and how many requests each is sent in any 60 seconds, unless settings say otherwise."""

TOKEN_LIFE = timedelta(seconds=3)
"""A token not used within this is void: tokens kept back would be a second burst."""

FEW_LEFT = 3
"""So few requests left, by the carrier's word, slow an account down; its own pace alone never leads there."""

_TRANSIT = timedelta(seconds=2)  # a request may reach the carrier so much later than the one after it
_WINDOW = timedelta(seconds=60) + TOKEN_LIFE + _TRANSIT


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens taken, the account's moment to remember, when the next token will be there, and how long that is."""

    tokens: int
    spent_until: datetime
    next_at: datetime
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Pace:
    """The rule for one account; `rate_per_minute` >= 1."""

    rate_per_minute: int

    @property
    def burst(self) -> int:
        """Tokens that may be taken at once after a pause: a tenth of a minute's worth."""
        return max(1, self.rate_per_minute // 10)

    @property
    def interval(self) -> timedelta:
        """Time for one token to grow back."""
        tokens = self.rate_per_minute - self.burst + 1
        return timedelta(microseconds=math.ceil(_WINDOW / timedelta(microseconds=1) * 1.001 / tokens))

    def take(self, spent_until: datetime | None, now: datetime, want: int, leave: int = 0) -> Grant:
        """Up to `want` tokens at `now`, given the moment remembered from the last call; `leave` stay for others."""
        leave = min(leave, self.burst - 1)
        full = now - self.burst * self.interval
        start = full if spent_until is None else max(_believed(spent_until, now), full)
        tokens = max(0, min(want, int((now - start) / self.interval) - leave))
        spent = start + tokens * self.interval
        if tokens:
            spent = _whole_milliseconds(spent)
        next_at = spent + (1 + leave) * self.interval
        return Grant(tokens, spent, next_at, max(next_at - now, timedelta(0)))

    def slowed(self, spent_until: datetime | None, now: datetime, remaining: int) -> datetime | None:
        """The moment to remember when the carrier says that only `remaining` requests are left; None: go on as it is.

        The carrier's window ends within a minute; what remains is spread over that, and with nothing left it is waited
        out. Others may use the same key, or the carrier count otherwise than its documentation says.
        """
        if remaining > FEW_LEFT:
            return None
        wait = timedelta(seconds=60) / (max(remaining, 0) + 1)
        slowed = _whole_milliseconds(now + wait - self.interval)
        return slowed if spent_until is None or slowed > _believed(spent_until, now) else None


def _believed(spent_until: datetime, now: datetime) -> datetime:
    """Nothing is spent for longer than a carrier's window: a later moment was written under a clock that was ahead.

    What was sent since is unknown, so nothing is left, and tokens grow from now on.
    """
    return spent_until if spent_until <= now + timedelta(seconds=60) + JUMP else now


def shortfall(pace: Pace | None, due: int, oldest_due_at: datetime | None, now: datetime) -> timedelta:
    """How far an account runs behind: the age of what is due longest, or what all that is due takes at its pace.

    That is somewhat less than its limit: tokens have a life, requests a way to go, and a burst is held ready.
    """
    age = now - oldest_due_at if oldest_due_at is not None else timedelta(0)
    return max(age, due * pace.interval if pace is not None else timedelta(0), timedelta(0))


def _whole_milliseconds(moment: datetime) -> datetime:
    """Up to the next millisecond: SQLite keeps no more, and would round it down."""
    return moment + timedelta(microseconds=-moment.microsecond % 1000)
