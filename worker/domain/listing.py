"""Where in a carrier's list the due returns are: which page to ask for next, and when single questions are cheaper.

A carrier that lists shows its returns newest first, all of them, those that are over and those of others too. What
stands for a return here is a number that falls from the list's beginning to its end. Pages shift while they are read: a
new return moves all others down, a deleted one moves those behind it up.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from math import inf
from typing import NamedTuple

ALLOWANCE = 12
"""A walk may have made so many more requests than it found due returns, at most half as many as it looks for.

A search for a place takes some, and a list may not be what it seems.
"""

_WORTH = 2  # due returns on one page; for less a single question is as cheap, and its answer is smaller
_MOST_SPOTS = 1000  # pages that are remembered: the newest 50,000 returns
_ESTIMATES = 2  # of one place; then the pages in between are halved, however numbers are spread


class Spot(NamedTuple):
    """What a page showed: its highest number, its lowest, and how many it spans; `turn` counts the pages read."""

    page: int
    high: int
    low: int
    width: float
    turn: int


class Places:
    """On which pages numbers were when they were last seen; kept from walk to walk to estimate where they are now."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._spots: list[Spot] = []  # by page; their numbers fall
        self._turn = self._begun = 0

    def begin(self) -> None:
        """A walk begins: what was read before may have shifted since."""
        self._begun = self._turn

    def page_of(self, number: int) -> float | None:
        """The page that should show a number, and how far down on it, as a fraction; None while nothing was read."""
        spots = self._spots
        if not spots:
            return None
        index = bisect_left(spots, -number, key=lambda spot: -spot.low)
        if index == len(spots):
            last = spots[-1]
            return last.page + 1 + (last.low - number - 1) / last.width
        spot = spots[index]
        if number <= spot.high:
            return spot.page + (spot.high - number) / spot.width
        if index == 0:
            return max(1.0, spot.page - (number - spot.high) / spot.width)
        before = spots[index - 1]
        return before.page + 1 + (spot.page - before.page - 1) * (before.low - number) / (before.low - spot.high)

    @property
    def last_page(self) -> int:
        """The last one that anything is known of."""
        return self._spots[-1].page if self._spots else 0

    def width_at(self, number: int) -> float:
        """How many numbers one page spans thereabouts; more than there are returns on it where numbers are left out."""
        spots = self._spots
        if not spots:
            return inf
        index = bisect_left(spots, -number, key=lambda spot: -spot.low)
        spot = spots[min(index, len(spots) - 1)]
        if 0 < index < len(spots) and number > spot.high and (between := spot.page - spots[index - 1].page - 1):
            return (spots[index - 1].low - spot.high) / between
        return spot.width

    def note(self, page: int, numbers: Collection[int]) -> None:
        """Take down what a page showed; what was read in earlier walks has shifted as far as this page did."""
        high, low, steps = max(numbers), min(numbers), max(len(numbers) - 1, 1)
        place = self.page_of(high)
        shift = 0 if place is None else round(page - place)
        self._turn += 1
        spots = [each if each.turn > self._begun else each._replace(page=each.page + shift) for each in self._spots]
        spots.append(Spot(page, high, low, max((high - low) * (steps + 1) / steps, 1), self._turn))
        kept: list[Spot] = []
        for spot in sorted(spots, key=lambda spot: -spot.high):  # of two that contradict each other the later one holds
            while kept and not _fit(kept[-1], spot) and kept[-1].turn < spot.turn:
                kept.pop()
            if not kept or _fit(kept[-1], spot):
                kept.append(spot)
        self._spots = kept[:_MOST_SPOTS]


class Walk:
    """One way through the list to the due returns, from the newest to the oldest, as long as it pays.

    Each page is asked for once at most, even if pages shift. What it leaves out is to be asked about one by one.
    """

    def __init__(self, due: Iterable[int], places: Places) -> None:
        """`due` are the numbers that are looked for; `places` learns from what is read."""
        self._left, self._places = sorted(set(due)), places
        self._allowance = min(ALLOWANCE, max(len(self._left) // 2, 1))
        self._read: dict[int, tuple[int, int]] = {}  # highest and lowest number, by page
        self._end: float = inf  # the first page that is known to be behind the list's end
        self._target, self._tries = 0, 0
        self.found = 0
        self.unseen: set[int] = set()
        """Due returns that the list does not show where they would stand."""
        places.begin()

    @property
    def pages(self) -> int:
        """How many were read."""
        return len(self._read)

    @property
    def pays(self) -> bool:
        """Whether it cost no more than single questions would have."""
        return self.pages <= self.found

    def next_page(self) -> int | None:
        """The page to ask for, which `saw` is to be told of; None: the rest is cheaper one by one."""
        while self._left and self.pages < self.found + self._allowance:
            target = self._left[-1]
            if not self._is_worth_a_page(target):
                self._left.pop()
                continue
            above = max((page for page, (_, low) in self._read.items() if low > target), default=0)
            below = min((page for page, (high, _) in self._read.items() if high < target), default=self._end)
            if below - above > 1:
                return self._between(target, above, below)
            self.unseen.add(self._left.pop())
        return None

    def saw(self, page: int, numbers: Collection[int], *, is_last: bool, found: int) -> int:
        """What a page showed: `found` due returns, of those that are looked for or not; how many of the former."""
        self.found += found
        high, low = max(numbers, default=0), min(numbers, default=0)
        self._read[page] = high, low
        if numbers:
            self._places.note(page, numbers)
        if is_last:
            self._end = min(self._end, page + 1)
        begin, end = bisect_left(self._left, low), bisect_right(self._left, high)
        within, shown = self._left[begin:end], set(numbers)
        del self._left[begin:end]
        self.unseen.update(number for number in within if number not in shown)
        return sum(number in shown for number in within)

    def _is_worth_a_page(self, target: int) -> bool:
        """Whether so many are near to it as one page would show: of what is spread thinly each costs a page."""
        lowest = target - self._places.width_at(target)
        return len(self._left) - bisect_right(self._left, lowest) >= _WORTH

    def _between(self, target: int, above: int, below: float) -> int:
        """A page behind `above` and before `below`: an estimate, and where estimates fail the middle, or far ahead."""
        self._tries = self._tries + 1 if target == self._target else 0
        self._target = target
        guess = self._places.page_of(target) or 1.0
        if self._tries >= _ESTIMATES:
            guess = (above + below) // 2 if below < inf else max(guess, above + 2**self._tries)
        farthest = max(64 * above + 256, self._places.last_page)  # an estimate beyond all that was read may be far off
        return int(min(max(guess, above + 1), below - 1, farthest))


def _fit(newer: Spot, older: Spot) -> bool:
    return newer.low > older.high and newer.page < older.page
