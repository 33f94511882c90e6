"""A backlog is worked off from where the last claim left it, and nothing that appears before that is lost."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.domain.cases import tracking
from tests.engine.scripted import ScriptedCarrier, make_loop
from tests.store.rows import LEASE
from worker.domain.lifecycle import QUEUES, Step
from worker.domain.outcomes import Tracked
from worker.domain.returns import ReturnOrder
from worker.engine.running import Timing
from worker.engine.turn import Bookmarks, cut, first_step, lanes_of, shuffled
from worker.store.accounts import read_agendas
from worker.store.claimed import Claimed
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL

LANE = ("default", Step.TRACK)


async def _insert(database: Database, folder: Path, count: int) -> datetime:
    """Returns T0, T1, ... to be followed, one second apart, the last one due a minute ago; when T0 is due."""
    loop = await make_loop(database, folder, {"default": ScriptedCarrier()})
    first = datetime.now(UTC) - timedelta(seconds=60 + count)
    for number in range(count):
        await loop.insert_followed([f"T{number}"], first + timedelta(seconds=number))
    return first


async def _take(database: Database, backlogs: Bookmarks, quota: int, at: float) -> tuple[list[str], bool]:
    """What a turn would claim at the time `at`, and whether that ended a backlog."""
    lanes, marks = [Lane(*LANE, quota)], backlogs.marks(at)
    agenda = (await read_agendas(database, ["default"], 100, marks))["default"]
    taken = await claim(database, lanes, "worker-1", LEASE, marks)
    return [each.order.reference for each in taken], backlogs.took(lanes, {"default": agenda.due}, taken)


async def test_a_claim_goes_on_after_the_last_row_of_the_one_before(database: Database, tmp_path: Path) -> None:
    first = await _insert(database, tmp_path, 6)
    backlogs = Bookmarks()
    assert await _take(database, backlogs, 2, at=0) == (["T0", "T1"], False)
    (due_at, order_id) = backlogs.marks(0)[LANE]
    assert (abs(due_at - first - timedelta(seconds=1)) < timedelta(milliseconds=1), order_id) == (True, 2)
    assert await _take(database, backlogs, 2, at=1) == (["T2", "T3"], False)


async def test_the_end_of_a_backlog_is_followed_by_a_look_from_the_beginning(
    database: Database, tmp_path: Path
) -> None:
    first = await _insert(database, tmp_path, 5)
    loop, backlogs = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}), Bookmarks()
    assert await _take(database, backlogs, 2, at=0) == (["T0", "T1"], False)
    await loop.insert_followed(["late"], first)  # committed after the claim, due before its mark
    assert await _take(database, backlogs, 2, at=1) == (
        (["T2", "T3"], False) if database.dialect == POSTGRESQL else (["late", "T2"], False)
    )
    taken, ended = await _take(database, backlogs, 2, at=2)
    if database.dialect == POSTGRESQL:
        assert (taken, ended) == (["T4"], True)
        assert await _take(database, backlogs, 2, at=3) == (["late"], False)
    assert backlogs.marks(4) == {}


async def test_a_long_backlog_is_looked_at_from_its_beginning_every_ten_seconds(
    database: Database, tmp_path: Path
) -> None:
    first = await _insert(database, tmp_path, 20)
    loop, backlogs = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}), Bookmarks()
    for at in (100, 105, 109):
        await _take(database, backlogs, 2, at=at)
    await loop.insert_followed(["late"], first)
    taken, _ = await _take(database, backlogs, 2, at=110)
    assert taken[0] == "late"


async def test_rows_due_at_the_same_moment_are_told_apart(database: Database, tmp_path: Path) -> None:
    """As those that one transaction inserted."""
    loop, backlogs = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}), Bookmarks()
    await loop.insert_followed([f"T{number}" for number in range(7)], datetime.now(UTC) - timedelta(seconds=9))
    taken = [await _take(database, backlogs, 3, at=number) for number in range(3)]
    assert [names for names, _ in taken] == [["T0", "T1", "T2"], ["T3", "T4", "T5"], ["T6"]]


def test_a_lane_without_a_backlog_has_no_mark() -> None:
    backlogs, due = Bookmarks(), {"default": {Step.CREATE: 0, Step.LABEL: 0, Step.TRACK: 2}}
    taken = [_claimed(1), _claimed(2)]
    assert not backlogs.took([Lane(*LANE, 2)], due, taken)
    assert backlogs.marks(0) == {}
    due = {"default": {Step.TRACK: 9}}
    assert not backlogs.took([Lane(*LANE, 3)], due, taken)  # somebody else was quicker, or locks the others
    assert backlogs.marks(0) == {}


def test_a_lane_whose_turn_it_is_not_keeps_its_mark() -> None:
    backlogs, due = Bookmarks(), {"default": {Step.CREATE: 9, Step.TRACK: 9}}
    backlogs.took([Lane("default", Step.CREATE, 0), Lane(*LANE, 1)], due, [_claimed(7)])
    mark = dict(backlogs.marks(0))
    assert mark[LANE][1] == 7
    assert not backlogs.took([Lane("default", Step.CREATE, 9), Lane(*LANE, 0)], due, [])
    assert backlogs.marks(1) == mark


def test_a_withdrawal_moves_no_mark_of_the_polls() -> None:
    """It became due a moment ago, behind all of them."""
    backlogs, due = Bookmarks(), {"default": {Step.CANCEL: 1, Step.TRACK: 9}}
    withdrawn = _claimed(9, cancel_requested_at=datetime.now(UTC))
    backlogs.took([Lane("default", Step.CANCEL, 1), Lane(*LANE, 1)], due, [withdrawn, _claimed(3)])
    assert {lane: mark[1] for lane, mark in backlogs.marks(0).items()} == {LANE: 3}


def _claimed(order_id: int, **changes: Any) -> Claimed:
    return Claimed(tracking(id=order_id, **changes), datetime.now(UTC), datetime.now(UTC))


async def test_what_appears_before_the_mark_is_done_before_the_loop_is_idle(database: Database, tmp_path: Path) -> None:
    class Carrier(ScriptedCarrier):
        came = False

        async def track(self, order: ReturnOrder) -> Tracked:
            if self.count("track") > 10 and not self.came:
                self.came = True
                await loop.insert_followed(["late"], datetime.now(UTC) - timedelta(days=1))
            return await super().track(order)

    carrier = Carrier()
    loop = await make_loop(database, tmp_path, {"default": carrier}, max_in_flight=4)
    await loop.insert_followed([f"T{number}" for number in range(30)], datetime.now(UTC) - timedelta(seconds=60))
    writing = asyncio.create_task(loop.recorder.run())
    await asyncio.wait_for(loop.engine.run(until_idle=True), 30)  # the tick is an hour
    writing.cancel()
    assert carrier.count("track") == 31
    assert ("track", "late") in carrier.calls


async def test_until_idle_ends_however_short_the_tick_is(database: Database, tmp_path: Path) -> None:
    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()}, timing=Timing(lease=90.0, tick=0.05))
    await asyncio.wait_for(loop.engine.run(until_idle=True), 5)


def test_withdrawals_come_first_in_every_second_turn_and_nobody_is_left_out() -> None:
    due = dict.fromkeys(QUEUES, 9)
    served = [
        lane.step
        for number in range(100)
        for lane in cut(lanes_of("default", due, free=4, ahead=2, first=first_step(number / 100)), 1)
        if lane.quota
    ]
    assert Counter(served) == {Step.CANCEL: 50, Step.CREATE: 25, Step.LABEL: 15, Step.TRACK: 10}
    lanes = lanes_of("default", due | {Step.LABEL: 0}, free=4, ahead=0, first=Step.LABEL)
    assert [lane.step for lane in lanes] == [Step.LABEL, Step.CANCEL, Step.CREATE, Step.TRACK]


def test_each_of_many_accounts_is_served_first_now_and_then() -> None:
    names = [f"account_{number}" for number in range(7)]
    orders = [shuffled(names, number / 1000) for number in range(1000)]
    assert {order[0] for order in orders} == set(names)
    assert all(sorted(order) == names for order in orders)
    for one in names:
        for other in names:
            before = sum(order.index(one) < order.index(other) for order in orders)
            assert one == other or 400 < before < 600
