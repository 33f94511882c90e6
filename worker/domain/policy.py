"""When to try again after a failure, and everything else that `decide` needs to know of an account's configuration.

`chance` is a random number in [0, 1) that the caller draws, so that every rule here can be tested as a table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from worker.domain.cadence import Ladder, grown
from worker.domain.circuits import Breaker
from worker.domain.clocks import LATEST, LONGEST_WAIT
from worker.domain.tracking import TrackingStatus

LARGEST_FACTOR = 1e9
"""Beyond it every wait but the first is the cap, and arithmetic would overflow."""

_SLOWEST_LABEL = timedelta(hours=6)
_NIGHTS = timedelta(days=3)  # more than a quiet night adds to a wait
_AGE_TO_WAIT = 8  # a label that is missing for so long is asked for at least so often in that time


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits after failures, with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter")."""

    first: timedelta = timedelta(seconds=2)
    factor: float = 2.0
    cap: timedelta = timedelta(minutes=15)
    max_attempts: int = 12  # of failures that are the row's own
    give_up_after: timedelta = timedelta(hours=48)  # of failures that are the carrier's or the network's
    not_found_grace: timedelta = timedelta(hours=1)  # so long after its creation an unknown return is no failure
    not_found_wait: timedelta = timedelta(hours=6)  # between questions about one that is unknown later

    def wait(self, attempts: int, chance: float) -> timedelta:
        """Time to the next try after `attempts` failed ones."""
        return grown(self.first, self.factor, attempts - 1, self.cap) * chance

    def label_wait(self, attempts: int, age: timedelta, chance: float) -> timedelta:
        """Time to the next try for a label that the carrier has not; the longer it has been missing, the slower."""
        cap = max(self.cap, min(age / _AGE_TO_WAIT, _SLOWEST_LABEL))
        return grown(self.first, self.factor, attempts - 1, cap) * chance

    def not_found_again(self, chance: float) -> timedelta:
        """Time to the next question about a return that the carrier does not know, give or take a tenth."""
        return self.not_found_wait * (0.9 + 0.2 * chance)

    def outage_wait(self, failing_for: timedelta, chance: float) -> timedelta:
        """Time to the next try when the carrier has failed for so long.

        Outages are not counted; waiting in proportion to the time already lost gives the same geometric growth.
        """
        lost = max(failing_for, timedelta(0)).total_seconds()
        wait = min(lost * min(self.factor - 1, LARGEST_FACTOR), self.cap.total_seconds())
        return min(max(timedelta(seconds=wait), self.first), self.cap) * chance


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything `decide` needs to know of one account's configuration."""

    ladders: Mapping[TrackingStatus, Ladder] = field(default_factory=dict)
    default_ladder: Ladder = field(default_factory=Ladder)
    backoff: Backoff = field(default_factory=Backoff)
    breaker: Breaker = field(default_factory=Breaker)
    # A lease and the time limit of a request: after that even a worker that was stopped cannot send a creation.
    settles_after: timedelta = timedelta(seconds=110)
    searchable: bool = False  # a lost creation can be looked up at the carrier
    open_ended: frozenset[TrackingStatus] = frozenset()  # no shipment yet: only the customer's link can run out
    judges_ages: bool = True  # the clock is believed (`worker.domain.clocks`); else nothing is too old
    busy_wait: timedelta = timedelta(seconds=60)  # when a carrier says "too many" and names no time
    min_busy_wait: timedelta = timedelta(seconds=1)  # "Retry-After: 0" must not become a tight loop
    max_busy_wait: timedelta = LONGEST_WAIT  # at most, even if Retry-After says more: a slip must not stop a shop

    @property
    def resend_after(self) -> timedelta | None:
        """So long after it was begun a creation that was looked up and is not there may be sent again; None: never."""
        return self.settles_after if self.searchable else None

    @property
    def longest_wait(self) -> timedelta:
        """So far ahead at most its returns are due: what a worker puts off further was put off by a wrong clock."""
        ladders = (self.default_ladder, *self.ladders.values())
        polls = (2 * ladder.cap + (_NIGHTS if ladder.quiet_nights else timedelta(0)) for ladder in ladders)
        return max(*polls, self.backoff.cap, 2 * self.backoff.not_found_wait, 2 * _SLOWEST_LABEL) + LATEST

    def ladder(self, status: TrackingStatus | None) -> Ladder:
        """The cadence for a tracking status."""
        return self.ladders.get(status, self.default_ladder) if status else self.default_ladder


LOST_AFTER = 3
"""So often, a `not_found_wait` apart, a carrier may say that it does not know a return; then a person looks."""

MAX_CLAIMS = 5
"""Claims without progress after which it needs attention: something about it kills its workers."""

SUSPECT_CLAIMS = 3
"""From this claim without progress on a row is tried alone, so that it takes nothing else with it."""
