"""Finds all returns of one customer, by the e-mail address that their payloads have."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from worker.store.customers import Named, newest_id, with_email
from worker.store.database import Database
from worker.usecases.not_done import WrongRequest, require_utf8

MOST = 100
"""Returns of one address that are taken without being asked back: one that a shop writes everywhere has more."""

_WINDOW = 20_000  # ids in a read of payloads: a fraction of a second


class TooManyMeant(WrongRequest):
    """An e-mail address has more returns than were said to be meant."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Up to which id was looked, of how many, and what was found in this window."""

    upto: int
    newest: int
    found: list[Named]


async def returns_of(database: Database, email: str, limit: int) -> AsyncIterator[Looked]:
    """The returns, live and archived, whose customer has this address, after each window of them.

    Those that are erased have none any more. Raises `TooManyMeant` beyond `limit`.
    """
    require_utf8(email, "the address")
    if "@" not in email:
        raise WrongRequest(f"--email: {email!r} is no e-mail address")
    newest, count = await newest_id(database), 0
    for after in range(0, newest, _WINDOW):
        upto = min(after + _WINDOW, newest)
        found = await with_email(database, email, after, upto, limit + 1 - count)
        count += len(found)
        if count > limit:
            raise TooManyMeant(
                f"more than {limit} returns have that address: is it one customer's? If all of them are meant, say how"
                " many with --limit"
            )
        yield Looked(upto, newest, found)
