"""What an account may take in a turn: of each queue so much as there are places and requests for."""

from datetime import datetime
from typing import NamedTuple

from worker.domain.lifecycle import Step
from worker.engine.account import Account
from worker.engine.circuits import Circuits
from worker.engine.lanes import cut, first_step, share
from worker.store.accounts import Agenda
from worker.store.claims import Lane


class Share(NamedTuple):
    """The lanes of an account, when to look again, and whether rows are left behind for want of a place."""

    lanes: list[Lane]
    next_at: datetime | None
    left_behind: bool


async def share_of(account: Account, agenda: Agenda, probe: Step | None, circuits: Circuits, chance: float) -> Share:
    """Share out places and requests; a `probe` is asked for before it is taken.

    Notes whether creations wait for a request: where no place is free nothing is asked for, and nothing new is known.
    """
    # The list answers polls alone.
    due = {**agenda.due, Step.TRACK: 0} if account.sweeping else agenda.due
    free, ahead = account.free, account.room - account.free
    lanes = share(account.name, due, free=free, ahead=ahead, first=first_step(chance))
    wanted = sum(lane.quota for lane in lanes)
    left_behind = sum(due.values()) > wanted
    if not wanted:
        return Share(lanes, agenda.next_due_at, left_behind)
    allowed, next_at = await account.meter.prepare(wanted)
    kept = cut(lanes, allowed)
    if free:
        account.creations_wait = _creations(kept) < _creations(lanes)
    if any(lane.step is probe and lane.quota for lane in kept):
        assert probe is not None
        if not await circuits.take_probe(account, probe):
            kept = [lane for lane in kept if lane.step is not probe]
    return Share(kept, next_at if allowed < wanted else agenda.next_due_at, left_behind)


def _creations(lanes: list[Lane]) -> int:
    return sum(lane.quota for lane in lanes if lane.step is Step.CREATE)
