"""Meters an account's requests: one at a time out of the pace that all workers share, and none without time for it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from worker.carriers.port import NoTimeLeft, Stopping
from worker.domain.kin import Shared
from worker.domain.pacing import FEW_LEFT, TOKEN_LIFE, Grant, Pace
from worker.store.accounts import slow_down, take_tokens
from worker.store.database import Database
from worker.store.failures import RowLocked

_ROUNDING = 0.002  # seconds; a database that keeps milliseconds may find a token not there yet


@dataclass(slots=True)
class Allowance:
    """What a step may spend; moments are seconds on the lease clock."""

    begin_until: float | None  # until when requests may begin; None: no limit
    token_until: float | None = None  # until when the token it was given is good; None: no token in hand
    leave: int = 0  # tokens that must be left for others


class Meter:
    """The pacer of one account in this process; the pace itself is in an account's row, for every process.

    That row is the account's own, or the one that it shares with others that send with the same key. A step's first
    request uses the token that its claim was given; further ones wait here for one.
    """

    def __init__(
        self,
        database: Database,
        account: str,
        pace: Pace | None,
        clock: Callable[[], float],
        shared: Callable[[], Shared] | None = None,
    ) -> None:
        """`pace` None: the account has no limit; `clock` is the one that leases are measured by.

        `shared` says which row and pace to draw from now, where these may be other accounts' too.
        """
        own = Shared(account, pace)
        self._shared = shared or (lambda: own)
        self._database, self._clock = database, clock
        self._tokens: list[float] = []  # when each token we hold becomes void
        self._remaining: int | None = None  # what the carrier said last, not yet written down
        self._stopping = asyncio.Event()
        self._allowance: ContextVar[Allowance | None] = ContextVar(f"allowance_{account}", default=None)

    @property
    def pace(self) -> Pace | None:
        """The rule; None: the account has no limit."""
        return self._shared().pace

    @property
    def limited(self) -> bool:
        """Whether the account has a pace."""
        return self.pace is not None

    def stop(self) -> None:
        """The process is to end: end every wait for a token."""
        self._stopping.set()

    async def prepare(self, wanted: int) -> tuple[int, datetime | None]:
        """Tokens in hand for steps about to be claimed, `wanted` at most; and when there will be more, if too few."""
        shared = self._shared()
        if shared.pace is None:
            return wanted, None
        now = self._clock()
        self._tokens = [until for until in self._tokens if until > now]
        missing = wanted - len(self._tokens)
        if missing <= 0:
            return wanted, None
        try:
            grant = await self._draw(shared.account, shared.pace, missing, 0)
        except RowLocked:  # what is in hand goes; the other accounts are not kept
            return len(self._tokens), None
        self._tokens += [now + TOKEN_LIFE.total_seconds()] * grant.tokens
        return len(self._tokens), grant.next_at

    def take(self) -> float | None:
        """A token for a step that was claimed: until when it is good, on the lease clock."""
        return self._tokens.pop(0) if self._tokens else None

    @contextmanager
    def spending(self, allowance: Allowance) -> Iterator[None]:
        """The requests of the current task are made out of `allowance`; a token it does not need goes back."""
        reset = self._allowance.set(allowance)
        try:
            yield
        finally:
            self._allowance.reset(reset)
            if allowance.token_until is not None:
                self._tokens.append(allowance.token_until)

    async def permit(self, *, counted: bool = True) -> None:
        """Return when a request may begin; raises `NoTimeLeft`, and `DatabaseUnavailable` where there is a pace."""
        self.check()
        if not self.limited or not counted:
            return
        allowance = self._allowance.get() or Allowance(None)
        until, allowance.token_until = allowance.token_until, None
        if until is not None and until > self._clock():
            return
        while wait := await self._draw_one(allowance):
            await self._pass(wait)
        self.check()

    def check(self) -> None:
        """Raise `NoTimeLeft` when the lease leaves no time any more for what was permitted."""
        self._check_time(self._allowance.get(), 0.0)

    async def reserve(self, allowance: Allowance) -> None:
        """Wait for a token and put it into `allowance`; raises as `permit` does."""
        while wait := await self.try_to_reserve(allowance):
            await self._pass(wait)

    async def try_to_reserve(self, allowance: Allowance) -> float:
        """Put a token into `allowance`, if there is one; else in how many seconds to try again. Raises as `permit`."""
        wait = await self._draw_one(allowance)
        if not wait and self.limited:
            allowance.token_until = self._clock() + TOKEN_LIFE.total_seconds()
        return wait

    def slow_down(self, remaining: int) -> None:
        """The carrier says that so few requests are left: tokens in hand are void, and the next ones come slower."""
        if self.limited and remaining <= FEW_LEFT:
            self._remaining = remaining
            self._tokens.clear()

    async def _draw_one(self, allowance: Allowance) -> float:
        """Draw one token, and return 0; or in how many seconds there may be one."""
        shared = self._shared()
        if shared.pace is None:
            return 0.0
        grant = await self._draw(shared.account, shared.pace, 1, allowance.leave)
        if grant.tokens:
            return 0.0
        self._check_time(allowance, grant.wait.total_seconds())
        return grant.wait.total_seconds() + _ROUNDING

    async def _draw(self, account: str, pace: Pace, want: int, leave: int) -> Grant:
        remaining, self._remaining = self._remaining, None
        if remaining is not None:
            await slow_down(self._database, account, pace, remaining)
        return await take_tokens(self._database, account, pace, want, leave)

    async def _pass(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
            raise Stopping

    def _check_time(self, allowance: Allowance | None, wait: float) -> None:
        until = allowance.begin_until if allowance is not None else None
        if until is not None and self._clock() + wait > until:
            raise NoTimeLeft
