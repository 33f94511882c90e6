"""What keeps returns from being adopted, before any carrier is asked: each with where it was said, and the way out."""

import shlex
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.carriers.registry import CARRIERS
from worker.domain.lifecycle import State
from worker.domain.returns import ReturnOrder
from worker.settings import Settings
from worker.store.database import Database
from worker.store.ownership import read_owners
from worker.store.upkeep.adoption import find_there
from worker.store.upkeep.choice import look_at
from worker.usecases.carrier import near_of
from worker.usecases.not_done import is_utf8

_AT_ONCE = 500  # returns that are looked for by one statement


@dataclass(frozen=True, slots=True)
class Existing:
    """A return that a person says is at the carrier; `place` is where it is said, such as a line of a file."""

    place: str
    account: str
    reference: str
    carrier_ref: str
    payload: dict[str, Any] = field(default_factory=dict)


async def problems_of(settings: Settings, database: Database, existing: Sequence[Existing]) -> list[str]:
    """A line for each of them that cannot be adopted as it is said, else for each that we have already."""
    wrong = [f"{each.place}: {why}" for each in existing if (why := _what_is_wrong(settings, each)) is not None]
    if wrong:
        return wrong
    near = {account: tuple(near_of(settings, account)) for account in {each.account for each in existing}}
    twice = [
        *_twice(existing, lambda each: (each.account, each.reference), "reference"),
        *_twice(existing, lambda each: (near[each.account], each.carrier_ref), "number"),
    ]
    if twice:
        return twice
    there = await _references_there(database, existing)
    others = [each for each in existing if each.place not in there]
    return [*there.values(), *await _numbers_there(database, others, near)]


def _what_is_wrong(settings: Settings, each: Existing) -> str | None:
    texts = each.account + each.reference + each.carrier_ref
    if not is_utf8(texts) or "\x00" in texts:
        return "it holds a character that no database can keep"
    if each.account not in settings.accounts:
        return f"account {each.account} is not configured here"
    if not each.reference.strip():
        return "reference: must not be empty"
    carrier = settings.accounts[each.account].carrier
    if not CARRIERS[carrier].is_number(each.carrier_ref):  # it becomes a part of the path of a request
        return f"carrier_ref: {each.carrier_ref[:100]!r} is no number of {carrier}'s"
    return None


def _twice(existing: Sequence[Existing], key: Callable[[Existing], Hashable], what: str) -> Iterator[str]:
    first: dict[Hashable, Existing] = {}
    for each in existing:
        before = first.setdefault(key(each), each)
        if before is not each:
            yield f"{each.place}: the same {what} as {before.place}"


async def _references_there(database: Database, existing: Sequence[Existing]) -> dict[str, str]:
    """What is said of those whose reference is there already, by their places."""
    there = await find_there(database, [(each.account, each.reference) for each in existing])
    ids = [order_id for order_id in there.values() if order_id is not None]
    orders = {
        claimed.order.id: claimed.order
        for start in range(0, len(ids), _AT_ONCE)
        for claimed in await look_at(database, ids[start : start + _AT_ONCE])
    }
    return {
        each.place: f"{each.place}: {each.reference} is there already: {_standing(each, orders.get(there[name] or 0))}"
        for each in existing
        if (name := (each.account, each.reference)) in there
    }


def _standing(each: Existing, order: ReturnOrder | None) -> str:
    """What the return is that has the reference; None: it is archived."""
    if order is None:
        return "it is archived, see `show`"
    if order.carrier_ref is not None:
        return f"it is {order.state}, as {order.carrier_ref}"
    if order.to_adopt is not None:
        return f"it is {order.state}, to be adopted as {order.to_adopt}"
    if order.in_doubt or order.state is State.REJECTED:
        is_plain = shlex.quote(each.reference) == each.reference and not each.reference.startswith("-")
        name = each.reference if is_plain else "REFERENCE"  # what is to be pasted is no command of the file's
        way = f"`returns-worker resolve {name} --carrier-ref {each.carrier_ref}` says that this is it"
        return f"it is {order.state}{', its creation in doubt' if order.in_doubt else ''}; {way}"
    return f"it is {order.state}"


async def _numbers_there(
    database: Database, existing: Sequence[Existing], near: dict[str, tuple[str, ...]]
) -> list[str]:
    problems: list[str] = []
    for accounts in sorted(set(near.values())):
        said = {each.carrier_ref: each for each in existing if near[each.account] == accounts}
        for start in range(0, len(said), _AT_ONCE):
            numbers = list(said)[start : start + _AT_ONCE]
            for owner in await read_owners(database, 0, near=accounts, same_key=(), numbers=numbers, references=()):
                each = said[owner.number or ""]
                problems.append(
                    f"{each.place}: {each.carrier_ref} is {owner.reference} of account {owner.account} already"
                )
    return problems
