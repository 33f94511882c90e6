"""Finds returns by whatever a person has of one: a number, a name, an address, a postal code; live and archived."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.domain.sought import Matched, is_exact, problem_of
from worker.store.customers import newest_id
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable
from worker.store.upkeep.search import Hit, in_window, with_number
from worker.usecases.not_done import WrongRequest, require_utf8

WITHIN = timedelta(seconds=15)
"""For so long payloads are read, unless it is said otherwise."""

_FIRST_WINDOW = 500  # ids; a payload may be a megabyte
_LARGEST_WINDOW = 20_000
_A_WINDOW_TAKES = 0.3  # seconds that the next window should take


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for: up to `limit` returns; payloads are read for so long, of returns with ids `before` this one.

    `everywhere`: payloads are read also where a number was found.
    """

    text: str
    limit: int = 20
    before: int | None = None
    within: timedelta = WITHIN
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One return, with the hits of which the first is the best; `is_exact`: a value of it is what was looked for."""

    hits: tuple[Hit, ...]
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """How far payloads were read: of `newest`, the highest id, those from `begun_at` down to `reached`."""

    newest: int
    begun_at: int
    reached: int
    unreadable: int  # returns in between that the database could not give


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, the exact ones first, then the newest; `looked` None: a number was found, and no payload read."""

    found: Sequence[Found]
    is_more: bool  # there are more than were wanted
    looked: Looked | None

    @property
    def go_on_before(self) -> int | None:
        """The id to go on from, where not every payload was read; None: there is none left."""
        return self.looked.reached if self.looked is not None and self.looked.reached > 1 else None


async def search(
    database: Database,
    sought: Sought,
    tell: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> Findings:
    """Look numbers up by their indexes, and read payloads where no number is found, the newest first.

    `tell` is told how many payloads were read, and of how many. Raises `WrongRequest` for what no return can have.
    """
    require_utf8(sought.text, "the text")
    if (problem := problem_of(sought.text)) is not None:
        raise WrongRequest(problem)
    hits = [] if sought.before is not None else await with_number(database, sought.text, sought.limit + 1)
    looked = None
    if not hits or sought.everywhere:
        more, looked = await _read(database, sought, len({hit.id for hit in hits}), tell, clock)
        hits += more
    found = _ranked(sought.text, hits)
    return Findings(found[: sought.limit], len(found) > sought.limit, looked)


async def _read(
    database: Database,
    sought: Sought,
    count: int,
    tell: Callable[[int, int], None],
    clock: Callable[[], float],
) -> tuple[list[Hit], Looked]:
    newest = await newest_id(database)
    begun_at = newest if sought.before is None else max(min(newest, sought.before - 1), 0)
    hits, upto, window, unreadable = list[Hit](), begun_at, _FIRST_WINDOW, 0
    began = now = clock()
    while upto > 0 and now - began < sought.within.total_seconds():
        if count + len({hit.id for hit in hits}) > sought.limit:
            break
        after, since = max(upto - window, 0), now
        try:
            hits += await in_window(database, sought.text, after, upto, sought.limit + 1)
        except DatabaseUnavailable:
            raise
        except Exception:  # whatever the driver makes of what it finds: that row is met alone, and passed over
            now = clock()
            if window > 1:
                window = max(window // 8, 1)
                continue
            unreadable += 1
        upto, now = after, clock()
        tell(begun_at - upto, begun_at)
        window = next_window(window, now - since)
    return hits, Looked(newest, begun_at, upto + 1, unreadable)


def next_window(window: int, took: float, takes: float = _A_WINDOW_TAKES, largest: int = _LARGEST_WINDOW) -> int:
    """As many ids as are read in what it `takes`, and not more than four times as many as before."""
    return max(1, min(window * 4, int(window * takes / max(took, 0.001)), largest))


def _ranked(text: str, hits: Sequence[Hit]) -> list[Found]:
    order = list(Matched)

    def rank(hit: Hit) -> tuple[bool, int]:
        return not is_exact(text, hit.matched, hit.value), order.index(hit.matched)

    by_return: dict[int, list[Hit]] = {}
    for hit in hits:
        by_return.setdefault(hit.id, []).append(hit)
    # One that was archived between two looks is found in both places: it is shown as it is now.
    each = [sorted(some, key=lambda hit: (*rank(hit), hit.archived_at is None)) for some in by_return.values()]
    each.sort(key=lambda some: (*rank(some[0]), -some[0].id))
    return [Found(_once(some), is_exact(text, some[0].matched, some[0].value)) for some in each]


def _once(hits: Sequence[Hit]) -> tuple[Hit, ...]:
    return tuple({(hit.matched, hit.value): hit for hit in reversed(hits)}.values())[::-1]
