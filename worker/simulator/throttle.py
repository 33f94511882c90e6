"""A carrier's limit on requests a minute: a fixed window, and the headers that tell of it."""

import math
import time
from collections.abc import Callable, Mapping

WINDOW_SECONDS = 60.0


class Throttle:
    """At most `limit` requests in each window of 60 s of `clock`; 0: no limit, and no headers.

    As with Laravel's throttle, the first request after a window has ended opens the next one.
    """

    def __init__(self, limit: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        if limit < 0:
            raise ValueError(f"a limit must be 0 or more requests a minute, not {limit}")
        self._limit = limit
        self._clock = clock
        self._opened_at = -math.inf
        self._count = 0

    def admit(self) -> bool:
        """Count one request; False if it is one too many."""
        if self._seconds_left() <= 0:
            self._opened_at, self._count = self._clock(), 0
        self._count += 1
        return self._limit == 0 or self._count <= self._limit

    def headers(self) -> Mapping[str, str]:
        """What every answer says of the limit; nothing where there is none."""
        if self._limit == 0:
            return {}
        used = self._count if self._seconds_left() > 0 else 0
        return {
            "X-RateLimit-Limit": str(self._limit),
            "X-RateLimit-Remaining": str(max(0, self._limit - used)),
        }

    def refusal_headers(self) -> Mapping[str, str]:
        """What a 429 says besides: seconds to wait, at least 1, and the real time (unix) when it may go on."""
        wait = max(1, math.ceil(self._seconds_left()))
        return {"Retry-After": str(wait), "X-RateLimit-Reset": str(math.ceil(time.time()) + wait)}

    def reset(self) -> None:
        """Forget what was counted."""
        self._opened_at, self._count = -math.inf, 0

    def _seconds_left(self) -> float:
        return self._opened_at + WINDOW_SECONDS - self._clock()
