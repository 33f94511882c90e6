"""Erases personal data because a person says so: of returns by reference, of a customer by e-mail, or by age."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.domain.by_hand import Person, Refusal, may_be_erased
from worker.engine.retention import BATCH, FilesLeft, copies_left, erase_batch, finish
from worker.labels import LabelStore, open_label_store
from worker.settings import Settings
from worker.store.accounts import database_now
from worker.store.customers import Named
from worker.store.database import Database
from worker.store.database_clock import is_believed
from worker.store.erasure import PLACES, Due, count_due, due_in
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.choice import look_at
from worker.usecases.find import find_anywhere
from worker.usecases.not_done import NotDone, require_utf8

_TOLD = "personal data erased"
_BUSY = "a worker, or another program, holds it at the moment: try again"


class ErasedInPart(NotDone):
    """The database is emptied, and something is left on the disk; the message says why, and what ends it."""

    def __init__(self, count: int, why: str) -> None:
        """`count`: returns that were erased in the database."""
        super().__init__(
            f"{count} erased in the database, but not yet on the disk: {why}; a running worker tries that each minute,"
            " and so does this command once more"
        )


@dataclass(frozen=True, slots=True)
class Meant:
    """A return that a person means: its id, and why it is not erased, or since when it is."""

    id: int
    reference: str
    refusal: Refusal | None = None
    erased_at: datetime | None = None


@dataclass(slots=True)
class Outcome:
    """What became of returns, by their references: `before` are those that were erased already, `refused` has why.

    `note`: what is left to a person.
    """

    erased: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    note: str | None = None


async def meant_by_references(database: Database, references: Sequence[str], account: str | None) -> list[Meant]:
    """The returns with these references, live or archived; raises `NotDone` where there is none, or several."""
    found = [await find_anywhere(database, reference, account) for reference in dict.fromkeys(references)]
    live = [each for each in found if isinstance(each, ReturnOrderRow) and each.erased_at is None]
    refusals = await _refusals(database, [order.id for order in live])
    return [Meant(each.id, each.reference, refusals.get(each.id), each.erased_at) for each in found]


async def meant_by_email(database: Database, looked: Sequence[Named]) -> list[Meant]:
    """The returns that were found by a customer's address, see `worker.usecases.customer`."""
    refusals = await _refusals(database, [each.id for each in looked])
    return [Meant(each.id, each.reference, refusals.get(each.id)) for each in looked]


async def erase_meant(
    settings: Settings, database: Database, meant: Sequence[Meant], person: Person
) -> AsyncIterator[Outcome]:
    """Erase those of them that may be; says after each batch what became of it. Raises `ErasedInPart` at the end."""
    labels, told = open_label_store(settings.labels.store), person.signed(_TOLD)
    count, left = 0, None
    for start in range(0, len(meant), BATCH):
        some = meant[start : start + BATCH]
        outcome = Outcome(refused=[(each.reference, each.refusal.reason) for each in some if each.refusal])
        outcome.before = [each.reference for each in some if each.erased_at is not None]
        names = {each.id: each.reference for each in some if each.refusal is None}
        free = [each.id for each in some if each.refusal is None and each.erased_at is None]
        erased, refused = await erase_batch(database, free, told)
        outcome.erased = [names[order_id] for order_id in free if order_id in erased]
        outcome.refused += [
            (names[order_id], f"the database does not let it be erased: {why}") for order_id, why in refused
        ]
        known = erased | {order_id for order_id, _ in refused}
        outcome.refused += [(names[order_id], _BUSY) for order_id in free if order_id not in known]
        count += len(erased)
        yield outcome  # before files, which may take long: who stops it meanwhile knows what is erased
        left = await _files_left(database, labels, list(names)) or left  # of those erased before, too
        if left is not None and left.is_away:
            break
    if count:
        yield Outcome(note=await copies_left(database))
    if left is not None:
        raise ErasedInPart(count, str(left)) from left


async def count_older(database: Database, age: timedelta, account: str | None, most: int) -> int:
    """How many returns are over for so long, and could be erased; of either kind `most` at most."""
    require_utf8(account or "")
    return await count_due(database, await _before(database, age), account, most)


async def erase_older(
    settings: Settings, database: Database, age: timedelta, account: str | None, person: Person, most: int
) -> AsyncIterator[Outcome]:
    """Erase up to `most` returns that are over for so long, oldest first; says after each batch what became of it."""
    require_utf8(account or "")
    labels, told = open_label_store(settings.labels.store), person.signed(_TOLD)
    before, count, left = await _before(database, age), 0, None
    for place in PLACES:
        last: Due | None = None
        while most > 0 and (due := await due_in(database, place, before, account, last, min(BATCH, most))):
            last, most = due[-1], most - len(due)
            names = {each.id: each.reference for each in due}
            erased, refused = await erase_batch(database, list(names), told)
            count += len(erased)
            yield Outcome(
                [names[order_id] for order_id in names if order_id in erased],
                refused=[(names[order_id], why) for order_id, why in refused],
            )
            left = await _files_left(database, labels, sorted(erased)) or left
            if left is not None and left.is_away:
                most = 0
    if count:
        yield Outcome(note=await copies_left(database))
    if left is not None:
        raise ErasedInPart(count, str(left)) from left


async def _before(database: Database, age: timedelta) -> datetime:
    if not await is_believed(database):
        raise NotDone(
            "the database's clock is in doubt, so that no age can be judged by it: see `returns-worker check`"
        )
    return await database_now(database) - age


async def _files_left(database: Database, labels: LabelStore, ids: Sequence[int]) -> FilesLeft | None:
    try:
        await finish(database, labels, ids)
    except FilesLeft as error:
        return error
    return None


async def _refusals(database: Database, ids: Sequence[int]) -> dict[int, Refusal]:
    looked_at = await look_at(database, ids) if ids else []
    judged = {claimed.order.id: may_be_erased(claimed.order) for claimed in looked_at}
    return {order_id: refusal for order_id, refusal in judged.items() if refusal is not None}
