"""Keeps account of what a simulation does, and of every promise that it breaks."""

from array import array
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from zoneinfo import ZoneInfo

from tests.cadence.carrier import Journey
from tests.cadence.clock import DAY, HOUR, seconds
from worker.domain.cadence import Ladder
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Outcome, Tracked
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus

HEADER = (
    f"{'account':10} {'limit/min':>9} {'returns':>8} {'requests':>9} {'busiest 60 s':>12} {'polls p50/p95':>13}"
    f" {'late p50':>9} {'late p99':>9} {'worst':>9} {'shortfall':>10} {'open':>5} {'breaches':>8}"
)
_AMSTERDAM = ZoneInfo("Europe/Amsterdam")  # and daytime from 07:00 to 21:00, as the settings have it
_SHOWN = 20
_BACK_OFF = 15 * 60.0  # the longest wait after a failure
_ANSWERS = 5.0  # what two requests take
_ROUNDING = 0.001


@dataclass(slots=True)
class Poll:
    """One question: the row before and after it, when it was due, sent and answered, and how."""

    before: ReturnOrder
    after: ReturnOrder
    due: float
    sent: float
    answered: float
    outcome: Outcome


class Bounds:
    """How long a ladder lets a return wait, reckoned here anew from its settings: after so many same answers."""

    def __init__(self, ladder: Ladder) -> None:
        first, cap = ladder.first.total_seconds(), ladder.cap.total_seconds()
        near = ladder.near_pickup.total_seconds()
        self.steady = [first]
        while self.steady[-1] < cap:
            self.steady.append(min(self.steady[-1] * ladder.factor, cap))
        self.near = near or cap
        self.jitter = ladder.jitter
        # A poll that would come by night comes after it, at the latest half a day into the daytime.
        night = DAY - ladder.daytime.length.total_seconds()
        self.postponed = night + ladder.daytime.length.total_seconds() / 2 + HOUR if ladder.quiet_nights else 0.0
        self.longest = cap * (1 + ladder.jitter) + self.postponed

    def least(self, same: int, *, near: bool) -> float:
        steady = self.steady[min(same, len(self.steady) - 1)]
        return (min(steady, self.near) if near else steady) * (1 - self.jitter)

    def most(self, same: int) -> float:
        return self.steady[min(same, len(self.steady) - 1)] * (1 + self.jitter) + self.postponed


