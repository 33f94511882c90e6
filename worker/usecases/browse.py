"""A page of returns, the newest first: by filters, in a time that is bounded however many returns there are."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from worker.settings import Settings
from worker.store.customers import newest_id
from worker.store.database import Database
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import find_orders, has_index
from worker.usecases.not_done import require_utf8
from worker.usecases.search import Findings, Sought, next_window, search

WITHIN = timedelta(milliseconds=40)
"""For so long rows are read that no index leads to; what is read at once is not interrupted."""

FOR_A_SEARCH = timedelta(seconds=0.5)
"""For so long payloads are read; the command `find` takes longer."""

_FIRST_WINDOW = 1_000  # ids
_LARGEST_WINDOW = 50_000
_A_WINDOW_TAKES = 0.015  # seconds that the next window should take


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which returns: an empty filter does not count. `before`: with ids below this one; `limit`: so many at most."""

    state: str = ""
    account: str = ""
    error_code: str = ""
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Listed:
    """Returns, the newest first, without their payloads; `go_on_before`: the id to go on from, None: there is no more.

    `is_cut`: the time was over before there were as many as were wanted; what has lower ids was not looked at.
    """

    orders: list[ReturnOrderRow]
    go_on_before: int | None
    is_cut: bool = False


async def browse(
    settings: Settings,
    database: Database,
    wanted: Wanted,
    *,
    within: timedelta = WITHIN,
    clock: Callable[[], float] = time.monotonic,
) -> Listed:
    """The next returns that are wanted: first among the newest ids, then by an index where there is one.

    Where there is none, rows are read from there on, window by window.
    """
    require_utf8(wanted.account + wanted.state + wanted.error_code)
    before = await newest_id(database) + 1 if wanted.before is None else wanted.before
    orders, window, began = list[ReturnOrderRow](), _FIRST_WINDOW, clock()
    now, is_first = began, True
    while before > 1 and len(orders) <= wanted.limit and now - began < within.total_seconds():
        leads = not _is_filtered(wanted) or (not is_first and has_index(_states(wanted)))
        after = 0 if leads else max(before - 1 - window, 0)
        orders += await _between(database, wanted, after, before, wanted.limit + 1 - len(orders))
        before, since, now, is_first = after + 1, now, clock(), False
        window = next_window(window, now - since, _A_WINDOW_TAKES, _LARGEST_WINDOW)
    if len(orders) > wanted.limit:
        return Listed(orders[: wanted.limit], orders[wanted.limit - 1].id)
    return Listed(orders, before if before > 1 else None, is_cut=before > 1)


async def browse_found(_: Settings, database: Database, text: str, wanted: Wanted) -> tuple[Findings, int]:
    """What is found by a text and is in the state, and of the account, that is wanted too; and how many are not.

    Raises `WrongRequest` as `search` does.
    """
    findings = await search(database, Sought(text, wanted.limit, wanted.before, FOR_A_SEARCH))
    kept = [
        each
        for each in findings.found
        if (not wanted.state or each.hits[0].state == wanted.state)
        and (not wanted.account or each.hits[0].account == wanted.account)
    ]
    return replace(findings, found=kept), len(findings.found) - len(kept)


async def _between(database: Database, wanted: Wanted, after: int, before: int, limit: int) -> list[ReturnOrderRow]:
    return await find_orders(
        database,
        account=wanted.account or None,
        states=_states(wanted),
        error_code=wanted.error_code or None,
        after=after or None,
        before=before,
        limit=limit,
    )


def _states(wanted: Wanted) -> list[str]:
    return [wanted.state] if wanted.state else []


def _is_filtered(wanted: Wanted) -> bool:
    return bool(wanted.state or wanted.account or wanted.error_code)
