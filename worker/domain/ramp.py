"""How many creations an account may have in flight: one until one succeeds, then twice as many with each success.

A carrier that makes returns and answers nonsense costs a person's look, or a second mail to a customer, for each
creation that it is sent. So full speed has to be earned: after a start, after a pause, and after an answer that leaves
doubt one creation is in flight, over all workers, until it is known what became of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.domain.clocks import has_been

_FULL_SPEED = 64
"""So many in flight, or more, are no longer counted: each worker has its own places, and the account its pace."""

_QUIET = timedelta(minutes=1)  # after so long without a creation it is unknown whether the carrier still makes them
_KNOWN_FOR = timedelta(seconds=15)
"""A success at full speed is written down so often: often enough for `_QUIET`, seldom enough to cost nothing."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """At most `window` in flight; `since` then, when it began with one; `created_at`: a success that was known last."""

    window: int = 1
    since: datetime | None = None
    created_at: datetime | None = None

    def allowed(self, now: datetime) -> int | None:
        """How many may be in flight over all workers; None: as many as there are places for."""
        if self.created_at is None:
            return 1
        if self.created_at != _ALWAYS and (now - self.created_at > _QUIET or not has_been(self.created_at, now)):
            return 1
        return None if self.window >= _FULL_SPEED else self.window

    def succeeded(self, now: datetime, sent_at: datetime) -> "Ramp":
        """After a creation that was taken at `sent_at`; one that began before `since` proves nothing."""
        if self.since is not None and sent_at < self.since and has_been(self.since, now):
            return self
        allowed = self.allowed(now)
        if allowed is None:
            known = self.created_at is not None and now - self.created_at < _KNOWN_FOR
            return self if known else Ramp(self.window, self.since, now)
        return Ramp(min(2 * allowed, _FULL_SPEED), self.since, now)


ANY = 1000
"""As many as an account may have places for, where `allowed` says None and a number is needed."""

_ALWAYS = datetime.max.replace(tzinfo=UTC)
UNCOUNTED = Ramp(_FULL_SPEED, None, _ALWAYS)
"""Where nothing is sent."""


def begun(now: datetime) -> Ramp:
    """From one on again."""
    return Ramp(1, now)
