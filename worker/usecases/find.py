"""Finds the return that a person names by the shop's reference."""

from worker.store.database import Database
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.archive import Archived, find_archived
from worker.store.upkeep.history import find_orders
from worker.usecases.not_done import NotDone, WrongRequest, capped, require_utf8


class ReturnAmbiguous(WrongRequest):
    """Several accounts have a return of this reference, and it was not said which is meant."""


class ReturnUnknown(NotDone):
    """There is no such return: `what` says so alone, the message says what leads on, too."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; `find` looks for other numbers, and for names")
        self.what = what


async def find_return(database: Database, reference: str, account: str | None) -> ReturnOrderRow:
    """The return with this reference, neither archived nor erased; `account` None: of any account."""
    found = await find_anywhere(database, reference, account)
    if found.erased_at is not None:
        raise NotDone(
            f"the personal data of {reference!r} was erased at {found.erased_at:%Y-%m-%d %H:%M:%S} UTC, and nothing"
            " more is done about it; `show` has what is left"
        )
    if isinstance(found, Archived):
        raise NotDone(f"{reference!r} is archived, and nothing more is done about it; `show` has its history")
    return found


async def find_anywhere(database: Database, reference: str, account: str | None) -> ReturnOrderRow | Archived:
    """The same, or what the archive has of it."""
    require_utf8(reference + (account or ""), "the reference or the account")
    kept = await find_orders(database, reference=reference, account=account)
    archived = await find_archived(database, reference, account)
    found: dict[str, ReturnOrderRow | Archived] = {order.account: order for order in kept}
    found |= {each.account: each for each in archived}  # it may have been archived between the two look-ups
    if not found:
        where = f" in account {account}" if account else ""
        raise ReturnUnknown(f"there is no return with reference {reference!r}{where}")
    if len(found) > 1:
        raise ReturnAmbiguous(f"{reference!r} exists in several accounts ({', '.join(capped(sorted(found)))})")
    return found.popitem()[1]
