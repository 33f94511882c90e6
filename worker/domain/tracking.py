"""Carrier-neutral tracking statuses, the reading of a carrier's own words, and one status for several shipments.

Two words of a carrier's are one when they are equal to the eye, by Unicode's caseless comparison (toNFKC_Casefold, The
Unicode Standard, 3.13, R5), for which neither width nor what is not shown counts. Beyond that white space, `_` and
dashes do not count, and the four letters i that Turkish has are one, since its capitals come back as either. Accents
do count: `Livré` and `Livre` are two words. References have a comparison of their own (`worker.domain.sameness`), since
a carrier may have changed one.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
        """Whether a parcel that was `earlier` cannot well be here now; an unknown word says nothing of that."""
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
    """One observation of a return at its carrier."""

    status: TrackingStatus
    carrier_status: str | None  # the carrier's own word; None where it has said nothing yet
    carrier_time: datetime | None = None  # when it says that it happened, UTC
    raw: str | None = None  # its answer as JSON
    reason: str | None = None  # explains a status that is not its word
    link_over: bool = False  # its customer's link cannot be used any more


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


# Default_Ignorable_Code_Point (Unicode Character Database, DerivedCoreProperties.txt), white space, `_` and dashes.
_UNCOUNTED = re.compile(
    "["
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\s_\-\u2010-\u2015\u2212"
    "]+"
)
_ANY_I = re.compile("i\u0307+|ı")
_ROUNDS = 3  # what is left out, or loses its case, may let its neighbours compose, and that once more


def folded(word: str) -> str:
    """What `word` is compared by."""
    if word.isascii():
        return _UNCOUNTED.sub("", word.casefold())
    for _ in range(_ROUNDS):
        word = _UNCOUNTED.sub("", unicodedata.normalize("NFKC", word)).casefold()
        word = _ANY_I.sub("i", unicodedata.normalize("NFKC", word))
    return word


def clashes(meanings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each pair of spellings of one word that mean different things: the first one, and another."""
    seen: dict[str, str] = {}
    pairs = [(seen.setdefault(folded(word), word), word) for word in meanings]
    return [(twin, word) for twin, word in pairs if meanings[twin] != meanings[word]]


def order_status(statuses: Sequence[TrackingStatus], *, all_returned: bool, link_over: bool) -> TrackingStatus:
    """Where an order is whose shipments appear as the customer schedules them.

    It is terminal only when nothing more can come: `all_returned`, every item is in a shipment, or `link_over`, the
    customer's link has run out. A shipment whose label was refunded (cancelled) may be scheduled again until then.
    """
    if not statuses:
        return TrackingStatus.EXPIRED if link_over else TrackingStatus.PENDING
    status = _rolled_up(statuses)
    if not status.is_terminal or link_over:
        return status
    # Nothing is under way, and the customer may still schedule more: that can take as long as his link is open.
    complete = all_returned and status is not TrackingStatus.CANCELLED
    return status if complete else TrackingStatus.PENDING


def _rolled_up(statuses: Sequence[TrackingStatus]) -> TrackingStatus:
    """One status for several shipments; cancelled ones count only where there is nothing else."""
    kinds = {status for status in statuses if status is not TrackingStatus.CANCELLED}
    if not kinds:
        return TrackingStatus.CANCELLED
    for decisive in (TrackingStatus.UNKNOWN, TrackingStatus.IN_TRANSIT):
        if decisive in kinds:
            return decisive
    terminal = kinds & _TERMINAL
    if terminal == kinds:
        return TrackingStatus.FAILED if TrackingStatus.FAILED in kinds else TrackingStatus.DELIVERED
    if terminal:
        return TrackingStatus.IN_TRANSIT
    return TrackingStatus.PRE_TRANSIT if TrackingStatus.PRE_TRANSIT in kinds else TrackingStatus.PENDING
