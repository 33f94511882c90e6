"""What the carrier knows of each return: its journey, drawn from a seed, and how it answers."""

import random
from dataclasses import dataclass
from math import inf
from typing import Any

from tests.cadence.clock import DAY, HOUR
from worker.domain.outcomes import Tracked
from worker.domain.tracking import TrackingStatus, TrackingUpdate

_CREATED = Tracked(TrackingUpdate(TrackingStatus.PRE_TRANSIT, "Created"))
_ODD = Tracked(TrackingUpdate(TrackingStatus.UNKNOWN, "Sortering"))
UNDER_WAY = Tracked(TrackingUpdate(TrackingStatus.IN_TRANSIT, "Collected"))
_DELIVERED = Tracked(TrackingUpdate(TrackingStatus.DELIVERED, "Delivered"))
_FAILED = Tracked(TrackingUpdate(TrackingStatus.FAILED, "Lost"))

NEVER, LOST, ODD = 0.01, 0.03, 0.1  # parts of all returns


@dataclass(slots=True)
class Journey:
    """`legs`: from how many seconds after its creation on the carrier says what; `born`: when it was created.

    The rest is what the ledger keeps of it: polls, answers in a row that said the same, the word said last, when the
    last answer came, and whether that was a failure. `excused`: how late failures have made it. `pickup`: the midnight
    (UTC) of its pickup date.
    """

    legs: tuple[tuple[float, Tracked], ...]
    label_after: float = 0.0
    born: float = 0.0
    leg: int = 0
    polls: int = 0
    same: int = 0
    word: Any = None
    answered: float = -inf
    pickup: float | None = None
    failed: bool = False
    excused: float = 0.0

    def seen(self, now: float) -> Tracked:
        """The answer at a time, which never goes back."""
        legs, age = self.legs, now - self.born
        while self.leg + 1 < len(legs) and legs[self.leg + 1][0] <= age:
            self.leg += 1
        return legs[self.leg][1]

    @property
    def ends_at(self) -> float:
        """When the carrier first says that it is over; inf: never."""
        at, said = self.legs[-1]
        return self.born + at if said.update.status.is_terminal else inf


def drawn(chance: random.Random, inserted: float, pickup: float | None) -> Journey:
    """A journey: handed over at the pickup, or within days; then on its way for some more, if it ever ends.

    `inserted` and `pickup` (the midnight of its day) are times of the simulation.
    """
    label_after = 0.0 if chance.random() < 0.7 else chance.uniform(60, 300)
    if pickup is None:
        handed_over = min(chance.lognormvariate(0.5, 0.7), 12) * DAY
    else:
        late = DAY if chance.random() < 0.1 else 0.0
        handed_over = max(pickup + late + chance.uniform(9, 18) * HOUR - inserted, HOUR)
    legs = [(0.0, _CREATED)]
    if chance.random() < NEVER:
        return Journey(tuple(legs), label_after, pickup=pickup)
    if chance.random() < ODD:
        legs.append((handed_over, _ODD))
        handed_over += chance.uniform(2, 24) * HOUR
    legs.append((handed_over, UNDER_WAY))
    arrived = handed_over + chance.uniform(0.7, 4) * DAY
    legs.append((arrived, _FAILED if chance.random() < LOST else _DELIVERED))
    return Journey(tuple(legs), label_after, pickup=pickup)


def without_end() -> Journey:
    """A parcel that is under way, and stays so."""
    return Journey(((0.0, UNDER_WAY),))
