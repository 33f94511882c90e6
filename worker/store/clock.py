"""Compares the database's clock, which everything is timed by, with this machine's."""

from datetime import UTC, datetime, timedelta

from worker.store.accounts import database_now
from worker.store.database import SQLITE, Database

CLOCKS_APART = timedelta(minutes=1)
"""From here on one of the two clocks is wrong, and nobody can say which: it is no network's delay any more."""


class ClockDiffers(Exception):
    """The database's clock and this machine's are far apart; the message says how far, and what to do."""


async def clock_offset(database: Database) -> timedelta:
    """How far the database's clock is ahead of this machine's; zero on SQLite, which has no clock of its own."""
    if database.dialect == SQLITE:
        return timedelta(0)
    before = datetime.now(UTC)
    theirs = await database_now(database)
    return theirs - (before + (datetime.now(UTC) - before) / 2)


def differing(offset: timedelta) -> str | None:
    """What is wrong with clocks that are so far apart; None when nothing is."""
    if abs(offset) <= CLOCKS_APART:
        return None
    seconds = abs(offset).total_seconds()
    return (
        f"the database's clock is {seconds:.0f} s {'ahead of' if offset > timedelta(0) else 'behind'} this machine's:"
        " set the wrong one right (chrony, systemd-timesyncd)"
    )


async def require_same_time(database: Database) -> None:
    """Raise `ClockDiffers` where the clocks are far apart.

    A return's next step, a hold and the moment before which a carrier's order is not ours are times of the database;
    what a carrier says, certificates and metrics are compared with this machine's.
    """
    problem = differing(await clock_offset(database))
    if problem is not None:
        raise ClockDiffers(problem)
