"""When to ask again: the cadence of a healthy return, and the back-off after a failure.

`chance` is a random number in [0, 1) that the caller draws, so that every rule here can be tested as a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from worker.domain.tracking import TrackingStatus


@dataclass(frozen=True, slots=True)
class Ladder:
    """The cadence of polls: `first` after a change, growing by `factor` while nothing changes, up to `cap`."""

    first: timedelta = timedelta(minutes=15)
    factor: float = 1.5
    cap: timedelta = timedelta(hours=6)
    jitter: float = 0.1
    max_age: timedelta = timedelta(days=60)

    def wait(self, unchanged: int, chance: float) -> timedelta:
        """Time to the next poll after `unchanged` polls in a row that brought nothing new."""
        return _grown(self.first, self.factor, unchanged, self.cap) * (1 + self.jitter * (2 * chance - 1))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits after failures, with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter")."""

    first: timedelta = timedelta(seconds=2)
    factor: float = 2.0
    cap: timedelta = timedelta(minutes=15)
    max_attempts: int = 12
    give_up_after: timedelta = timedelta(hours=48)

    def wait(self, attempts: int, chance: float) -> timedelta:
        """Time to the next try after `attempts` failed ones."""
        return _grown(self.first, self.factor, attempts - 1, self.cap) * chance

    def outage_wait(self, failing_for: timedelta, chance: float) -> timedelta:
        """Time to the next try when the carrier has failed for so long.

        Outages are not counted; waiting in proportion to the time already lost gives the same geometric growth.
        """
        lost = max(failing_for, timedelta(0)).total_seconds()
        grown = min(lost * min(self.factor - 1, _LARGEST_FACTOR), self.cap.total_seconds())
        return min(max(timedelta(seconds=grown), self.first), self.cap) * chance


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything `decide` needs to know of one account's configuration.

    `settles_after` is a lease plus the time limit of a request: so long after a creation was begun its worker, even one
    that was stopped meanwhile, cannot send it any more. `searchable`: a lost creation can be looked up at the carrier.
    """

    ladders: Mapping[TrackingStatus, Ladder] = field(default_factory=dict)
    default_ladder: Ladder = field(default_factory=Ladder)
    backoff: Backoff = field(default_factory=Backoff)
    settles_after: timedelta = timedelta(seconds=110)
    searchable: bool = False
    busy_wait: timedelta = timedelta(seconds=60)  # when a carrier says "too many" and names no time
    min_busy_wait: timedelta = timedelta(seconds=1)  # "Retry-After: 0" must not become a tight loop
    max_busy_wait: timedelta = timedelta(hours=1)  # whatever Retry-After says: a carrier's slip must not stop a shop

    @property
    def resend_after(self) -> timedelta | None:
        """So long after it was begun a creation that was looked up and is not there may be sent again; None: never."""
        return self.settles_after if self.searchable else None

    def ladder(self, status: TrackingStatus | None) -> Ladder:
        """The cadence for a tracking status."""
        return self.ladders.get(status, self.default_ladder) if status else self.default_ladder


MAX_CLAIMS = 5
"""Claims without progress after which a row is held: something about it kills its workers."""

SUSPECT_CLAIMS = 3
"""From this claim without progress on a row is tried alone, lest it take with it what is beside it."""


_LARGEST_FACTOR = 1e9  # beyond it every wait is the cap, and the arithmetic would overflow


def _grown(first: timedelta, factor: float, times: int, cap: timedelta) -> timedelta:
    try:
        seconds = first.total_seconds() * factor ** max(times, 0)
    except OverflowError:
        return cap
    return timedelta(seconds=min(seconds, cap.total_seconds()))
