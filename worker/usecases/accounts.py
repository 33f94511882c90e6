"""How each account stands; and what a person does to one: hold, release, rename, retire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.domain.by_hand import Person, retired
from worker.domain.lifecycle import LIVE_STATES, State
from worker.settings import Settings
from worker.store.accounts import database_now, register_accounts
from worker.store.database import Database
from worker.store.holds import AccountState, explain, hold_by_hand, hold_creations, read_accounts, release_by_hand
from worker.store.queries import Backlog, read_backlog
from worker.store.upkeep.choice import Choice, choose
from worker.store.upkeep.renames import (
    Belongings,
    NamesCollide,
    forget_account,
    pass_on_hold,
    read_belongings,
    rename_returns,
    shared_by,
)
from worker.usecases.desk import Settled, desk_of
from worker.usecases.not_done import (
    NAMED,
    NoSuchAccount,
    NotConfigured,
    NotDone,
    WrongRequest,
    capped,
    is_utf8,
    require_utf8,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is to do on one account, and what it waits for."""

    account: str
    carrier: str | None  # None: it is not configured here
    rate_per_minute: int | None  # the same; 0: no limit
    pending: int
    tracking: int
    due: int
    waits_for: str
    held_until: datetime | None = None  # None also: until it is released
    hold_code: str | None = None
    creations_held: bool = False
    circuit_open_until: datetime | None = None
    create_circuit_open_until: datetime | None = None


async def read_standings(settings: Settings, database: Database) -> list[Standing]:
    """Each account that is configured here, that workers know, or that has live returns."""
    return standings_of(settings, await read_accounts(database), await read_backlog(database))


def standings_of(settings: Settings, states: Mapping[str, AccountState], backlog: Sequence[Backlog]) -> list[Standing]:
    """The same, of what was read already."""
    rows = by_account(backlog)
    names = dict.fromkeys((*settings.accounts, *states, *sorted(rows)))
    return [_standing(settings, name, states.get(name), rows.get(name, [])) for name in names]


def by_account(backlog: Sequence[Backlog]) -> Mapping[str, Sequence[Backlog]]:
    """What there is to do, of each account by itself."""
    rows: dict[str, list[Backlog]] = {}
    for row in backlog:
        rows.setdefault(row.account, []).append(row)
    return rows


def _standing(settings: Settings, name: str, state: AccountState | None, rows: Sequence[Backlog]) -> Standing:
    configured = settings.accounts.get(name)
    return Standing(
        account=name,
        carrier=configured.carrier if configured else None,
        rate_per_minute=configured.requests_per_minute if configured else None,
        pending=sum(row.count for row in rows if row.state == State.PENDING),
        tracking=sum(row.count for row in rows if row.state == State.TRACKING),
        due=sum(row.due for row in rows),
        waits_for="its configuration" if configured is None else explain(state) if state is not None else "ok",
        **(_waiting(state) if state is not None else {}),
    )


def _waiting(state: AccountState) -> dict[str, Any]:
    hold, health = state.hold, state.health
    return {
        "held_until": hold.until if hold is not None and not hold.is_endless else None,
        "hold_code": hold.code if hold is not None else None,
        "creations_held": state.create_hold_message is not None,
        "circuit_open_until": health.account.open_until,
        "create_circuit_open_until": health.creations.open_until,
    }


async def hold(
    settings: Settings, database: Database, name: str, person: Person, lasting: timedelta | None, *, creations: bool
) -> AccountState:
    """Let nothing be asked on an account, for so long or until it is released; or let it only create nothing."""
    await _require_account(settings, database, name)
    if creations:
        await hold_creations(database, name, person.by)
    else:
        until = await database_now(database) + lasting if lasting is not None else None
        await hold_by_hand(database, name, until, person.by)
    return (await read_accounts(database))[name]


async def release(settings: Settings, database: Database, name: str) -> AccountState:
    """End every hold of an account and close its circuits."""
    await _require_account(settings, database, name)
    await release_by_hand(database, name)
    return (await read_accounts(database))[name]


async def _require_account(settings: Settings, database: Database, name: str) -> None:
    if name in settings.accounts:
        await register_accounts(database, [name])
    elif name not in await read_accounts(database):
        raise NoSuchAccount(name, settings.accounts)


async def renamable(settings: Settings, database: Database, old: str, new: str) -> Belongings:
    """What of `old` would be called `new`; raises `NotDone` where they cannot be one account."""
    require_utf8(old + new)
    if new not in settings.accounts:
        raise NotConfigured(f"account {new!r} is not configured: configure it first")
    if old == new:
        raise WrongRequest(f"it is called {new!r} already")
    before, after = settings.accounts.get(old), settings.accounts[new]
    if before is not None and before.carrier != after.carrier:
        raise WrongRequest(f"{old} is at {before.carrier} and {new} at {after.carrier}: not one account")
    there_is = await read_belongings(database, old)
    if not there_is.returns and old not in {*settings.accounts, *await read_accounts(database)}:
        raise WrongRequest(f"there is no account {old!r}")
    shared = await shared_by(database, old, new, most=NAMED + 1)
    if shared:
        both = ", ".join(capped(shared, "and more"))
        raise NotDone(f"{old} and {new} both have {both}: only one account can have each")
    return there_is


async def rename(settings: Settings, database: Database, old: str, new: str, person: Person) -> int:
    """Let all returns of one account belong to another, which is configured: the same one at the carrier.

    Returns how many there were; raises `RowsLeft` where the database leaves some under the old name.
    """
    await renamable(settings, database, old, new)
    await pass_on_hold(database, old, new)  # first: what is held must not be created under the new name
    try:
        count = await rename_returns(database, old, new, person.signed(f"its account {old} is now called {new}"))
    except NamesCollide:
        raise NotDone("meanwhile a return was inserted that both accounts have: run it again to see which") from None
    if old not in settings.accounts:
        await forget_account(database, old)
    return count


async def retire(
    settings: Settings, database: Database, name: str, person: Person, owner: str, *, dry_run: bool
) -> list[Settled] | None:
    """End an account: it is held for good, and its live returns, leased to `owner` meanwhile, come to an end here.

    What became, or would become, of each; None: it had none, and is forgotten.
    """
    choice, known = Choice(account=name, states=LIVE_STATES), {*settings.accounts, *await read_accounts(database)}
    if not is_utf8(name) or (name not in known and not await choose(database, choice)):
        raise WrongRequest(f"there is no account {name!r}")
    if not dry_run:  # first of all: a worker must not create what is cancelled a moment later
        await register_accounts(database, [name])
        await hold_by_hand(database, name, None, person.signed("retired"))
    ids = await choose(database, choice)
    if not ids and not dry_run and name not in settings.accounts:
        await forget_account(database, name)  # not before: the hold keeps a worker that still has it configured
        return None
    return await desk_of(settings, database, person, owner, choice).settle(ids, retired, dry_run=dry_run)
