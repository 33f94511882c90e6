"""TAKE: sees what each account asks for, shares out places and requests, and claims so many rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from worker.domain.lifecycle import Step
from worker.engine.account import Account
from worker.engine.circuits import Admitted
from worker.engine.running import Running, Tools
from worker.engine.sweep import MANY, Sweeps
from worker.engine.turn import Bookmarks, Turn, cut, first_step, lanes_of, shuffled
from worker.store.accounts import read_agendas
from worker.store.claimed import Claimed
from worker.store.claims import Lane, claim, claim_to_settle

_COMPANY = 0.05  # seconds that what becomes due may wait for more, so that a turn is worth its statements
_SETTLED_AT_ONCE = 4  # look-ups beside creations that are held back


class Taken(NamedTuple):
    """Rows that are leased, since a moment after `asked_at` on the lease clock; and the accounts that had room."""

    rows: Sequence[Claimed]
    asked_at: float
    accounts: Sequence[Account]
    turn: Turn


class Taker:
    """Takes for one process; nothing is remembered from turn to turn but where a backlog goes on."""

    def __init__(self, tools: Tools, running: Running, sweeps: Sweeps) -> None:
        """`sweeps` are begun where a carrier's list is worth more than single questions."""
        self._tools, self._running, self._sweeps = tools, running, sweeps
        self._lease = timedelta(seconds=tools.timing.lease)
        self._bookmarks = Bookmarks()

    async def take(self) -> Taken:
        """Claim what is due, and begin the sweeps that are worth it."""
        tools = self._tools
        open_accounts = {name: account for name, account in tools.accounts.items() if account.room}
        left_behind = found = len(open_accounts) < len(tools.accounts)
        if not open_accounts:
            return Taken((), tools.clock(), (), Turn(tools.timing.tick, found, left_behind))
        # One more than could ever be taken: while we ask, places become free, and a count that was cut short must still
        # tell that something is left behind.
        most = max(MANY, *(account.capacity for account in open_accounts.values())) + 1
        marks = self._bookmarks.marks(tools.clock())
        slowdowns = {name: account.circuits.slowdowns for name, account in open_accounts.items()}
        agendas = await read_agendas(tools.database, open_accounts, most, marks)
        if tools.watch.note(next(iter(agendas.values())).now, tools.clock()):
            # The database's clock jumped, which may have ended our leases: we must not take our own rows once more.
            await self._running.finish_all()
        pause, lanes = tools.timing.tick, list[Lane]()
        for name in shuffled(agendas, tools.chance()):
            self._running.goes_on()  # each account has statements of its own, and there may be many accounts
            account, agenda = open_accounts[name], agendas[name]
            admitted = await account.notice(agenda)
            if admitted is None:
                continue
            found = found or any(admitted.due.values())
            if not admitted.due.get(Step.CREATE):
                account.creations_wait = False
            if admitted.probe is None and self._sweeps.wanted(account, admitted.due.get(Step.TRACK, 0)):
                self._sweeps.begin(account)
            share, next_at, more = await self._share(account, admitted, agenda.next_due_at)
            lanes += share
            left_behind = left_behind or more
            if next_at is not None:
                pause = min(pause, max((next_at - agenda.now).total_seconds(), _COMPANY))
        self._running.goes_on()
        asked_at = tools.clock()
        # What failed since the agenda was read is not in it.
        counted = {
            name: account.circuits.probes_creations
            for name, account in open_accounts.items()
            if account.circuits.counts or account.circuits.slowdowns != slowdowns[name]
        }
        rows = await claim(tools.database, lanes, tools.owner, self._lease, marks, counted)
        if self._bookmarks.took(lanes, {name: agenda.due for name, agenda in agendas.items()}, rows):
            pause = 0.0  # what appeared before the marks is not kept waiting
        return Taken(rows, asked_at, list(open_accounts.values()), Turn(pause, found, left_behind))

    async def take_to_settle(self, account: Account) -> tuple[Sequence[Claimed], float]:
        """The rows, and a moment on the lease clock before they were leased.

        While creations are held back, what is in doubt is looked up and what was withdrawn ends all the same.
        """
        quota, _ = await account.meter.prepare(min(account.free, _SETTLED_AT_ONCE))
        asked_at, rows = self._tools.clock(), list[Claimed]()
        if quota:
            rows = await claim_to_settle(self._tools.database, account.name, quota, self._tools.owner, self._lease)
        return rows, asked_at

    async def _share(
        self, account: Account, admitted: Admitted, next_due_at: datetime | None
    ) -> tuple[Sequence[Lane], datetime | None, bool]:
        """The account's part of a claim, when to look again, and whether rows are left behind for want of a place.

        A probe is asked for before it is taken. Whether creations wait for a request is noted; where no place is free
        none is asked for, and nothing new is known.
        """
        # A sweep answers all polls, and nothing else.
        due = {**admitted.due, Step.TRACK: 0} if account.sweeping else admitted.due
        free, ahead = account.free, account.room - account.free
        lanes = lanes_of(account.name, due, free=free, ahead=ahead, first=first_step(self._tools.chance()))
        wanted = sum(lane.quota for lane in lanes)
        left_behind = sum(due.values()) > wanted
        if not wanted:
            return lanes, next_due_at, left_behind
        allowed, next_at = await account.meter.prepare(wanted)
        kept = cut(lanes, allowed)
        if free:
            cuts = zip(lanes, kept, strict=True)
            account.creations_wait = any(after.quota < lane.quota for lane, after in cuts if lane.step is Step.CREATE)
        probe = admitted.probe
        probes = probe is not None and any(lane.step is probe and lane.quota for lane in kept)
        if probe is not None and probes and not await account.circuits.take_probe(probe):
            kept = [lane for lane in kept if lane.step is not probe]
        return kept, next_at if allowed < wanted else next_due_at, left_behind
