"""TAKE: sees what each account asks for, shares out places and requests, and claims so many rows."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.domain.lifecycle import Step
from worker.engine.account import Account
from worker.engine.circuits import Admitted
from worker.engine.clock_watch import ClockWatch
from worker.engine.leases import Timing
from worker.engine.sweep import MANY, Sweeps
from worker.engine.turn import Bookmarks, Turn, cut, first_step, lanes_of, shuffled
from worker.store.accounts import read_agendas
from worker.store.claimed import Claimed
from worker.store.claims import Lane, claim, claim_to_settle
from worker.store.database import Database

_COMPANY = 0.05  # seconds that what becomes due may wait for more, so that a turn is worth its statements
_SETTLED_AT_ONCE = 4  # look-ups beside creations that are held back


class Taken(NamedTuple):
    """Rows that are leased, since a moment after `asked_at` on the lease clock; and the accounts that had room."""

    rows: Sequence[Claimed]
    asked_at: float
    accounts: Sequence[Account]
    turn: Turn


class _Share(NamedTuple):
    """An account's part of a claim, when to look again, and whether rows are left behind for want of a place."""

    lanes: Sequence[Lane]
    next_at: datetime | None
    left_behind: bool


class Taker:
    """Takes for one process; what is read again in each turn is not remembered here, but where backlogs go on."""

    def __init__(
        self,
        database: Database,
        accounts: Mapping[str, Account],
        sweeps: Sweeps,
        owner: str,
        timing: Timing,
        clock: Callable[[], float],
        watch: ClockWatch,
        chance: Callable[[], float],
    ) -> None:
        """`owner` is whose leases they are; `clock` is the one that leases are measured by."""
        self._database, self._accounts, self._sweeps, self._owner = database, accounts, sweeps, owner
        self._timing, self._clock, self._watch, self._chance = timing, clock, watch, chance
        self._lease = timedelta(seconds=timing.lease)
        self._bookmarks = Bookmarks()

    async def take(
        self, goes_on: Callable[[], None], sweep: Callable[[Account], None], clock_jumped: Callable[[], Awaitable[None]]
    ) -> Taken:
        """Claim what is due. `goes_on` is told of progress, `sweep` whose polls the carrier's list shall answer.

        Where the database's `clock_jumped`, our leases may have ended by that: we must not take our own rows once more.
        """
        open_accounts = {name: account for name, account in self._accounts.items() if account.room}
        left_behind = found = len(open_accounts) < len(self._accounts)
        if not open_accounts:
            return Taken((), self._clock(), (), Turn(self._timing.tick, found, left_behind))
        # One more than could ever be taken: while we ask, places become free, and a count that was cut short must still
        # tell that something is left behind.
        most = max(MANY, *(account.capacity for account in open_accounts.values())) + 1
        marks = self._bookmarks.marks(self._clock())
        slowdowns = {name: account.circuits.slowdowns for name, account in open_accounts.items()}
        agendas = await read_agendas(self._database, open_accounts, most, marks)
        if self._watch.note(next(iter(agendas.values())).now, self._clock()):
            await clock_jumped()
        pause, lanes = self._timing.tick, list[Lane]()
        for name in shuffled(agendas, self._chance()):
            goes_on()  # each account has statements of its own, and there may be many accounts
            account, agenda = open_accounts[name], agendas[name]
            admitted = await account.notice(agenda)
            if admitted is None:
                continue
            found = found or any(admitted.due.values())
            if not admitted.due.get(Step.CREATE):
                account.note_creations(wait=False)
            if admitted.probe is None and self._sweeps.wanted(account, admitted.due.get(Step.TRACK, 0)):
                account.sweep(True)
                sweep(account)
            share = await self._share(account, admitted, agenda.next_due_at)
            lanes += share.lanes
            left_behind = left_behind or share.left_behind
            if share.next_at is not None:
                pause = min(pause, max((share.next_at - agenda.now).total_seconds(), _COMPANY))
        goes_on()
        asked_at = self._clock()
        # What failed since the agenda was read is not in it.
        counted = {
            name: account.circuits.probes_creations
            for name, account in open_accounts.items()
            if account.circuits.counts or account.circuits.slowdowns != slowdowns[name]
        }
        rows = await claim(self._database, lanes, self._owner, self._lease, marks, counted)
        if self._bookmarks.took(lanes, {name: agenda.due for name, agenda in agendas.items()}, rows):
            pause = 0.0  # what appeared before the marks is not kept waiting
        return Taken(rows, asked_at, list(open_accounts.values()), Turn(pause, found, left_behind))

    async def take_doubtful(self, account: Account) -> Taken:
        """While creations are held back, what is in doubt is looked up and what was withdrawn ends all the same."""
        quota, _ = await account.meter.prepare(min(account.free, _SETTLED_AT_ONCE))
        asked_at, rows = self._clock(), list[Claimed]()
        if quota:
            rows = await claim_to_settle(self._database, account.name, quota, self._owner, self._lease)
        return Taken(rows, asked_at, [account], Turn(self._timing.tick, bool(rows), left_behind=False))

    async def _share(self, account: Account, admitted: Admitted, next_due_at: datetime | None) -> _Share:
        """Share out places and requests; a probe is asked for before it is taken.

        Notes whether creations wait for a request: where no place is free nothing is asked for, and nothing new is
        known.
        """
        # The list answers polls alone.
        due = {**admitted.due, Step.TRACK: 0} if account.sweeping else admitted.due
        free, ahead = account.free, account.room - account.free
        lanes = lanes_of(account.name, due, free=free, ahead=ahead, first=first_step(self._chance()))
        wanted = sum(lane.quota for lane in lanes)
        left_behind = sum(due.values()) > wanted
        if not wanted:
            return _Share(lanes, next_due_at, left_behind)
        allowed, next_at = await account.meter.prepare(wanted)
        kept = cut(lanes, allowed)
        if free:
            account.note_creations(wait=_creations(kept) < _creations(lanes))
        probe = admitted.probe
        probes = probe is not None and any(lane.step is probe and lane.quota for lane in kept)
        if probe is not None and probes and not await account.circuits.take_probe(probe):
            kept = [lane for lane in kept if lane.step is not probe]
        return _Share(kept, next_at if allowed < wanted else next_due_at, left_behind)


def _creations(lanes: Sequence[Lane]) -> int:
    return sum(lane.quota for lane in lanes if lane.step is Step.CREATE)
