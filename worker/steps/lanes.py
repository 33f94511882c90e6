"""How much of each step of an account is taken at once, so that no backlog starves another: pure."""

from collections.abc import Mapping

from worker.domain.lifecycle import SCHEDULED_STEPS, Step
from worker.store.claims import Lane

_POLLS_FIRST, _LABELS_FIRST = 0.10, 0.25  # below so much of chance


def first_step(chance: float) -> Step:
    """Which step is served first this time: creations, but labels in 15 turns of a hundred and polls in 10.

    However long creations queue up, a label is fetched and a poll made now and then.
    """
    if chance < _POLLS_FIRST:
        return Step.TRACK
    return Step.LABEL if chance < _LABELS_FIRST else Step.CREATE


def share(account: str, due: Mapping[Step, int], *, free: int, ahead: int, first: Step = Step.CREATE) -> list[Lane]:
    """The account's lanes, most urgent first; `free` calls can be made at once, and `ahead` polls wait close by.

    `first` comes first, then creations, labels, polls; within a lane a claim takes what is due longest.
    """
    if due.get(Step.CREATE, 0) > free:
        ahead = 0  # creations wait for a place, so nobody else waits in front of them
    lanes = []
    for step in (first, *(step for step in SCHEDULED_STEPS if step is not first)):
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
