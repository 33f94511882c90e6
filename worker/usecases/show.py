"""What a person is shown of one return: its history, its parties, a missing label, what it waits for, and ways out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from worker.domain.payload import read_parties
from worker.domain.returns import Party
from worker.domain.waits import Coming, WaitsFor, next_steps
from worker.settings import Settings
from worker.store.database import Database
from worker.store.holds import NOTHING, describe, explain, read_accounts
from worker.store.presence import waits_for
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.archive import Archived
from worker.store.upkeep.history import History, read_history
from worker.usecases.find import find_anywhere
from worker.usecases.missing_label import MissingLabel, missing_label
from worker.usecases.not_done import NotDone
from worker.usecases.ways import Way, read_ways


@dataclass(frozen=True, slots=True)
class ShownReturn:
    """One return, with everything that belongs to it."""

    history: History
    archived_at: datetime | None = None  # None: it is not archived
    is_configured: bool = True  # its account, here
    account_waits: str | None = None  # why its account lets it wait
    account_held: bool = False  # as a whole: its carrier is asked nothing
    waits_for: WaitsFor | None = None  # this and the ways: `show_to_person` alone reads them
    ways: Sequence[Way] = ()  # what a person can do now

    @property
    def pickup_date(self) -> str | None:
        """The day on which it is to be picked up, as the payload says it."""
        day = (self.history.order.payload or {}).get("pickup_date")
        return day if isinstance(day, str) else None

    @property
    def parties(self) -> dict[str, Party]:
        """Who sends it and who gets it, as far as its payload says."""
        read = zip(("customer", "receiver"), read_parties(self.history.order.payload or {}), strict=True)
        return {name: party for name, party in read if party is not None}

    @property
    def lacks_account(self) -> bool:
        """Whether it waits for its account to be configured here, as far as can be told."""
        return not self.is_configured and self.waits_for in (None, WaitsFor.WORKER_ABSENT)

    @property
    def coming(self) -> Sequence[Coming]:
        """What is done next, each with its moment."""
        return () if self.archived_at is not None else next_steps(self.history.order)

    @property
    def missing_label(self) -> MissingLabel | None:
        """The first label that is missing, and why; None also while nothing has gone wrong."""
        return missing_label(self.history)


async def show_return(
    settings: Settings, database: Database, reference: str, account: str | None, most: int | None = None
) -> ShownReturn:
    """The return with this reference, an archived one as it was then; `most`: so many lines of its history, the newest.

    A carrier that says another word at each poll makes some ten thousand, each with its answer.
    """
    found = await find_anywhere(database, reference, account)
    if isinstance(found, ReturnOrderRow):
        history = await read_history(database, found, most)
    else:
        history = _archived(found).newest(most)
    order, state = history.order, (await read_accounts(database)).get(history.order.account)
    waits = state is not None and describe(state) != NOTHING and order.due_at is not None
    return ShownReturn(
        history,
        archived_at=found.archived_at if isinstance(found, Archived) else None,
        is_configured=not settings.accounts or order.account in settings.accounts,
        account_waits=explain(state) if waits and state is not None else None,
        account_held=state is not None and state.hold is not None,
    )


async def show_to_person(
    settings: Settings, database: Database, reference: str, account: str | None, most: int | None = None
) -> ShownReturn:
    """The same, with what it waits for and what can be done about it now: nothing, where it is archived or erased."""
    found = await show_return(settings, database, reference, account, most)
    order = found.history.order
    if found.archived_at is not None or order.erased_at is not None:
        return found
    ways = (await read_ways(settings, database, [order.id])).get(order.id, [])
    return replace(
        found,
        waits_for=await waits_for(database, order.account, order.reference),
        ways=[way for way in ways if not (found.account_held and way is Way.POLL)],
    )


def _archived(found: Archived) -> History:
    since = f"{found.archived_at:%Y-%m-%d %H:%M:%S} UTC"
    if found.unreadable is not None:
        raise NotDone(f"{found.reference!r} was archived at {since}; its document cannot be read: {found.unreadable}")
    if found.history is None:
        raise NotDone(f"{found.reference!r} was archived at {since}, and its document emptied since")
    return found.history
