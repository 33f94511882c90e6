"""What one way out of one return would do now, by the function that does it; nothing is changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from worker.domain.by_hand import Person, Refusal, WayOut, cancel, found, may_be_asked_about, not_created, retry
from worker.domain.decision import Decision
from worker.domain.previewing import sight_of
from worker.domain.returns import ReturnOrder
from worker.settings import Settings
from worker.store.database import Database
from worker.store.holds import read_accounts
from worker.store.upkeep.choice import holders_of, look_at
from worker.usecases.carrier import require_asking
from worker.usecases.consequences import Changed, Consequences, changes, consequences_of, keeps_waiting
from worker.usecases.desk import desk_of, require_number
from worker.usecases.find import find_return
from worker.usecases.not_done import NotDone
from worker.usecases.show import ShownReturn, show_to_person
from worker.usecases.ways import Way

_ANYBODY = Person("")

_WAYS: Mapping[Way, Callable[[str], WayOut]] = {
    Way.FOUND: found,
    Way.NOT_CREATED: lambda _: not_created,
    Way.RETRY: lambda _: retry,
    Way.CANCEL: lambda _: cancel,
}


@dataclass(frozen=True, slots=True)
class Meant:
    """Which return, and which way out of it; `number` is the carrier's, where the way is `FOUND`."""

    account: str
    reference: str
    way: Way
    number: str = ""

    @property
    def way_out(self) -> WayOut:
        """What decides it; a question to the carrier is decided by its answer."""
        return _WAYS[self.way](self.number)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a way out would do to a return now; nothing was changed.

    `sight` is given back by who decides. `not_done`: why what was decided was not done, where this comes in its place.
    """

    meant: Meant
    shown: ShownReturn
    order: ReturnOrder
    outcome: Decision | Refusal | None  # None: a question, whose answer decides
    consequences: Consequences | None  # None: it is refused
    account_waits: str | None  # why what follows is not begun at once: its account waits, or creates nothing
    sight: str
    not_done: Refusal | None = None

    @property
    def refusal(self) -> Refusal | None:
        """Why it makes no sense now; None: it does."""
        return self.outcome if isinstance(self.outcome, Refusal) else None

    @property
    def changes(self) -> Sequence[Changed]:
        """How the return is, and how it would be."""
        return changes(self.order, self.outcome.order if isinstance(self.outcome, Decision) else self.order)


async def preview(settings: Settings, database: Database, meant: Meant) -> Preview:
    """What would happen; raises `NotDone` where there is no such return, or nothing is done about it any more."""
    order_id = await find_meant(settings, database, meant)
    shown = await show_to_person(settings, database, meant.reference, meant.account, most=1)
    order, outcome = await decide_meant(settings, database, order_id, meant)
    account = settings.accounts.get(meant.account)
    after = outcome.order if isinstance(outcome, Decision) else order
    refused, carrier = isinstance(outcome, Refusal), account.carrier if account is not None else None
    state = (await read_accounts(database)).get(meant.account)
    return Preview(
        meant,
        shown,
        order,
        outcome,
        consequences=None if refused else consequences_of(meant.way, order, after, carrier),
        account_waits=keeps_waiting(state, after) if state is not None else None,
        sight=sight_of(order, outcome),
    )


async def find_meant(settings: Settings, database: Database, meant: Meant) -> int:
    """The id of the return that is meant; raises `NotDone`."""
    order = await find_return(database, meant.reference, meant.account)
    if meant.way is Way.FOUND:
        require_number(settings, meant.account, meant.number, "the number")
    return order.id


async def decide_meant(
    settings: Settings, database: Database, order_id: int, meant: Meant, person: Person = _ANYBODY
) -> tuple[ReturnOrder, Decision | Refusal | None]:
    """The return as it is, and what would become of it; None: a question, whose answer decides."""
    if meant.way is Way.POLL:
        (claimed,) = await look_at(database, [order_id])
        return claimed.order, await _may_ask(settings, database, claimed.order)
    (settled,) = await desk_of(settings, database, person, "").preview([order_id], meant.way_out)
    if meant.way is Way.FOUND and isinstance(settled.outcome, Decision):
        holder = (await holders_of(database, meant.account, [meant.number])).get(meant.number)
        if holder is not None:
            return settled.order, Refusal(f"another return of its account has the number {meant.number}: {holder}")
    return settled.order, settled.outcome


async def _may_ask(settings: Settings, database: Database, order: ReturnOrder) -> Refusal | None:
    try:
        await require_asking(settings, database, order.account)
    except NotDone as error:
        return Refusal(str(error))
    return may_be_asked_about(order)
