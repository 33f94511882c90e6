"""Watches the database's clock: no age is judged by one that jumped, or that differs from this machine's."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog

from worker.domain.cadence import spoken
from worker.domain.clocks import JUMP, STEADY, Clock, seen
from worker.engine.account import Account
from worker.store.database import Database
from worker.store.database_clock import keep_clock

_KEEP_EVERY = timedelta(minutes=1)
_UNTIL = f"no return expires, and no age is judged, until it has gone steadily for {spoken(STEADY)}"
_AGAIN = f"it has gone steadily for {spoken(STEADY)}: ages are judged again"

log = structlog.get_logger()


class ClockWatch:
    """What this process knows of the clock that everything is timed by; on SQLite that is this machine's own."""

    def __init__(self, steady: Callable[[], float], accounts: Mapping[str, Account]) -> None:
        """`steady` counts seconds, goes on while the machine sleeps, and cannot be set; `accounts` are told."""
        self._steady, self._accounts = steady, accounts
        self._noted_at = 0.0
        self._differs = False
        self.clock: Clock | None = None  # as it was seen last
        self._kept: Clock | None = None  # as the database has it from us

    @property
    def is_believed(self) -> bool:
        """Whether ages may be judged by it."""
        return not self._differs and (self.clock is None or self.clock.is_believed)

    def now(self) -> datetime | None:
        """The time by this machine's clock, for an age that nothing else tells; None: that age is not to be judged."""
        ours = datetime.now(UTC)
        # This machine's clock may have been set since the database's was noted.
        agrees = self.clock is None or abs(self.clock.seen_at + self._since(self._noted_at) - ours) <= JUMP
        return ours if agrees and self.is_believed else None

    def begin(self, kept: Clock | None, now: datetime) -> None:
        """A worker starts at `now`; `kept`: how the clock was when any worker saw it last."""
        self.clock, self._noted_at = kept, self._steady()
        self._see(now, None)

    def note(self, now: datetime, at: float) -> bool:
        """It was `now` by the database's clock at a moment of the steady one; whether it has jumped since the last."""
        passed, self._noted_at = timedelta(seconds=at - self._noted_at), at
        self._differs = abs(now + self._since(at) - datetime.now(UTC)) > JUMP
        return self._see(now, passed if self.clock is not None else None)

    async def keep(self, database: Database) -> None:
        """Let the next start know how the clock goes: once a minute, and when it comes into doubt or out of it."""
        clock, kept = self.clock, self._kept
        if clock is None:
            return
        if (
            kept is None
            or kept.doubted_since != clock.doubted_since
            or abs(clock.seen_at - kept.seen_at) >= _KEEP_EVERY
        ):
            await keep_clock(database, clock)
            self._kept = clock

    def _since(self, at: float) -> timedelta:
        return timedelta(seconds=self._steady() - at)

    def _see(self, now: datetime, passed: timedelta | None) -> bool:
        before = self.clock
        self.clock, off = seen(before, now, passed)
        if off is not None:
            log.warning("clock_differs", problem=f"the clock {_said(off, passed)}: is it right?", hint=_UNTIL)
        elif before is not None and not before.is_believed and self.clock.is_believed:
            log.info("clock_believed", hint=_AGAIN)
        for account in self._accounts.values():
            account.judge_ages(self.is_believed)
        return off is not None


def _said(off: timedelta, passed: timedelta | None) -> str:
    far, back = spoken(abs(off)), off < timedelta(0)
    if passed is None:
        return f"is {far} {'before' if back else 'after'} the time at which a worker saw it last"
    return f"jumped {far} {'back' if back else 'ahead'}"
