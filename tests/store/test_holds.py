"""What keeps an account waiting is in its one row, and every worker sees the same."""

import asyncio
from datetime import datetime, timedelta

import pytest

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import now
from tests.store.shop import Shop
from worker.domain.circuits import Circuit, Health
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.pacing import Pace
from worker.domain.ramp import Ramp
from worker.store.accounts import read_agendas, register_accounts, take_tokens
from worker.store.columns import FOREVER
from worker.store.database import Database
from worker.store.failures import RowLocked
from worker.store.holds import (
    change_health,
    describe,
    hold_account,
    hold_by_hand,
    hold_creations,
    read_accounts,
    read_holds,
    release_account,
    release_by_hand,
    stop_sending,
)
from worker.store.upkeep.renames import forget_account

BUSY, REFUSED = ErrorCode.CARRIER_BUSY, ErrorCode.CARRIER_KEY_REFUSED


def _failed(health: Health, _now: datetime) -> Health:
    return Health(Circuit(health.account.failures + 1), health.creations)


async def test_no_failure_is_lost_however_many_workers_count(opened: Open, shop: Shop) -> None:
    databases = [opened(pool_size=2) for _ in range(4 if not shop.sqlite else 2)]
    await register_accounts(databases[0], ["one"])
    each = 10
    await asyncio.gather(*(change_health(each_of, "one", _failed) for each_of in databases for _ in range(each)))
    assert (await read_accounts(databases[0]))["one"].health.account.failures == each * len(databases)


async def test_of_many_workers_one_has_the_probe(opened: Open, shop: Shop) -> None:
    databases = [opened(pool_size=2) for _ in range(4 if not shop.sqlite else 2)]
    await register_accounts(databases[0], ["one"])
    await change_health(databases[0], "one", lambda _, at: Health(Circuit(5, at)))
    won = []

    def take(health: Health, at: datetime) -> Health:
        if health.account.is_open(at):
            return health
        won.append(1)
        return Health(Circuit(5, at + timedelta(seconds=90)))

    await asyncio.gather(*(change_health(each, "one", take) for each in databases for _ in range(3)))
    assert len(won) == 1


async def test_circuits_are_kept_to_the_millisecond_and_stand_in_the_agenda(database: Database) -> None:
    await register_accounts(database, ["one"])
    health = Health(Circuit(5, now(seconds=30)), Circuit(7, now(minutes=3)))
    assert await change_health(database, "one", lambda *_: health) == health
    agenda = (await read_agendas(database, ["one", "unknown"], 1))["one"]
    assert (agenda.health, agenda.creations_held) == (health, False)
    assert (await read_agendas(database, ["unknown"], 1))["unknown"].health == Health()


async def test_an_account_that_was_forgotten_while_it_is_in_use_is_registered_anew(database: Database) -> None:
    await register_accounts(database, ["one"])
    await forget_account(database, "one")
    assert (await change_health(database, "one", _failed)).account.failures == 1
    await forget_account(database, "one")
    assert (await take_tokens(database, "one", Pace(60), 1)).tokens == 1
    assert set(await read_accounts(database)) == {"one"}


async def test_a_person_s_hold_outlasts_the_carrier_s_and_a_changed_key(database: Database) -> None:
    await register_accounts(database, ["one"])
    await hold_account(database, "one", Hold(None, REFUSED, "401"), "key-1")
    await hold_by_hand(database, "one", None, "by anna: stocktaking")
    await hold_account(database, "one", Hold(now(hours=1), BUSY, "429"), None)
    await release_account(database, "one", "key-1")
    (hold,) = (await read_holds(database)).values()
    assert (hold.until, hold.is_endless) == (FOREVER, True)
    assert str(hold) == "held until it is released (held_by_person: by anna: stocktaking)"


async def test_a_person_s_hold_may_be_for_a_while(database: Database) -> None:
    await register_accounts(database, ["one"])
    await hold_by_hand(database, "one", now(seconds=-1), "by anna")
    assert await read_holds(database) == {}
    await hold_by_hand(database, "one", now(hours=2), "by anna")
    assert not (await read_holds(database))["one"].is_endless


