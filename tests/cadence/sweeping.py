"""Compressed time at a carrier that lists: the worker's own walks, ladders and decisions, one request after another.

What stands in is a heap for the database, a list in memory for the carrier's, and the account's pace as a fixed time
for each request.
"""

import random
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from tests.cadence.carrier import Journey
from tests.cadence.clock import DAY, HOUR, moment, seconds
from worker.domain.cadence import COMPANY, grown
from worker.domain.decide import decide
from worker.domain.lifecycle import State, Step
from worker.domain.listing import Places, Walk
from worker.domain.outcomes import Tracked
from worker.domain.pacing import Pace
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.engine.sweep import _AGAIN_AFTER, _LONGEST, MANY
from worker.from_settings import policy_of
from worker.settings import AccountSettings, Settings

PAGE = 50
RATE = 50  # requests a minute
SETTINGS = Settings(accounts={"shop": AccountSettings(carrier="returnpilot")})
TOGETHER = policy_of(SETTINGS, "shop")
ALONE = replace(TOGETHER, ladders={status: replace(each, meets=None) for status, each in TOGETHER.ladders.items()})

_PENDING = Tracked(TrackingUpdate(TrackingStatus.PENDING, None))
_LABELLED = Tracked(TrackingUpdate(TrackingStatus.PRE_TRANSIT, "1"))
_UNDER_WAY = Tracked(TrackingUpdate(TrackingStatus.IN_TRANSIT, "2"))
_ARRIVED = Tracked(TrackingUpdate(TrackingStatus.DELIVERED, "3"))