class Ledger:
    """One account's figures."""

    def __init__(self, account: str, rate: int, policy: Policy) -> None:
        self.account, self.rate, self.policy = account, rate, policy
        self.sent_at, self.arrived_at = array("d"), array("d")
        self.lateness = array("d")  # of polls, from due to sent
        self.polls = array("H")  # of each return that is over
        self.worst_shortfall = self.worst_wait_for_a_place = self.last_created = 0.0
        self.worst_by_step: dict[Step, float] = dict.fromkeys(Step, 0.0)
        self.served_while_all_wait: Counter[Step] = Counter()
        self.most_at_once = self.returns = self.finished = 0
        self.ends: Counter[TrackingStatus] = Counter()
        self.breaches: Counter[str] = Counter()
        self.examples: list[str] = []
        self._quiet_nights = policy.ladder(TrackingStatus.IN_TRANSIT).quiet_nights
        self._bounds = {status: Bounds(policy.ladder(status)) for status in TrackingStatus if not status.is_terminal}

    def claimed(self, order: ReturnOrder, late: float, promised: float) -> None:
        """A row was taken so late; no later than a reading, a tick and the shortfall that was read last."""
        step = order.next_step
        if late > self.worst_by_step[step]:
            self.worst_by_step[step] = late
        if late > promised:
            self._breach("later than was reported", f"{order.id}: {step} {late:.1f} s late, {promised:.1f} s promised")

    def sent(self, at: float, arrives: float, waited: float, at_once: int) -> None:
        """A request left for the carrier, after so long a wait for a place."""
        self.sent_at.append(at)
        self.arrived_at.append(arrives)
        if waited > self.worst_wait_for_a_place:
            self.worst_wait_for_a_place = waited
        if at_once > self.most_at_once:
            self.most_at_once = at_once

    def polled(self, poll: Poll, journey: Journey) -> None:
        """A poll was answered: was it too soon, and is the next one due when the ladder says?"""
        self.lateness.append(poll.sent - poll.due)
        before, bounds = poll.before, self._bounds[poll.before.tracking_status or TrackingStatus.UNKNOWN]
        gap = poll.sent - journey.answered
        # The last poll of all comes when its time is over, whatever the ladder says.
        is_last = poll.due >= self._ends_at(before) - _ROUNDING
        if journey.polls and not journey.failed and not is_last:
            near = journey.pickup is not None and _meets(journey.pickup, journey.answered, poll.sent)
            if gap < bounds.least(journey.same, near=near) - _ROUNDING:
                self._breach("too soon", f"{before.id}: {gap:.1f} s after {journey.same} same answers")
        journey.polls += 1
        journey.answered = poll.answered
        journey.failed = not isinstance(poll.outcome, Tracked)
        if journey.failed:  # it queues up again
            journey.excused += poll.sent - poll.due + _BACK_OFF
        elif poll.after.track_due_at is not None:
            journey.excused = 0.0
        if isinstance(poll.outcome, Tracked):
            word = poll.outcome.update.carrier_status
            journey.same = journey.same + 1 if word == journey.word else 0
            journey.word = word
            if poll.after.track_due_at is not None and poll.after.tracking_status is not None:
                if self._quiet_nights and not _is_by_day(poll.after.track_due_at):
                    self._breach("due by night", f"{before.id}: {poll.after.track_due_at}")
                wait = seconds(poll.after.track_due_at) - poll.answered
                if wait > self._bounds[poll.after.tracking_status].most(journey.same) + _ROUNDING:
                    self._breach("too long", f"{before.id}: {wait:.1f} s after {journey.same} same answers")

    def ended(self, order: ReturnOrder, journey: Journey, now: float) -> None:
        """A return is over: by the carrier's word, which was seen in time, or by its age."""
        self.finished += 1
        self.polls.append(min(journey.polls, 65535))
        if order.state is not State.COMPLETED or order.tracking_status is None:
            self._breach("no end of its own", f"{order.id}: {order.state} {order.error_code}")
            return
        self.ends[order.tracking_status] += 1
        if order.tracking_status is TrackingStatus.EXPIRED:
            return
        longest = max(bounds.longest for bounds in self._bounds.values())
        late = self.lateness[-1] + journey.excused + _ANSWERS
        if now - journey.ends_at > longest + late:
            self._breach("end seen late", f"{order.id}: {now - journey.ends_at:.0f} s")

    @property
    def busiest(self) -> int:
        """The most requests that reached the carrier within any 60 s."""
        return busiest(sorted(self.arrived_at), 60.0)

    def line(self, still_open: int) -> str:
        """The account's line under `HEADER`."""
        late = sorted(self.lateness) or [0.0]
        polls = sorted(self.polls) or [0]
        both = f"{median(polls):.0f}/{part(polls, 0.95):.0f}"
        return (
            f"{self.account:10} {self.rate or '-':>9} {self.returns:8} {len(self.sent_at):9} {self.busiest:12}"
            f" {both:>13}"
            f" {shown(median(late)):>9} {shown(part(late, 0.99)):>9} {shown(late[-1]):>9}"
            f" {shown(self.worst_shortfall):>10} {still_open:5} {sum(self.breaches.values()):8}"
        )

    def _ends_at(self, order: ReturnOrder) -> float:
        """When a return is too old to be asked about."""
        assert order.followed_since is not None
        return seconds(order.followed_since) + self.policy.ladder(order.tracking_status).max_age.total_seconds()

    def _breach(self, promise: str, what: str) -> None:
        self.breaches[promise] += 1
        if len(self.examples) < _SHOWN:
            self.examples.append(f"{promise}: {what}")


def _is_by_day(at: datetime) -> bool:
    """By the clock on the wall."""
    return 7 <= at.astimezone(_AMSTERDAM).hour < 21


def _meets(pickup: float, begin: float, end: float) -> bool:
    """Whether a period meets the pickup's date or the day after, give or take what a time zone makes of a day."""
    return end > pickup - 3 * HOUR and begin < pickup + 2 * DAY + 3 * HOUR


def busiest(times: list[float], window: float) -> int:
    """The most of sorted times that lie within any window."""
    most = first = 0
    for index, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, index - first + 1)
    return most


def between(times: array, begin: float, end: float) -> list[float]:
    """The times in a period, sorted."""
    times = sorted(times)
    return times[bisect_left(times, begin) : bisect_left(times, end)]


def part(values: list[float], share: float) -> float:
    """The value below which that share of sorted values lies."""
    return values[min(int(len(values) * share), len(values) - 1)]


def shown(span: float) -> str:
    """A span as people say it."""
    return f"{span:.1f} s" if span < 90 else f"{span / 60:.1f} min" if span < 5400 else f"{span / 3600:.1f} h"