async def test_creations_alone_can_be_held(database: Database) -> None:
    await register_accounts(database, ["one", "two"])
    await hold_creations(database, "one", "by anna: no label printer")
    agendas = await read_agendas(database, ["one", "two"], 1)
    assert (agendas["one"].creations_held, agendas["two"].creations_held) == (True, False)
    assert agendas["one"].held_until is None


async def test_a_release_ends_everything_that_keeps_the_account_waiting(database: Database) -> None:
    await register_accounts(database, ["one"])
    await hold_account(database, "one", Hold(None, REFUSED, "401"), "key-1")
    await hold_creations(database, "one", "by anna")
    await stop_sending(database, "one", "https://carrier.test", "the carrier answered 404")
    await change_health(database, "one", lambda _, at: Health(Circuit(5, at), Circuit(5, at), Ramp(64, at, at)))
    assert describe((await read_accounts(database))["one"]) != "ok"
    await release_by_hand(database, "one")
    state = (await read_accounts(database))["one"]
    assert (state.hold, state.create_hold_message, state.sending_stopped, describe(state)) == (None, None, None, "ok")
    assert set(state.health.circuits.values()) == {Circuit()}
    assert state.health.ramp.allowed(state.now) == 1


async def test_what_an_account_waits_for_is_said_in_few_words_and_none_of_anybody_s(database: Database) -> None:
    await register_accounts(database, ["one"])
    until = now(minutes=5).replace(microsecond=0)
    await hold_account(database, "one", Hold(until, BUSY, "secret words"), None)
    await hold_creations(database, "one", "secret words")
    await change_health(database, "one", lambda _, at: Health(Circuit(6, until), Circuit(9, at)))
    assert describe((await read_accounts(database))["one"]) == (
        f"held until {until:%Y-%m-%d %H:%M:%S} UTC (carrier_busy); its creations are held by a person;"
        f" left alone until {until:%Y-%m-%d %H:%M:%S} UTC after 6 failures in a row;"
        " its creations are tried one at a time after 9 failures in a row"
    )


async def test_a_person_s_hold_for_some_hours_is_not_ended_by_another_key(database: Database) -> None:
    """As when keys are exchanged: a call that was under way is turned away after the account was held for that."""
    await register_accounts(database, ["one"])
    until = now(hours=2)
    await hold_by_hand(database, "one", until, "by anna: new keys")
    await hold_account(database, "one", Hold(None, REFUSED, "401"), "old key")
    await release_account(database, "one", "old key")
    hold = (await read_holds(database))["one"]
    assert (hold.until, hold.message) == (until, "by anna: new keys")
    await hold_by_hand(database, "one", now(seconds=-1), "by anna")  # it is over
    await hold_account(database, "one", Hold(None, REFUSED, "401"), "old key")
    assert (await read_holds(database))["one"].code == REFUSED


@on_postgresql
async def test_a_lock_on_an_account_s_row_is_not_waited_for(url: str, database: Database) -> None:
    """Such as an operator's transaction that was left open: whoever waits for it takes a connection from the others."""
    await register_accounts(database, ["one", "two"])
    for name in ("one", "two"):
        await hold_account(database, name, Hold(now(seconds=1), BUSY, "429"), "key-1")
    async with Shop.at(url) as other:
        await other.run("BEGIN")
        await other.run("SELECT 1 FROM carrier_account WHERE name = 'one' FOR UPDATE")
        for attempt in (
            lambda name: change_health(database, name, _failed),
            lambda name: take_tokens(database, name, Pace(60), 1),
            lambda name: hold_account(database, name, Hold(now(minutes=1), BUSY, "429"), "key-1"),
            lambda name: release_account(database, name, "key-1"),
        ):
            with pytest.raises(RowLocked):
                await asyncio.wait_for(attempt("one"), 5)
            await asyncio.wait_for(attempt("two"), 5)
        await other.run("ROLLBACK")
