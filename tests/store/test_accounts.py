"""What all workers share about an account: what is due, whether it waits, and how fast it may go."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import OVER, insert, insert_tracked, now, take
from tests.store.shop import Shop
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import QUEUES, Step
from worker.domain.pacing import Pace
from worker.store import holds
from worker.store.accounts import read_agendas, register_accounts, take_tokens
from worker.store.columns import FOREVER
from worker.store.database import Database
from worker.store.holds import hold_account, read_holds, release_account

BUSY = ErrorCode.CARRIER_BUSY


async def test_an_agenda_counts_what_is_due_by_queue(database: Database, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, f"C-{number}")
        await insert(shop, f"O-{number}", "other")
    await insert_tracked(shop, "T-1")
    await insert_tracked(shop, "L-1", next_step="label", due=500)
    for reference, step in (("W-1", "track"), ("W-2", "label")):
        await insert_tracked(shop, reference, next_step=step, due=500)
    await insert(shop, "W-3")  # not sent yet: the carrier need not be told
    await shop.run(f"UPDATE return_order SET cancel_requested_at = {shop.moment()} WHERE reference LIKE 'W-%'")
    agendas = await read_agendas(database, ["default", "empty"], 10)
    assert agendas.keys() == {"default", "empty"}
    assert agendas["default"].due == {Step.CANCEL: 2, Step.CREATE: 4, Step.LABEL: 0, Step.TRACK: 1}
    assert agendas["empty"].due == dict.fromkeys(QUEUES, 0)
    assert agendas["empty"].next_due_at is None
    assert abs(agendas["default"].now - datetime.now(UTC)) < timedelta(seconds=5)


async def test_no_account_has_no_agenda(database: Database) -> None:
    assert await read_agendas(database, [], 10) == {}


async def test_an_agendas_counts_stop_where_asked(database: Database, shop: Shop) -> None:
    for number in range(6):
        await insert(shop, f"C-{number}")
        await insert_tracked(shop, f"T-{number}")
    agenda = (await read_agendas(database, ["default"], 4))["default"]
    assert agenda.due == {Step.CANCEL: 0, Step.CREATE: 4, Step.LABEL: 0, Step.TRACK: 4}


async def test_an_agenda_leaves_out_what_is_held(database: Database, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, f"C-{number}")
    await take(database, quota=1)
    await take(database, quota=1, lease=OVER)
    assert (await read_agendas(database, ["default"], 10))["default"].due[Step.CREATE] == 2


async def test_an_agenda_says_when_the_next_row_is_due(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    await insert(shop, "R-2", due=500)
    await insert_tracked(shop, "R-3", due=100)
    await insert_tracked(shop, "R-4", next_step="label", due=300)
    await insert(shop, "R-5", "other", due=10)
    await insert(shop, "R-6", due=None, state="needs_attention")
    agenda = (await read_agendas(database, ["default"], 10))["default"]
    assert agenda.next_due_at is not None
    assert 90 < (agenda.next_due_at - agenda.now).total_seconds() <= 100


async def test_registering_twice_keeps_what_is_there(database: Database) -> None:
    await register_accounts(database, ["one", "two"])
    await hold_account(database, "one", Hold(None, ErrorCode.CARRIER_KEY_REFUSED, "401"), "key-1")
    await register_accounts(database, ["two", "one", "three"])
    assert (await read_holds(database)).keys() == {"one"}
    assert (await read_agendas(database, ["one"], 1))["one"].held_until == FOREVER


async def test_many_workers_may_register_at_once(opened: Open) -> None:
    databases = [opened(pool_size=1) for _ in range(4)]
    names = ["one", "two", "three"]
    await asyncio.gather(
        *(
            register_accounts(database, names if number % 2 else names[::-1])
            for number, database in enumerate(databases)
        )
    )


async def _held_until(database: Database) -> dict[str, datetime]:
    return {name: hold.until for name, hold in (await read_holds(database)).items()}


async def test_a_hold_shows_in_the_agenda_and_ends_when_released(database: Database, shop: Shop) -> None:
    await register_accounts(database, ["one", "two"])
    until = now(minutes=5)
    await hold_account(database, "one", Hold(until, BUSY, "429 😀 'x'" + "y" * 1000), "key-1")
    agendas = await read_agendas(database, ["one", "two"], 1)
    assert (agendas["one"].held_until, agendas["one"].refused_key) == (until, "key-1")
    assert agendas["two"].held_until is None
    row = await shop.row("SELECT hold_code, hold_message FROM carrier_account WHERE name = 'one'")
    assert row["hold_code"] == "carrier_busy"
    assert row["hold_message"].startswith("429 😀 'x'")
    assert await _held_until(database) == {"one": until}
    await release_account(database, "one", "another key")
    assert await _held_until(database) == {"one": until}
    await release_account(database, "one", "key-1")
    assert (await read_agendas(database, ["one"], 1))["one"].held_until is None
    row = await shop.row("SELECT * FROM carrier_account WHERE name = 'one'")
    assert [row[name] for name in ("held_until", "hold_code", "hold_message")] == [None] * 3
    assert row["refused_key"] == "key-1"  # whoever has it does not try it again at once
    assert await read_holds(database) == {}


async def test_the_longer_hold_is_kept(database: Database, shop: Shop) -> None:
    await register_accounts(database, ["one"])
    longer, shorter = now(minutes=5), now(minutes=1)
    for until, code in ((shorter, "carrier_timeout"), (longer, "carrier_busy"), (shorter, "carrier_error")):
        await hold_account(database, "one", Hold(until, ErrorCode(code), code), None)
    assert await _held_until(database) == {"one": longer}
    assert await shop.value("SELECT hold_code FROM carrier_account") == "carrier_busy"


async def test_a_hold_that_is_over_gives_way_to_any_other(database: Database) -> None:
    await register_accounts(database, ["one"])
    await hold_account(database, "one", Hold(now(minutes=-1), BUSY, ""), None)
    until = now(seconds=1)
    await hold_account(database, "one", Hold(until, BUSY, ""), None)
    assert await _held_until(database) == {"one": until}


async def test_a_hold_for_a_refused_key_lasts_until_a_person_acts(database: Database) -> None:
    await register_accounts(database, ["one"])
    await hold_account(database, "one", Hold(now(minutes=5), BUSY, "429"), None)
    await hold_account(database, "one", Hold(None, ErrorCode.CARRIER_KEY_REFUSED, "401"), "key-1")
    await hold_account(database, "one", Hold(now(days=900), BUSY, "429"), None)
    agenda = (await read_agendas(database, ["one"], 1))["one"]
    assert (agenda.held_until, agenda.refused_key) == (FOREVER, "key-1")


async def test_a_hold_of_an_account_without_a_row_is_no_error(database: Database) -> None:
    await hold_account(database, "unknown", Hold(None, BUSY, ""), None)
    await release_account(database, "unknown", "key-1")


async def test_tokens_follow_the_pace(database: Database) -> None:
    await register_accounts(database, ["one", "two"])
    pace = Pace(50)
    first = await take_tokens(database, "one", pace, 100)
    assert first.tokens == pace.burst
    second = await take_tokens(database, "one", pace, 100)
    assert second.tokens == 0
    assert timedelta(0) < second.next_at - datetime.now(UTC) < pace.interval + timedelta(seconds=1)
    assert (await take_tokens(database, "two", pace, 2)).tokens == 2


async def test_a_hold_and_a_release_leave_the_pace_alone(database: Database) -> None:
    await register_accounts(database, ["one"])
    await take_tokens(database, "one", Pace(50), 100)
    await hold_account(database, "one", Hold(None, BUSY, ""), "key-1")
    await release_account(database, "one", "key-1")
    assert (await take_tokens(database, "one", Pace(50), 100)).tokens == 0


async def test_workers_together_never_take_more_than_the_pace_allows(opened: Open, shop: Shop) -> None:
    databases = [opened(pool_size=2) for _ in range(4 if not shop.sqlite else 2)]
    await register_accounts(databases[0], ["one"])
    pace = Pace(1200)
    began = datetime.now(UTC)

    async def worker(database: Database) -> int:
        return sum([(await take_tokens(database, "one", pace, 7)).tokens for _ in range(25)])

    taken = sum(await asyncio.gather(*(worker(database) for database in databases)))
    lasted = datetime.now(UTC) - began + timedelta(milliseconds=5)
    assert pace.burst <= taken <= pace.burst + lasted / pace.interval + 1


async def test_rounding_never_gives_tokens_away(database: Database, shop: Shop) -> None:
    """SQLite keeps milliseconds, and an account may have a token every few of them."""
    await register_accounts(database, ["one"])
    pace, count = Pace(6000), 40
    start = datetime.now(UTC) - pace.burst * pace.interval / 2
    value = start.isoformat(" ", "milliseconds")[:23] if shop.sqlite else start
    await shop.run("UPDATE carrier_account SET spent_until = $1", value)
    for _ in range(count):
        grant = await take_tokens(database, "one", pace, 1)
        assert grant.tokens == 1
    spent = datetime.fromisoformat(str(await shop.value("SELECT spent_until FROM carrier_account")))
    assert spent.replace(tzinfo=UTC) - start >= count * pace.interval - timedelta(milliseconds=1)


@on_postgresql
async def test_tokens_wait_for_each_other_and_read_the_clock_afterwards(
    url: str, database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "BRIEFLY", holds.BRIEFLY.replace("250ms", "60s"))  # however slow this machine is
    await register_accounts(database, ["one"])
    pace = Pace(1200)
    async with Shop.at(url) as other:
        await other.run("BEGIN")
        await other.run("SELECT 1 FROM carrier_account FOR UPDATE")
        taking = asyncio.ensure_future(take_tokens(database, "one", pace, 1))
        await shop.see_waiting()
        released = await other.value("SELECT clock_timestamp()")
        await other.run("UPDATE carrier_account SET spent_until = clock_timestamp()")
        await other.run("COMMIT")
    grant = await taking
    assert grant.spent_until >= released
