"""Opens an account's carrier for one question of a person's, within the pace that the workers keep."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from worker.carriers.port import Carrier, utc_now
from worker.engine.meter import Meter
from worker.from_settings import Kinship, open_account, pace_of
from worker.runtime.clock import lease_clock
from worker.settings import Settings, key_source
from worker.store.accounts import register_accounts
from worker.store.database import Database
from worker.store.database_clock import is_believed
from worker.store.holds import read_holds
from worker.usecases.not_done import NotDone


@dataclass(frozen=True, slots=True)
class Opened:
    """An account's carrier, the meter that its requests pass, its key, and the accounts at the same address.

    `judges_ages`: the clock is believed, so that what the carrier shows may have expired.
    """

    carrier: Carrier
    meter: Meter
    key: Callable[[], str]
    near: tuple[str, ...]
    judges_ages: bool


@asynccontextmanager
async def opened_carrier(settings: Settings, database: Database, account: str) -> AsyncIterator[Opened]:
    """The carrier of a configured account, for as long as it is needed; raises `NotDone` where the account is held.

    Whoever holds it, the carrier or a person, wants nothing asked.
    """
    hold = (await read_holds(database)).get(account)
    if hold is not None:
        raise NotDone(f"account {account} is {hold}; `returns-worker accounts release {account}` ends that")
    keys = {name: key_source(settings, name) for name in settings.accounts}
    key, kinship = keys[account], Kinship(settings, keys, lease_clock)
    shared = partial(kinship.shared, account)
    meter = Meter(database, account, pace_of(settings, account), lease_clock, shared)
    believed = await is_believed(database)
    clock = utc_now if believed else lambda: None
    carrier = open_account(settings, account, key.current, lambda operation, outcome, seconds: None, meter, clock)
    try:
        await register_accounts(database, [account, shared().account])
        yield Opened(carrier, meter, key.current, kinship.kin(account).near, believed)
    finally:
        await carrier.close()
