"""How much of each queue of an account is taken in a turn, so that no backlog starves another: pure."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from worker.domain.lifecycle import QUEUES, Step
from worker.domain.policy import MAX_CLAIMS, SUSPECT_CLAIMS
from worker.store.claimed import Claimed
from worker.store.claims import Lane
from worker.store.queues import NO_MARKS, Mark, Marks

_FROM_THE_BEGINNING_EVERY = 10.0  # seconds; walking over 50,000 dead entries takes some 40 ms
_POLLS_FIRST, _LABELS_FIRST, _CREATIONS_FIRST = 0.10, 0.25, 0.50  # below so much of chance


class Turn(NamedTuple):
    """What a turn came to."""

    pause: float  # seconds until there is a reason for the next one
    found: bool  # whether anything was due
    left_behind: bool  # whether there was more than places, or requests, for it


def first_step(chance: float) -> Step:
    """Which queue is served first this time: polls in 10 turns of a hundred, labels in 15, creations in 25.

    So a label is fetched and a poll made now and then, however long creations queue up. Withdrawals come first in the
    other half, since each is a race against the parcel; mostly there are none, and creations come first.
    """
    if chance < _POLLS_FIRST:
        return Step.TRACK
    if chance < _LABELS_FIRST:
        return Step.LABEL
    return Step.CREATE if chance < _CREATIONS_FIRST else Step.CANCEL


def shuffled(accounts: Iterable[str], chance: float) -> list[str]:
    """The accounts in an order that favours none.

    Of accounts that share a pace, the first one takes the token there is. If that were always the same account, the
    others would wait as long as it has work.
    """
    names = sorted(accounts)
    if len(names) > 1:
        random.Random(chance).shuffle(names)
    return names


def lanes_of(account: str, due: Mapping[Step, int], *, free: int, ahead: int, first: Step = Step.CREATE) -> list[Lane]:
    """The account's lanes, most urgent first; `free` calls can be made at once, and `ahead` polls may wait close by.

    `first` comes first, then withdrawals, creations, labels, polls; within a lane a claim takes what is due longest.
    """
    if due.get(Step.CREATE, 0) > free:
        ahead = 0  # creations wait for a place, so no poll waits in front of them
    lanes = []
    for step in (first, *(step for step in QUEUES if step is not first)):
        quota = min(due.get(step, 0), free if step is Step.CREATE else free + ahead)
        ahead -= max(0, quota - free)
        free -= min(quota, free)
        lanes.append(Lane(account, step, quota))
    return lanes


def cut(lanes: list[Lane], allowed: int) -> list[Lane]:
    """The lanes with their quotas cut to `allowed` in all, the first ones served first."""
    kept = []
    for lane in lanes:
        quota = min(lane.quota, allowed)
        allowed -= quota
        kept.append(Lane(lane.account, lane.step, quota))
    return kept


def suspect_of(taken: Sequence[Claimed]) -> Claimed | None:
    """The row to be tried with nothing else in hand: its claims came to nothing, and it may have killed its workers."""
    return next((each for each in taken if SUSPECT_CLAIMS <= each.order.claims <= MAX_CLAIMS), None)


class Bookmarks:
    """Where the next look at each lane begins: while more is due than was taken, after the last row that was taken.

    What appears before that row, such as a lease that ran out or a late commit, is found at the backlog's end, or by
    the next look from the beginning if that comes sooner. A lane without a backlog is always looked at from there.
    """

    def __init__(self) -> None:
        self._marks: Marks = NO_MARKS
        self._began_at = 0.0

    def marks(self, now: float) -> Marks:
        """Where the next look begins, at the time `now` in seconds."""
        if now - self._began_at >= _FROM_THE_BEGINNING_EVERY:
            self._marks = NO_MARKS
        if not self._marks:
            self._began_at = now
        return self._marks

    def took(self, lanes: Iterable[Lane], due: Mapping[str, Mapping[Step, int]], taken: Iterable[Claimed]) -> bool:
        """Note what a claim brought; whether a lane that was not looked at from its beginning has come to its end.

        `due` says how many rows each lane of each account held before.
        """
        kept = dict(self._marks)
        rows: dict[tuple[str, Step], list[Mark]] = {}
        for each in taken:
            if each.due_at is not None:  # else it cannot be read
                rows.setdefault((each.order.account, each.order.queue), []).append((each.due_at, each.order.id))
        for lane in lanes:
            name = (lane.account, lane.step)
            mine = rows.get(name, [])
            if len(mine) < lane.quota or due[lane.account][lane.step] <= lane.quota:
                kept.pop(name, None)
            elif mine:
                kept[name] = max(mine)
        ended = len(self._marks.keys() - kept.keys()) > 0
        self._marks = kept
        return ended
