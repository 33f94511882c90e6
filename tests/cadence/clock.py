"""Times of the simulation: seconds from a moment before Europe changes its clocks."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 2, 15, tzinfo=UTC)  # 29 March, when Europe/Amsterdam changes, is its 43rd day
HOUR, DAY = 3600.0, 86400.0


def moment(at: float) -> datetime:
    """A time of the simulation as `decide` wants it."""
    return START + timedelta(seconds=at)


def seconds(at: datetime) -> float:
    """A time that `decide` gave, as the simulation wants it."""
    return (at - START).total_seconds()
