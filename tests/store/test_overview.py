"""The view `return_overview`: a shop sees what each return waits for, as `accounts` and `show` say it."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import event

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import insert, insert_tracked, now
from tests.store.shop import Shop
from worker.domain.circuits import Circuit, Health
from worker.domain.decision import Hold
from worker.domain.error_codes import ErrorCode
from worker.domain.waits import WaitsFor
from worker.store.accounts import register_accounts
from worker.store.database import Database
from worker.store.holds import (
    NOTHING,
    change_health,
    describe,
    hold_account,
    hold_by_hand,
    hold_creations,
    read_accounts,
    release_by_hand,
    stop_sending,
)
from worker.store.presence import ACCOUNT, LASTS, begin_presence, end_presence, renew_presence, waits_for

COLUMNS = (
    *("reference", "account", "state", "tracking_status", "carrier_status", "carrier_ref", "return_url", "error_code"),
    *("error_message", "waits_for", "label_location", "label_media_type", "updated_at"),
)
Keeps = Callable[[Database, str], Coroutine[Any, Any, object]]
OPEN, TRIED = Circuit(5, now(minutes=5)), Circuit(5, now(minutes=-5))
HELD, FAILING, PAUSED = WaitsFor.ACCOUNT_HELD, WaitsFor.CARRIER_FAILING, WaitsFor.PAUSED_BY_PERSON
CREATE, TRACK = "of a return that is to be created", "of one that is followed"


def carrier_asks_to_wait(**until: float) -> Keeps:
    return lambda database, name: hold_account(database, name, Hold(now(**until), ErrorCode.CARRIER_BUSY, "429"), None)


def key_is_refused(database: Database, name: str) -> Coroutine[Any, Any, object]:
    return hold_account(database, name, Hold(None, ErrorCode.CARRIER_KEY_REFUSED, "401"), "fingerprint")


async def it_asks_beside_a_pause_of_creations(database: Database, name: str) -> None:
    await hold_creations(database, name, "by anna")
    await carrier_asks_to_wait(minutes=5)(database, name)


def health_is(health: Health) -> Keeps:
    return lambda database, name: change_health(database, name, lambda *_: health)


# What keeps an account waiting, and what a return of it that is to be created, and one that is followed, wait for then.
KEPT: dict[str, tuple[Keeps, WaitsFor | None, WaitsFor | None]] = {
    "well": (lambda database, name: register_accounts(database, [name]), None, None),
    "busy": (carrier_asks_to_wait(minutes=5), HELD, HELD),
    "no_moment_that_can_be": (carrier_asks_to_wait(days=1), None, None),
    "over": (carrier_asks_to_wait(minutes=-1), None, None),
    "refused": (key_is_refused, WaitsFor.KEY_REFUSED, WaitsFor.KEY_REFUSED),
    "paused": (lambda database, name: hold_by_hand(database, name, None, "by anna"), PAUSED, PAUSED),
    "for_days": (lambda database, name: hold_by_hand(database, name, now(days=3), "by anna"), PAUSED, PAUSED),
    "paused_before": (lambda database, name: hold_by_hand(database, name, now(minutes=-1), "by anna"), None, None),
    "not_to_create": (lambda database, name: hold_creations(database, name, "by anna"), PAUSED, None),
    "busy_and_not_to_create": (it_asks_beside_a_pause_of_creations, PAUSED, HELD),
    "stopped": (lambda database, name: stop_sending(database, name, "https://carrier.example", "404"), HELD, None),
    "failing": (health_is(Health(OPEN)), FAILING, FAILING),
    "tried": (health_is(Health(TRIED)), FAILING, FAILING),
    "creations_fail": (health_is(Health(creations=OPEN)), FAILING, None),
}


async def alive(database: Database, *accounts: str, worker: str = "host:1:abc", lasts: timedelta = LASTS) -> None:
    await begin_presence(database, worker, {ACCOUNT: accounts}, lasts)


async def overview(shop: Shop) -> dict[str, str | None]:
    rows = await shop.fetch("SELECT reference, waits_for FROM return_overview")
    return {row["reference"]: row["waits_for"] for row in rows}


async def test_what_a_return_waits_for_is_what_is_said_of_its_account(database: Database, shop: Shop) -> None:
    await alive(database, *KEPT)
    await register_accounts(database, list(KEPT))
    for name, (keep, *_) in KEPT.items():
        await keep(database, name)
        code = "carrier_unreachable" if name == "stopped" else None
        await insert(shop, CREATE, name, error_code=code)
        await insert_tracked(shop, TRACK, name, carrier_ref=name)
    found = await shop.fetch("SELECT account, reference, waits_for FROM return_overview")
    seen = {(row["account"], row["reference"]): row["waits_for"] for row in found}
    assert seen == {
        (name, reference): waits
        for name, (_, creating, following) in KEPT.items()
        for reference, waits in ((CREATE, creating), (TRACK, following))
    }
    states = await read_accounts(database)
    assert {name for name in KEPT if describe(states[name]) != NOTHING} == {
        name for name in KEPT if seen[name, CREATE] is not None
    }
    assert await waits_for(database, "refused", TRACK) is WaitsFor.KEY_REFUSED
    assert await waits_for(database, "refused", "unknown") is None
    for name in KEPT:
        await release_by_hand(database, name)
    assert set((await overview(shop)).values()) == {None}


async def test_only_what_has_yet_to_be_sent_waits_for_the_creations_of_its_carrier(
    database: Database, shop: Shop
) -> None:
    """What is in doubt is looked up, and what was withdrawn ends, whatever becomes of creations."""
    await alive(database, "fails", "stopped")
    await register_accounts(database, ["fails", "stopped"])
    await change_health(database, "fails", lambda *_: Health(creations=OPEN))
    await stop_sending(database, "stopped", "https://carrier.example", "404")
    for name in ("fails", "stopped"):
        await insert(shop, f"{name} doubt", name, error_code="carrier_unreachable")
        await insert(shop, f"{name} withdrawn", name, error_code="carrier_unreachable")
        await insert(shop, f"{name} new", name)
    await shop.run(f"UPDATE return_order SET create_started_at = {shop.moment(-9)} WHERE reference LIKE '%doubt'")
    await shop.run(f"UPDATE return_order SET cancel_requested_at = {shop.moment(0)} WHERE reference LIKE '%withdrawn'")
    assert {reference: waits for reference, waits in (await overview(shop)).items() if waits} == {"fails new": FAILING}


async def test_a_return_waits_for_a_worker_that_serves_its_account_as_long_as_there_is_none(
    database: Database, shop: Shop
) -> None:
    await insert(shop, "R-1", "one")
    await insert_tracked(shop, "OVER", "one", state="completed", due=None)
    await insert(shop, "PERSON", "one", state="needs_attention", due=None)
    for state in ("none came yet", "killed", "ended", "ahead"):
        if state == "killed":
            await alive(database, "one", lasts=timedelta(milliseconds=-1))
        elif state == "ended":
            await alive(database, "one", "two")
            assert await waits_for(database, "one", "R-1") is None
            await end_presence(database, "host:1:abc")
        elif state == "ahead":  # written under a clock that was
            await alive(database, "one", lasts=timedelta(hours=2))
        assert await overview(shop) == {"R-1": WaitsFor.WORKER_ABSENT, "OVER": None, "PERSON": None}, state
    await alive(database, "two", worker="host:2:def")
    assert await shop.value("SELECT count(*) FROM worker_presence") == 1  # what ran out is forgotten at a start
    assert await waits_for(database, "one", "R-1") is WaitsFor.ACCOUNT_NOT_CONFIGURED
    assert not await renew_presence(database, "host:1:abc")  # it was forgotten: it has to say once more what it serves
    await alive(database, "one", "two")
    assert await renew_presence(database, "host:1:abc")
    assert await waits_for(database, "one", "R-1") is None


async def test_the_view_shows_the_first_label_and_all_that_is_promised_of_a_return(
    database: Database, shop: Shop
) -> None:
    order_id = await insert_tracked(
        *(shop, "R-1"), carrier_status="OnItsWay", return_url="https://x.example", error_code="carrier_busy"
    )
    await insert(shop, "R-2")
    for position, media_type in ((2, "image/png"), (1, "application/pdf")):
        await shop.run(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
            f" VALUES ({order_id}, {position}, 'file:///{position}', '{media_type}', 1, 'ab')"
        )
    row = await shop.row("SELECT * FROM return_overview WHERE account = 'default' AND reference = 'R-1'")
    assert tuple(row) == COLUMNS
    order = await shop.order(order_id)
    assert row == {name: order[name] for name in COLUMNS if name in order} | {
        "waits_for": WaitsFor.WORKER_ABSENT,
        "label_location": "file:///1",
        "label_media_type": "application/pdf",
    }
    assert await shop.value("SELECT label_location FROM return_overview WHERE reference = 'R-2'") is None
    await shop.run(f"UPDATE label SET removed_at = {shop.moment(0)} WHERE position = 1")
    assert await shop.value("SELECT label_location FROM return_overview WHERE reference = 'R-1'") == "file:///2"


async def test_a_look_at_one_return_costs_a_look_into_indexes_at_any_size(database: Database, shop: Shop) -> None:
    numbers = (
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)"
        if shop.sqlite
        else "WITH n AS (SELECT n FROM generate_series(1, 20000) n)"
    )
    await shop.run(
        "INSERT INTO return_order (account, reference, carrier_ref, payload, state, next_step, due_at)"
        f" {numbers} SELECT 'A' || n % 2, 'R' || n, 'C' || n, '{{}}', 'tracking', 'track', {shop.moment(60)} FROM n"
    )
    await shop.run(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " SELECT id, 1, 'x', 'x', 1, 'x' FROM return_order"
    )
    await shop.run(
        "INSERT INTO package (return_order_id, position, tracking_number) SELECT id, 1, id FROM return_order"
    )
    await shop.run("ANALYZE")
    explain = "EXPLAIN QUERY PLAN " if shop.sqlite else "EXPLAIN "
    for statement, index in (
        ("SELECT * FROM return_overview WHERE account = 'A1' AND reference = 'R7'", "return_order_reference_key"),
        ("SELECT * FROM return_overview WHERE account = 'A1' AND carrier_ref = 'C7'", "return_order_carrier_ref"),
        ("SELECT return_order_id FROM package WHERE tracking_number = '7'", "package_tracking_number"),
    ):
        plan = "\n".join(str(line) for line in await shop.fetch(explain + statement))
        assert index in plan or (shop.sqlite and "sqlite_autoindex_return_order" in plan), plan
        assert not any(
            scan in plan
            for scan in ("SCAN r", "SCAN l", "SCAN package", *(f"Seq Scan on {t}" for t in ("return_order", "label")))
        ), plan


async def test_a_renewal_is_one_statement_whatever_is_served(database: Database, shop: Shop) -> None:
    names = [f"account_{number}" for number in range(200)]
    await alive(database, *names)
    sent: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: sent.append(statement))
    assert await renew_presence(database, "host:1:abc")
    assert [statement.split()[0] for statement in sent if statement != "BEGIN IMMEDIATE"] == ["UPDATE"]


ROLE = "returns_sees_some"


@on_postgresql
@pytest.mark.parametrize("by_caller", [True, False], ids=["from PostgreSQL 15 on", "on PostgreSQL 14"])
async def test_a_row_that_row_security_hides_in_the_table_is_not_seen_through_the_view(
    own_database: None, url: str, opened: Open, shop: Shop, by_caller: bool
) -> None:
    """On PostgreSQL 14, whose views read as their owner, a role that may see some rows is shown none."""
    migration = import_module("worker.store.migrations.versions.0017_adopt")
    await shop.run("DROP VIEW return_overview")
    await shop.run(migration.view("public", by_caller=by_caller))
    for account in ("mine", "theirs"):
        await insert(shop, "R-1", account)
    await shop.run(f"CREATE ROLE {ROLE} LOGIN")
    try:
        await shop.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
        async with Shop.at(url.replace("://postgres@", f"://{ROLE}@")) as theirs:
            accounts = "SELECT account FROM return_overview ORDER BY 1"
            assert [row["account"] for row in await theirs.fetch(accounts)] == ["mine", "theirs"]
            await shop.run("ALTER TABLE return_order ENABLE ROW LEVEL SECURITY")
            await shop.run("CREATE POLICY mine ON return_order USING (account = 'mine')")
            assert [row["account"] for row in await theirs.fetch(accounts)] == (["mine"] if by_caller else [])
    finally:
        await shop.run(f"DROP OWNED BY {ROLE}")
        await shop.run(f"DROP ROLE {ROLE}")
