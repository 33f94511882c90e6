"""Since when the database is away, and for what: kept by the database, since several parts of a worker use it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Outage:
    """One at a time: it begins with the first thing that fails, and ends when the last one has gone well again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self.since: datetime | None = None
        """When it began; None: all is well."""
        self.was_cut = False
        """Whether something failed since the database was last known to be what it was: another may have taken over."""
        self._clock, self._began = clock, 0.0
        self._failing: dict[str, bool] = {}

    @property
    def refuses(self) -> bool:
        """Whether something is refused, so that a person has to act."""
        return any(self._failing.values())

    def failed(self, doing: str, *, refused: bool) -> bool:
        """This did not go well; whether that says something new."""
        self.was_cut = True
        if self.since is None:
            self.since, self._began = datetime.now(UTC), self._clock()
        news = self._failing.get(doing) is not refused
        self._failing[doing] = refused
        return news

    def went_well(self, doing: str) -> float | None:
        """This went well; how many seconds the outage took where it ends by that."""
        self._failing.pop(doing, None)
        if self.since is None or self._failing:
            return None
        self.since = None
        return self._clock() - self._began