@dataclass
class Shop:
    """Returns that are followed at a carrier, by its list where `lists`, else each alone; and what that took.

    `late`: by how many seconds each look came later than the ladder and a tenth of its wait after the one before;
    `overdue`: by how many the worst was due later than that.
    """

    lists: bool
    seed: int = 1
    now: float = 0.0
    pages: int = 0
    singles: int = 0
    late: list[float] = field(default_factory=list)
    overdue: float = 0.0
    counting_from: float = 0.0

    def __post_init__(self) -> None:
        self.policy: Policy = TOGETHER if self.lists else ALONE
        self.chance = random.Random(self.seed)
        self.rows: dict[int, ReturnOrder] = {}
        self._journeys: dict[int, Journey] = {}
        self._seen_at: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._due: set[int] = set()
        self._list: list[int] = []  # rising; the carrier shows it from its end
        self._places, self._not_before, self._in_vain, self._unseen = Places(), 0.0, 0, set[int]()
        self._interval = Pace(RATE).interval.total_seconds()

    @property
    def requests(self) -> int:
        """All that were made for polls."""
        return self.pages + self.singles

    def add(self, number: int, journey: Journey, *, born: float, unchanged: int = 0, due: float | None = None) -> None:
        """A return that was created at `born`."""
        journey.born = born
        ladder = self.policy.ladder(TrackingStatus.PENDING)
        at = moment(due) if due is not None else ladder.next_at(moment(born), unchanged, self.chance.random())
        self._journeys[number] = journey
        self._seen_at[number] = self.now if due is not None else born
        insort(self._list, number)
        self._put(
            ReturnOrder(
                id=number,
                account="shop",
                reference=f"R-{number}",
                state=State.TRACKING,
                next_step=Step.TRACK,
                due_at=at,
                track_due_at=at,
                tracking_status=TrackingStatus.PENDING,
                carrier_ref=f"{number}",
                followed_since=moment(born),
                status_since=moment(born),
                unchanged_polls=unchanged,
                labels=frozenset({1}),
            )
        )

    def others(self, numbers: Iterable[int]) -> None:
        """What the list shows beside: orders that are over, or of another program."""
        self._list = sorted({*self._list, *numbers})

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        while True:
            self._look()
            if not self._due:
                if not self._heap or self._heap[0][0] > until:
                    break
                self.now = max(self.now, self._heap[0][0])
            elif self.now >= until:
                return
            elif self.lists and len(self._due) > MANY and self.now >= self._not_before:
                self._sweep()
            else:
                number = min(self._due, key=lambda each: self.rows[each].due_at)  # type: ignore[arg-type, return-value]
                self._ask()
                self._answered(number)
                self.singles += self.now >= self.counting_from
        self.now = max(self.now, until)

    def _look(self) -> None:
        while self._heap and self._heap[0][0] <= self.now:
            at, number = heappop(self._heap)
            if (row := self.rows.get(number)) is not None and row.due_at is not None and seconds(row.due_at) == at:
                self._due.add(number)

    def _put(self, row: ReturnOrder) -> None:
        assert row.due_at is not None
        self.rows[row.id] = row
        heappush(self._heap, (seconds(row.due_at), row.id))

    def _ask(self) -> None:
        self.now += self._interval
        self._look()

    def _sweep(self) -> None:
        """As `worker.engine.sweep.Sweeps` does it."""
        wanted = self._due - self._unseen
        walk = Walk(wanted if len(wanted) > MANY else (), self._places)
        while (page := walk.next_page()) is not None:
            self._ask()
            self.pages += self.now >= self.counting_from
            end = len(self._list) - (page - 1) * PAGE
            shown = self._list[max(end - PAGE, 0) : max(end, 0)]
            found = len(self._due.intersection(shown))
            for number in shown:
                if number in self.rows:
                    self._answered(number)
            walk.saw(page, shown, is_last=end <= PAGE, found=found)
        self._unseen |= walk.unseen
        self._in_vain = 0 if walk.pays else self._in_vain + 1
        self._not_before = self.now + grown(_AGAIN_AFTER, 2.0, self._in_vain, _LONGEST)

    def _answered(self, number: int) -> None:
        row, now = self.rows.pop(number), self.now
        self._due.discard(number)
        self._unseen.discard(number)
        assert row.due_at is not None
        wait = self.policy.ladder(row.tracking_status).steady_wait(row.unchanged_polls).total_seconds()
        latest = self._seen_at[number] + wait * (1 + 1 / COMPANY)
        if now >= self.counting_from:
            self.late.append(now - latest)
            self.overdue = max(self.overdue, seconds(row.due_at) - latest)
        self._seen_at[number] = now
        after = decide(row, self._journeys[number].seen(now), moment(now), self.policy, self.chance.random()).order
        if after.due_at is not None:
            self._put(after)


def open_for_long(shop: Shop, returns: int, days: float, *, beside: int) -> None:
    """Returns that stay open, each with one change of status within so many days; `beside` each one so many others.

    They are polled for long already, each at a time of its own.
    """
    draw = random.Random(shop.seed)
    numbers = draw.sample(range(1, returns * (1 + beside) + 1), returns)
    for number in numbers:
        change = draw.uniform(DAY, (1 + days) * DAY)
        journey = Journey(((0.0, _PENDING), (change, _LABELLED)))
        shop.add(number, journey, born=-DAY, unchanged=20, due=draw.uniform(0, 6 * HOUR))
    shop.others(range(1, returns * (1 + beside) + 1))


def coming_and_going(shop: Shop, a_day: int, days: int) -> None:
    """Returns that are created by day, wait for their customers, are sent, and arrive: some 11 days each."""
    draw = random.Random(shop.seed)
    births = sorted(day * DAY + draw.uniform(8, 22) * HOUR for day in range(days) for _ in range(a_day))
    for number, born in enumerate(births, start=1):
        shop.run(born)
        waits, sends, travels = (draw.lognormvariate(0, 0.5) * mean * DAY for mean in (4.4, 1.8, 3.5))
        legs = ((0.0, _PENDING), (waits, _LABELLED), (waits + sends, _UNDER_WAY), (waits + sends + travels, _ARRIVED))
        shop.add(number, Journey(legs), born=born)
    shop.run(days * DAY)
