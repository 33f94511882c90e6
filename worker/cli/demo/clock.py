"""The simulated carrier's clock, which waits for a worker on a slow machine, so that the same happens on all."""

from collections.abc import Callable
from time import monotonic

_PATIENCE = 1.0  # seconds a step may be overdue before the carrier's time stands still
_LONGEST_STEP = 0.4  # seconds; a process that was stopped for longer must not miss what the carrier says meanwhile


class CarrierClock:
    """Seconds that pass with real time, but only while the worker keeps up; call it for the time."""

    def __init__(self, real: Callable[[], float] = monotonic) -> None:
        self._real = real
        self._last = real()
        self._now = 0.0

    def __call__(self) -> float:
        """The carrier's time."""
        return self._now

    def go_on(self, overdue: float) -> None:
        """Let the time since the last call pass; `overdue` is how late the worker's oldest step is, in seconds."""
        last, self._last = self._last, self._real()
        if overdue < _PATIENCE:
            self._now += min(self._last - last, _LONGEST_STEP)
