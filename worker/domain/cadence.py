"""The cadence of a healthy return: when to ask where it is again, by day and by night, and when to stop asking.

`chance` is a random number in [0, 1) that the caller draws, so that every rule here can be tested as a table.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import TypeVar

_DAY = timedelta(days=1)
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

Span = TypeVar("Span", timedelta, float)
"""A time; as a float it is in seconds."""

COMPANY = 10
"""Where polls wait for each other, none does so for longer than this part of its wait."""


@dataclass(frozen=True, slots=True)
class Daytime:
    """The hours in which parcels move: `length` (at most 24 h) from `start` after midnight in `zone`, each day."""

    start: timedelta = timedelta(hours=7)
    length: timedelta = timedelta(hours=14)
    zone: tzinfo = UTC

    def of(self, day: date) -> tuple[datetime, datetime]:
        """When the daytime of a date begins and ends; it may end on the next one."""
        begin = datetime(day.year, day.month, day.day) + self.start  # noqa: DTZ001  wall time, on which DST has no hold
        end = begin + self.length
        return begin.replace(tzinfo=self.zone).astimezone(UTC), end.replace(tzinfo=self.zone).astimezone(UTC)

    def around(self, moment: datetime) -> tuple[datetime, datetime]:
        """The daytime that `moment` lies in, else the next one."""
        today = moment.astimezone(self.zone).date()
        for day in (today - _DAY, today, today + _DAY):
            begin, end = self.of(day)
            if moment < end:
                return begin, end
        return self.of(today + 2 * _DAY)  # where DST leaves a gap


@dataclass(frozen=True, slots=True)
class Ladder:
    """When polls follow each other, until the first of `max_age` and `max_stay` is over."""

    first: timedelta = timedelta(minutes=15)  # the wait after a change ...
    factor: float = 1.5  # ... which grows by this while nothing changes ...
    cap: timedelta = timedelta(hours=6)  # ... up to this
    jitter: float = 0.1
    max_age: timedelta = timedelta(days=60)  # of the return
    max_stay: timedelta | None = None  # in this one status
    near_pickup: timedelta = timedelta(hours=1)  # the longest wait by day around the pickup date; 0: none
    quiet_nights: bool = False  # nothing is asked outside the daytime
    daytime: Daytime = field(default_factory=Daytime)
    # Polls wait for each other where one request brings the news of many: in place of the jitter they come up to a
    # tenth of their wait later, at moments of a grid that begins so long after the epoch. None: each by itself.
    meets: timedelta | None = None

    def steady_wait(self, unchanged: int) -> timedelta:
        """Time to the next poll after `unchanged` polls in a row that brought nothing new, without jitter."""
        return grown(self.first, self.factor, unchanged, self.cap)

    def company(self, unchanged: int) -> timedelta:
        """How long before it is due a look at it, made for others, is as good as its own."""
        return self.steady_wait(unchanged) / COMPANY if self.meets is not None else timedelta(0)

    def next_at(
        self, now: datetime, unchanged: int, chance: float, pickup: date | None = None, latest: datetime | None = None
    ) -> datetime:
        """When to ask again after a poll at `now`; `pickup` is the day on which the parcel is fetched.

        Not after `latest`, when the last look is due, but for a quiet night, which that waits out too.
        """
        wait = self.steady_wait(unchanged)
        at = self._in_company(now + self._jittered(wait, chance), wait)
        if pickup is not None and self.near_pickup and self.near_pickup < wait:
            near = self._near(pickup, now, at, chance)
            at = self._in_company(near, self.near_pickup) if near < at else at
        if latest is not None:
            at = min(at, latest)
        return self._not_at_night(at, wait, chance, pickup) if self.quiet_nights else at

    def _near(self, pickup: date, now: datetime, at: datetime, chance: float) -> datetime:
        """Sooner, where the time from `now` until `at` meets the daytime of the pickup or of the day after."""
        soon = now + self._jittered(self.near_pickup, chance)
        for day in _pickup_days(pickup):
            begin, end = self.daytime.of(day)
            if now < begin < at:
                # All that are fetched on one day wait for this moment: they are spread over the first wait.
                return min(at, max(begin + chance * self.near_pickup, soon))
            if begin <= now < end:
                return min(at, soon)
        return at

    def _not_at_night(self, at: datetime, wait: timedelta, chance: float, pickup: date | None) -> datetime:
        """After the night, spread over one wait by chance, so that they do not all come with its end.

        How far into the night they would have come does not spread them: that is soon after its beginning for all.
        """
        begin, _ = self.daytime.around(at)
        if begin <= at:
            return at
        mornings = [self.daytime.of(day)[0] for day in _pickup_days(pickup)] if pickup is not None else []
        if self.near_pickup and begin in mornings:
            wait = min(wait, self.near_pickup)
        spread = min(wait, self.daytime.length / 2)
        return self._in_company(begin + chance * spread, spread)

    def _jittered(self, wait: timedelta, chance: float) -> timedelta:
        return wait if self.meets is not None else wait * (1 + self.jitter * (2 * chance - 1))

    def _in_company(self, at: datetime, wait: timedelta) -> datetime:
        """The next moment of the grid, but not after the end of the daytime."""
        if self.meets is None:
            return at
        met = at + -(at - _EPOCH - self.meets) % meeting_width(wait)
        if not self.quiet_nights:
            return met
        begin, end = self.daytime.around(at)
        return min(met, end - _MICROSECOND) if begin <= at else at  # by night it waits for the morning first


def meeting_width(wait: timedelta) -> timedelta:
    """How far apart the moments are at which polls with such a wait meet: at most a tenth of it.

    Powers of two, so that each moment of a wider grid is one of every narrower one, and different waits meet too.
    """
    return (1 << max(wait // COMPANY // _MICROSECOND, 1).bit_length() - 1) * _MICROSECOND


def spoken(span: timedelta) -> str:
    """A time that was measured or worked out, as people would say it: 12s, 45m, 4.2h, 60d."""
    seconds = span.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g}{unit}"
    return f"{seconds:.3g}s"


def grown(first: Span, factor: float, times: int, cap: Span) -> Span:
    """`first`, grown by `factor` so many times, up to `cap`: how long every wait is that grows."""
    try:
        return min(first * factor ** max(times, 0), cap)
    except OverflowError:
        return cap


def _pickup_days(pickup: date) -> tuple[date, ...]:
    """The pickup's date and the next one; a date at the far ends of the calendar is a mistake."""
    return (pickup, pickup + _DAY) if 1900 < pickup.year < 9999 else ()
