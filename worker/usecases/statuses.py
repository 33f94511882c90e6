"""The words of carriers that were seen so far, and what a changed map of them makes of the followed returns."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from worker.carriers.registry import CARRIERS, CarrierKind
from worker.domain.by_hand import Person, remapped
from worker.domain.tracking import TrackingStatus
from worker.from_settings import map_of
from worker.settings import Settings
from worker.store.database import Database
from worker.store.upkeep.carrier_words import read_followed, read_words
from worker.usecases.desk import Settled, desk_of
from worker.usecases.not_done import NoSuchAccount


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a carrier's; `mapped_to` None: nothing maps it, and it is read as `unknown`."""

    account: str
    word: str
    returns: int
    changes: int
    last_seen: datetime
    mapped_to: TrackingStatus | None


async def list_words(settings: Settings, database: Database, account: str | None) -> list[Word]:
    """One for each word, of one account or of all; what a carrier says of several shipments at once is taken apart."""
    _require_configured(settings, account)
    found: dict[tuple[str, str], Word] = {}
    maps = {name: map_of(settings, name) for name in settings.accounts}
    for each in await read_words(database):
        mapped = maps.get(each.account)
        split = _kind(settings, each.account).words if mapped is not None else (lambda word: (word,))
        for word in dict.fromkeys(split(each.carrier_status)):
            means = mapped.read(word) if mapped is not None and mapped.maps(word) else None
            line = Word(each.account, word, each.returns, each.changes, each.last_seen, means)
            before = found.get((each.account, word))
            if before is not None:  # in another combination; a return that had both is counted twice
                returns, changes = before.returns + line.returns, before.changes + line.changes
                line = replace(line, returns=returns, changes=changes, last_seen=max(before.last_seen, line.last_seen))
            found[each.account, word] = line
    return [each for each in found.values() if account in (None, each.account)]


async def remap(
    settings: Settings, database: Database, account: str | None, person: Person, owner: str, *, dry_run: bool
) -> AsyncIterator[list[Settled]]:
    """Read the words of the returns that are still followed by the map as it is now, one account after the other.

    The rows are leased to `owner` meanwhile.
    """
    _require_configured(settings, account)
    desk = desk_of(settings, database, person, owner)
    for name in [account] if account is not None else sorted(settings.accounts):
        meanings = _meanings_of(settings, name)
        ids = [
            each.id
            for each in await read_followed(database, name)
            if each.tracking_status not in meanings(each.carrier_status)
        ]
        yield await desk.settle(ids, remapped(meanings, random.random), dry_run=dry_run)


def _require_configured(settings: Settings, account: str | None) -> None:
    if account is not None and account not in settings.accounts:
        raise NoSuchAccount(account, settings.accounts)


def _meanings_of(settings: Settings, account: str) -> Callable[[str], frozenset[TrackingStatus]]:
    kind, statuses = _kind(settings, account), map_of(settings, account)
    return lambda carrier_status: kind.meanings(carrier_status, statuses)


def _kind(settings: Settings, account: str) -> CarrierKind:
    return CARRIERS[settings.accounts[account].carrier]
