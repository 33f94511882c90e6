"""Opens an account's carrier for one question of a person's, within the pace that the workers keep."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from worker.carriers.port import Carrier, utc_now
from worker.domain.decision import Hold
from worker.domain.outcomes import TURNED_AWAY, Failed
from worker.domain.policy import Policy
from worker.domain.retrying import hold_after
from worker.engine.meter import Meter
from worker.from_settings import Kinship, fingerprint_of, open_account, pace_of, policy_of
from worker.runtime.clock import lease_clock
from worker.settings import Settings, key_source
from worker.store.accounts import database_now, register_accounts
from worker.store.database import Database
from worker.store.database_clock import is_believed
from worker.store.holds import hold_account, read_holds
from worker.usecases.not_done import NotConfigured, NotDone


@dataclass(frozen=True, slots=True)
class Opened:
    """An account's carrier, and what a question to it takes."""

    database: Database
    account: str
    carrier: Carrier
    meter: Meter  # every request passes it
    policy: Policy
    timeout: float  # of one request, in seconds
    key: Callable[[], str]  # the fingerprint of the key in force
    near: Collection[str]  # the accounts at the same address, this one among them

    async def hold(self, hold: Hold, key: str) -> None:
        """Let the account wait; where time does not end that, until `key`, with which it was asked, is replaced."""
        await hold_account(self.database, self.account, hold, key if hold.until is None else None)

    async def hold_if_turned_away(self, failed: Failed, key: str) -> None:
        """Let the account wait where the carrier refused its key, or had enough of its requests."""
        if failed.kind in TURNED_AWAY:
            await self.hold(hold_after(failed, await database_now(self.database), self.policy), key)


def near_of(settings: Settings, account: str) -> Collection[str]:
    """The accounts at the same carrier's same address as a configured one, itself among them: no key is needed."""
    return (
        Kinship(settings, {name: key_source(settings, name) for name in settings.accounts}, lease_clock)
        .kin(account)
        .near
    )


async def require_asking(settings: Settings, database: Database, account: str) -> None:
    """Raise `NotConfigured`, or `NotDone` where the account is held: the carrier, or a person, wants nothing asked."""
    if account not in settings.accounts:
        raise NotConfigured(f"account {account} is not configured here")
    hold = (await read_holds(database)).get(account)
    if hold is not None:
        raise NotDone(f"account {account} is {hold}; `returns-worker accounts release {account}` ends that")


@asynccontextmanager
async def opened_carrier(settings: Settings, database: Database, account: str) -> AsyncIterator[Opened]:
    """The carrier of an account, for as long as it is needed; raises what `require_asking` does."""
    await require_asking(settings, database, account)
    keys = {name: key_source(settings, name) for name in settings.accounts}
    key, kinship = keys[account], Kinship(settings, keys, lease_clock)
    shared = partial(kinship.shared, account)
    meter = Meter(database, account, pace_of(settings, account), lease_clock, shared)
    believed = await is_believed(database)  # else nothing is said to have expired
    clock = utc_now if believed else lambda: None
    carrier = open_account(settings, account, key.current, lambda operation, outcome, seconds: None, meter, clock)
    try:
        await register_accounts(database, [account, shared().account])
        yield Opened(
            database=database,
            account=account,
            carrier=carrier,
            meter=meter,
            policy=replace(policy_of(settings, account), judges_ages=believed),
            timeout=settings.accounts[account].timeout.total_seconds(),
            key=lambda: fingerprint_of(key.current()),
            near=kinship.kin(account).near,
        )
    finally:
        await carrier.close()
