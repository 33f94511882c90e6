"""Compares the database's clock, which everything is timed by, with this machine's, and remembers how it went."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from worker.domain.cadence import spoken
from worker.domain.clocks import JUMP, Clock, seen
from worker.store.accounts import database_now
from worker.store.columns import bound, read_moment
from worker.store.database import Database
from worker.store.dialect import SQLITE
from worker.store.transactions import in_statement, reading


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
    if abs(offset) <= JUMP:  # else one of the two is wrong, and nobody can say which
        return None
    off = spoken(timedelta(seconds=round(abs(offset).total_seconds())))  # whole ones: else each look says another time
    return (
        f"the database's clock is {off} {'ahead of' if offset > timedelta(0) else 'behind'} this machine's:"
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


@reading
def read_clock(connection: Connection) -> Clock | None:
    """The clock as a worker saw it last; None: no worker has noted it yet."""
    known = text("SELECT clock_seen_at, clock_doubted_since FROM database_place")
    row = connection.execute(known).one()
    seen_at = read_moment(row.clock_seen_at)
    return Clock(seen_at, read_moment(row.clock_doubted_since)) if seen_at is not None else None


@in_statement
def keep_clock(connection: Connection, clock: Clock) -> None:
    """Remember it, for the worker that starts next."""
    seen_at, doubted_since = (bound(connection.dialect.name, each) for each in (clock.seen_at, clock.doubted_since))
    connection.execute(
        text("UPDATE database_place SET clock_seen_at = :seen_at, clock_doubted_since = :doubted_since"),
        {"seen_at": seen_at, "doubted_since": doubted_since},
    )


async def is_believed(database: Database) -> bool:
    """Whether a command may judge ages now."""
    clock, _ = seen(await read_clock(database), await database_now(database), None)
    return clock.is_believed and differing(await clock_offset(database)) is None
