"""Carrier-neutral tracking statuses, and the reading of a carrier's own words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.domain.carrier_words import folded


class TrackingStatus(StrEnum):
    """Where the parcel is; spelled as EasyPost does, the commonest vocabulary among carriers' APIs."""

    PENDING = "pending"
    PRE_TRANSIT = "pre_transit"
    IN_TRANSIT = "in_transit"
    UNKNOWN = "unknown"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing further is expected: polling stops."""
        return self in _TERMINAL

    def goes_back_from(self, earlier: "TrackingStatus | None") -> bool:
        """Whether a parcel that was `earlier` cannot well be here now; of an unknown word nobody can say."""
        return _HOW_FAR.get(self, 9) < _HOW_FAR.get(earlier, -1) if earlier is not None else False


_TERMINAL = frozenset(
    {TrackingStatus.DELIVERED, TrackingStatus.FAILED, TrackingStatus.CANCELLED, TrackingStatus.EXPIRED}
)
_HOW_FAR = {TrackingStatus.PENDING: 0, TrackingStatus.PRE_TRANSIT: 1, TrackingStatus.IN_TRANSIT: 2} | dict.fromkeys(
    _TERMINAL, 3
)
_UNMAPPED = ("", TrackingStatus.UNKNOWN)

POLLED = tuple(status for status in TrackingStatus if not status.is_terminal)
"""The statuses in which a return is asked about."""


@dataclass(frozen=True, slots=True)
class TrackingUpdate:
    """One observation: our status, the carrier's own word, when it says it happened (UTC), its answer as JSON text.

    `carrier_status` is None where the carrier has said nothing yet; `reason` explains a status that is not its word.
    `link_over`: nobody can use its customer's link any more.
    """

    status: TrackingStatus
    carrier_status: str | None
    carrier_time: datetime | None = None
    raw: str | None = None
    reason: str | None = None
    link_over: bool = False


class StatusMap:
    """Reads a carrier's words, those as one that are equal to the eye; a word it lacks is `unknown`."""

    def __init__(self, words: Mapping[str, TrackingStatus]) -> None:
        self._words = {folded(word): (word, status) for word, status in words.items()}

    @property
    def words(self) -> dict[str, TrackingStatus]:
        """What it maps, each word as it is written here."""
        return dict(self._words.values())

    def read(self, word: str) -> TrackingStatus:
        """Our status for the carrier's `word`, never a guess."""
        return self._words.get(folded(word), _UNMAPPED)[1]

    def maps(self, word: str) -> bool:
        """Whether it says anything about `word`."""
        return folded(word) in self._words

    def overridden_by(self, words: Mapping[str, TrackingStatus]) -> "StatusMap":
        """A map in which `words` add to and override these."""
        merged = StatusMap(words)
        merged._words = {**self._words, **merged._words}
        return merged

    @property
    def has_terminal(self) -> bool:
        """Whether any word ends the polling; without one only `max_age` does."""
        return any(status.is_terminal for _, status in self._words.values())
