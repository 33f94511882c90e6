"""How much of each step of an account is taken at once, so that no backlog starves another: pure."""

from collections.abc import Mapping

from worker.domain.lifecycle import SCHEDULED_STEPS, Step
from worker.store.claims import Lane

_OTHER_STEPS_FIRST = (Step.LABEL, Step.TRACK, Step.CREATE)


def share(account: str, due: Mapping[Step, int], *, free: int, ahead: int, others_first: bool) -> list[Lane]:
    """The account's lanes, most urgent first; `free` calls can be made at once, and `ahead` polls wait close by.

    Creations come first, then labels, then polls, unless it is the others' turn.
    """
    if due.get(Step.CREATE, 0) > free:
        ahead = 0  # creations wait for a place, so nobody else waits in front of them
    lanes = []
    for step in _OTHER_STEPS_FIRST if others_first else SCHEDULED_STEPS:
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
