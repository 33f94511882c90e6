"""Does what a person decided about returns: looks, takes them as a worker does, decides, records."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.carriers.registry import CARRIERS
from worker.domain.by_hand import Person, Refusal, WayOut, found
from worker.domain.decision import Decision
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.from_settings import policies_of
from worker.settings import Settings
from worker.store.claimed import Claimed
from worker.store.claims import hand_back
from worker.store.database import Database
from worker.store.records import CarrierRefTaken, record
from worker.store.refusals import in_pieces
from worker.store.upkeep.choice import Choice, choose, look_at, take
from worker.usecases.find import find_return
from worker.usecases.not_done import NotConfigured, WrongRequest

EVERYTHING = Choice()
BUSY = Refusal("it is leased to a worker at the moment: try again")

_BATCH = 200
_PAUSE = 0.5  # seconds between tries at rows that a worker has
_TAKEN = Refusal("another return of its account has that number")


@dataclass(frozen=True, slots=True)
class Request:
    """Which returns are meant, and who decides; with `references` only the account of the `choice` counts."""

    references: Sequence[str]
    choice: Choice
    person: Person
    owner: str  # of the leases
    dry_run: bool  # say what would happen, and change nothing


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one return, or what would (`outcome` a decision), or why nothing did."""

    order: ReturnOrder
    outcome: Decision | Refusal


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a person's decisions are made: the rows are leased to `owner` meanwhile, `patience` is in seconds.

    What does not fit the `choice` any more, once it is taken, is left as it is.
    """

    database: Database
    person: Person
    policy_of: Callable[[str], Policy]
    owner: str
    choice: Choice = EVERYTHING
    lease: timedelta = timedelta(seconds=60)
    patience: float = 10.0

    async def preview(self, ids: Sequence[int], way_out: WayOut) -> list[Settled]:
        """What `settle` would do now; nothing is changed."""
        return [
            self._decide(claimed, way_out) for batch in _batches(ids) for claimed in await look_at(self.database, batch)
        ]

    async def settle(self, ids: Sequence[int], way_out: WayOut, *, dry_run: bool = False) -> list[Settled]:
        """Do it to each of the returns that it makes sense for; rows that a worker has are waited for a while."""
        if dry_run:
            return await self.preview(ids, way_out)
        done: list[Settled] = []
        for batch in _batches(ids):
            done += await self._settle(batch, way_out)
        return done

    async def _settle(self, ids: Sequence[int], way_out: WayOut) -> list[Settled]:
        planned = await self.preview(ids, way_out)
        done = [each for each in planned if isinstance(each.outcome, Refusal)]
        waiting = {each.order.id: each.order for each in planned if isinstance(each.outcome, Decision)}
        tries = max(1, round(self.patience / _PAUSE))
        for number in range(tries):
            for each in await self._take_and_record(waiting, way_out):
                del waiting[each.order.id]
                done.append(each)
            if not waiting:
                break
            if number + 1 < tries:
                await asyncio.sleep(_PAUSE)
        done += [Settled(order, BUSY) for order in waiting.values()]
        return sorted(done, key=lambda each: each.order.id)

    async def _take_and_record(self, waiting: Mapping[int, ReturnOrder], way_out: WayOut) -> list[Settled]:
        taken: list[Claimed] = []
        written: set[int] = set()

        async def take_them(ids: Sequence[int]) -> None:
            taken.extend(await take(self.database, ids, self.owner, self.lease))

        async def record_them(some: Sequence[tuple[ReturnOrder, Decision]]) -> None:
            written.update(await record(self.database, some))

        untaken = [(waiting[order_id], why) for order_id, why in await in_pieces(list(waiting), take_them)]
        # Decided once more on what was taken: since the look at it a worker may have recorded something.
        decided = [self._decide(claimed, way_out) for claimed in taken]
        made = [(each.order, each.outcome) for each in decided if isinstance(each.outcome, Decision)]
        refused = [each for each in decided if isinstance(each.outcome, Refusal)]
        try:
            unwritten = [(order, why) for (order, _), why in await in_pieces(made, record_them)]
        except CarrierRefTaken:  # only one number can be given at a time
            unwritten = []
            refused = [Settled(order, _TAKEN) for order, _ in made]
        refused += _not_let(unwritten)
        await hand_back(self.database, [each.order for each in refused], counted=False)
        done = [Settled(order, decision) for order, decision in made if order.id in written]
        return _not_let(untaken) + refused + done

    def _decide(self, claimed: Claimed, way_out: WayOut) -> Settled:
        order = claimed.order
        if order.unreadable is not None:
            return Settled(order, Refusal(order.unreadable))
        if not self.choice.means(order):
            return Settled(order, Refusal(f"it is {order.state} by now, and not what was chosen"))
        return Settled(order, way_out(order, self.person, claimed.claimed_at, self.policy_of(order.account)))


def desk_of(settings: Settings, database: Database, person: Person, owner: str, choice: Choice = EVERYTHING) -> Desk:
    """The desk of one person, by the policies of the settings."""
    return Desk(database, person, policies_of(settings), owner, choice)


async def decide_by_hand(settings: Settings, database: Database, request: Request, way_out: WayOut) -> list[Settled]:
    """What becomes, or would become, of each return that is meant."""
    choice = request.choice
    if request.references:
        ids = [(await find_return(database, reference, choice.account)).id for reference in request.references]
        choice = EVERYTHING
    else:
        ids = await choose(database, choice)
    desk = desk_of(settings, database, request.person, request.owner, choice)
    return await desk.settle(ids, way_out, dry_run=request.dry_run)


async def adopt(settings: Settings, database: Database, request: Request, number: str) -> list[Settled]:
    """A person found the one return that is meant at the carrier, under this number."""
    (reference,) = request.references
    order = await find_return(database, reference, request.choice.account)
    require_number(settings, order.account, number, "--carrier-ref")
    return await decide_by_hand(settings, database, request, found(number))


def require_number(settings: Settings, account: str, number: str, what: str) -> None:
    """Raise `NotConfigured` or `WrongRequest` for what can be no number of an account's carrier."""
    if account not in settings.accounts:
        raise NotConfigured(f"account {account} is not configured here")
    # It becomes a part of the path that is asked for.
    if not CARRIERS[settings.accounts[account].carrier].is_number(number):
        raise WrongRequest(f"{what}: {number} is no number of this carrier's")
    if not any(map(str.isdigit, number)):  # "geen", "keine", "unknown"
        raise WrongRequest(f"{what}: {number} has no digit; write none where the carrier has none")


def _not_let(rows: Sequence[tuple[ReturnOrder, str]]) -> list[Settled]:
    return [Settled(order, Refusal(f"the database does not let it be changed: {why}")) for order, why in rows]


def _batches(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
