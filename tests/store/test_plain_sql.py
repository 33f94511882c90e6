"""What the database itself promises a shop that writes to it in any language."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from tests.databases import on_postgresql, on_sqlite
from tests.store.rows import CALL, insert, insert_tracked, take_one
from tests.store.shop import Refused, Shop
from worker.store.claims import start_creation
from worker.store.database import Database

MINIMAL = "INSERT INTO return_order (reference, payload) VALUES ($1, $2) RETURNING id"
REQUESTS = ("cancel_requested_at", "retry_requested_at")


async def test_the_smallest_insert_gets_every_default(shop: Shop) -> None:
    order_id = await shop.value(MINIMAL, "R-1", '{"items": []}')
    row = await shop.order(order_id)
    given = {name: value for name, value in row.items() if value is not None}
    assert given.keys() == {
        *("id", "account", "reference", "payload", "due_at", "state", "attempts", "lease_token", "created_at"),
        *("updated_at", "next_step", "unchanged_polls", "label_attempts", "claims", "shop_changes", "lookups"),
    }
    assert (row["account"], row["state"], row["next_step"]) == ("default", "pending", "create")
    assert [row[name] for name in ("attempts", "lease_token", "unchanged_polls", "claims", "shop_changes")] == [0] * 5
    assert json.loads(row["payload"]) == {"items": []}
    for column in ("due_at", "created_at", "updated_at"):
        assert abs(await shop.seconds(column, order_id)) < 5


async def test_a_new_row_is_due_at_once_for_the_worker(shop: Shop, database: Database) -> None:
    order_id = await shop.value(MINIMAL, "R-1", "{}")
    order = await take_one(database)
    assert (order.id, order.reference, order.account, order.payload) == (order_id, "R-1", "default", "{}")


async def test_a_payload_that_is_not_json_is_refused(shop: Shop) -> None:
    for payload in ("", "text", "{'a': 1}", "{a: 1}", '{"a": 1,}', '{"a": NaN}', '{"a": 1} {}', "// no\n{}", "{"):
        with pytest.raises(Refused, match=r"return_order_payload_check|invalid input syntax"):
            await shop.run(MINIMAL, "R-1", payload)


async def test_a_payload_that_is_no_object_is_refused(shop: Shop) -> None:
    for payload in ("[]", "null", "1", '"text"', "true", '[{"items": []}]', "  []"):
        with pytest.raises(Refused, match="return_order_payload_check"):
            await shop.run(MINIMAL, "R-1", payload)


async def test_a_payload_is_required(shop: Shop) -> None:
    with pytest.raises(Refused, match="payload"):
        await shop.run("INSERT INTO return_order (reference) VALUES ('R-1')")
    with pytest.raises(Refused, match="payload"):
        await shop.run("INSERT INTO return_order (reference, payload) VALUES ('R-1', NULL)")


MOST = 1_000_000
TOO_LARGE = "payload is larger than 1,000,000 bytes of JSON text: leave out what the carrier does not need"


async def test_a_payload_beyond_its_bound_is_refused_and_not_quoted(shop: Shop) -> None:
    """Bytes are counted, as the database keeps it; PostgreSQL writes a number such as 1e99999 out."""
    largest = '{"a": "' + "é" * ((MOST - 9) // 2) + '"}'
    order_id = await shop.value(MINIMAL, "R-1", largest)
    larger = ['{"a": "' + "é" * (MOST // 2) + '"}', '{"secret": [' + "1, " * MOST + "1]}"]
    if not shop.sqlite:
        larger.append('{"secret": [' + "1e99999, " * 11 + "1]}")
    for payload in larger:
        for statement in (MINIMAL, f"UPDATE return_order SET payload = $2 WHERE reference = $1 AND id = {order_id}"):
            with pytest.raises(Refused, match=TOO_LARGE) as refused:
                await shop.run(statement, "R-1" if statement != MINIMAL else "R-2", payload)
            assert "secret" not in f"{refused.value!r} {refused.value.__dict__}"
    assert await shop.value("SELECT count(*) FROM return_order") == 1


@on_sqlite
async def test_a_payload_given_as_bytes_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="return_order_payload_check"):
        await shop.run(MINIMAL, "R-1", b"{}")


@pytest.mark.parametrize("column", ["reference", "account"])
async def test_a_blank_name_is_refused(shop: Shop, column: str) -> None:
    for blank in ("", " ", "   ", "\t", "\n", " \r\n\t "):
        values = {"reference": "R-1", "account": "default"} | {column: blank}
        with pytest.raises(Refused, match=f"return_order_{column}_check"):
            await insert(shop, **values)


async def test_a_reference_is_required(shop: Shop) -> None:
    with pytest.raises(Refused, match="reference"):
        await shop.run("INSERT INTO return_order (payload) VALUES ('{}')")


async def test_a_reference_is_unique_in_its_account_only(shop: Shop) -> None:
    await insert(shop, "R-1")
    with pytest.raises(Refused, match=r"return_order_reference_key|return_order\.account, return_order\.reference"):
        await insert(shop, "R-1")
    await insert(shop, "R-1", "other")
    await insert(shop, "r-1")
    assert await shop.value("SELECT count(*) FROM return_order") == 3


SENSELESS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"state": "running"}, "state_check"),
    ({"state": ""}, "state_check"),
    ({"tracking_status": "lost"}, "tracking_status_check"),
    ({"next_step": "cancel"}, "step_check"),
    ({"next_step": "track"}, "step_check"),
    ({"state": "tracking", "carrier_ref": "1"}, "step_check"),
    ({"lease_owner": "worker-1"}, "lease_check"),
    ({"due": None}, "due_at_check"),
    ({"state": "tracking", "next_step": "track", "carrier_ref": "1", "due": None}, "due_at_check"),
    ({"state": "tracking", "next_step": "track"}, "at_carrier_check"),
    ({"state": "completed", "due": None}, "at_carrier_check"),
)


async def test_a_row_that_makes_no_sense_is_refused(shop: Shop) -> None:
    for columns, check in SENSELESS:
        with pytest.raises(Refused, match=f"return_order_.*{check}"):
            await insert(shop, "R-1", **columns)


async def test_a_lease_without_an_owner_is_refused(shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    with pytest.raises(Refused, match="return_order_lease_check"):
        await shop.run(f"UPDATE return_order SET lease_until = {shop.moment(90)} WHERE id = {order_id}")


OTHER_FORMS = (
    "2026-06-04T12:00:00",
    "2026-06-04T12:00:00Z",
    "2026-06-04 12:00:00Z",
    "2026-06-04 12:00:00+00:00",
    "2026-06-04 12:00:00.1",
    "2026-06-04 12:00:00.123456",
    "2026-06-04 12:00:00.12a",
    "2026-06-04 12:00:00,123",
    "2026-06-04 12:00",
    "2026-06-04",
    "12:00:00",
    "2026-6-4 12:00:00",
    "04-06-2026 12:00:00",
    "06/04/2026 12:00:00",
    "2026-02-30 12:00:00",
    "2026-04-31 12:00:00",
    "2026-02-29 12:00:00",
    "2026-13-01 12:00:00",
    "2026-00-01 12:00:00",
    "2026-06-00 12:00:00",
    "2026-06-04 24:00:00",
    "2026-06-04 25:00:00",
    "2026-06-04 12:60:00",
    "2026-06-04 12:00:60",
    "0000-01-01 00:00:00",
    "-026-01-01 00:00:00",
    " 2026-06-04 12:00:00",
    "2026-06-04 12:00:00 ",
    "2026-06-04 12:00:00    ",
    "2026-06-04 12:00:00\x00now",
    "2461195.0000000000",
    "now",
    "",
    "soon",
    2461195.5,
    1780574400,
    b"2026-06-04 12:00:00",
)


@on_sqlite
async def test_a_moment_in_another_form_is_refused(shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    for column in ("due_at", *REQUESTS, "lease_until", "created_at"):
        owner = ", lease_owner = 'w'" if column == "lease_until" else ""
        for moment in OTHER_FORMS:
            with pytest.raises(Refused, match=f"return_order_{column}_form_check"):
                await shop.run(f"UPDATE return_order SET {column} = $1{owner} WHERE id = {order_id}", moment)


@on_sqlite
@pytest.mark.parametrize(
    "moment",
    [
        "2026-06-04 12:00:00",
        "2026-06-04 12:00:00.000",
        "2024-02-29 23:59:59.999",
        "2026-12-31 23:59:59.999",
        "2026-03-29 02:30:00.001",
        "1970-01-01 00:00:00",
        "0001-01-01 00:00:00",
    ],
)
async def test_a_moment_in_the_documented_form_is_taken(shop: Shop, database: Database, moment: str) -> None:
    order_id = await insert(shop, "R-1")
    await shop.run("UPDATE return_order SET due_at = $1 WHERE id = $2", moment, order_id)
    await shop.run("UPDATE return_order SET due_at = CURRENT_TIMESTAMP WHERE id = $1", order_id)
    await shop.run("UPDATE return_order SET due_at = datetime('now') WHERE id = $1", order_id)
    assert (await take_one(database)).id == order_id


@on_postgresql
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "20000-01-01 00:00Z", "0044-03-15 12:00Z BC"])
async def test_a_moment_that_no_clock_shows_is_refused(shop: Shop, moment: str) -> None:
    """Python cannot read these: one such row would stop the worker."""
    order_id = await insert(shop, "R-1")
    for column in ("due_at", *REQUESTS):
        with pytest.raises(Refused, match=f"return_order_{column}_form_check"):
            await shop.run(f"UPDATE return_order SET {column} = '{moment}' WHERE id = {order_id}")


@on_postgresql
async def test_a_creation_that_python_cannot_date_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="return_order_created_at_form_check"):
        await shop.run("INSERT INTO return_order (reference, payload, created_at) VALUES ('R-1', '{}', '20000-01-01')")


async def test_an_id_is_never_used_again(shop: Shop) -> None:
    first, second = await insert(shop, "R-1"), await insert(shop, "R-2")
    await shop.run("DELETE FROM return_order")
    third = await insert(shop, "R-1")
    assert first < second < third


@pytest.mark.parametrize("state", ["pending", "rejected"])
async def test_a_payload_can_be_mended_while_nothing_was_sent(shop: Shop, state: str) -> None:
    order_id = await insert(shop, "R-1", state=state)
    await shop.run("""UPDATE return_order SET payload = '{"items": [1]}' WHERE id = $1""", order_id)
    row = await shop.order(order_id)
    assert json.loads(row["payload"]) == {"items": [1]}
    assert row["shop_changes"] == 1


@pytest.mark.parametrize("state", ["tracking", "completed", "needs_attention", "cancelled"])
async def test_a_payload_cannot_be_changed_once_it_was_sent(shop: Shop, state: str) -> None:
    order_id = await insert_tracked(shop, "R-1", state=state)
    with pytest.raises(Refused, match="payload can be changed only while the return is pending or rejected"):
        await shop.run("""UPDATE return_order SET payload = '{"items": [1]}' WHERE id = $1""", order_id)
    assert json.loads((await shop.order(order_id))["payload"]) == {"items": []}


async def test_a_payload_cannot_be_changed_while_it_is_being_sent(shop: Shop, database: Database) -> None:
    order_id = await insert(shop, "R-1")
    assert await start_creation(database, await take_one(database), CALL)
    with pytest.raises(Refused, match="not while it is being created"):
        await shop.run("UPDATE return_order SET payload = '{}' WHERE id = $1", order_id)


async def test_writing_the_same_payload_again_is_no_change(shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    await shop.run("UPDATE return_order SET payload = payload WHERE id = $1", order_id)
    assert (await shop.order(order_id))["shop_changes"] == 0


async def test_an_upsert_by_the_shop_mends_the_payload(shop: Shop) -> None:
    upsert = """INSERT INTO return_order (reference, payload) VALUES ('R-1', $1)
      ON CONFLICT (account, reference) DO UPDATE SET payload = excluded.payload"""
    await shop.run(upsert, "{}")
    await shop.run(upsert, '{"items": []}')
    row = await shop.row("SELECT payload, shop_changes FROM return_order")
    assert (json.loads(row["payload"]), row["shop_changes"]) == ({"items": []}, 1)


@pytest.mark.parametrize("column", REQUESTS)
@pytest.mark.parametrize("due", [None, 3600.0])
async def test_a_request_makes_the_row_due_at_once(shop: Shop, column: str, due: float | None) -> None:
    order_id = await insert(shop, "R-1", state="rejected", due=due)
    await shop.run(f"UPDATE return_order SET {column} = CURRENT_TIMESTAMP WHERE id = $1", order_id)
    assert abs(await shop.seconds("due_at", order_id)) < 5
    assert (await shop.order(order_id))["shop_changes"] == 1


@pytest.mark.parametrize("column", REQUESTS)
async def test_a_request_that_is_taken_back_does_not_make_the_row_due(shop: Shop, column: str) -> None:
    order_id = await insert(shop, "R-1", due=3600)
    await shop.run(f"UPDATE return_order SET {column} = {shop.moment()} WHERE id = $1", order_id)
    await shop.run(f"UPDATE return_order SET due_at = {shop.moment(3600)} WHERE id = $1", order_id)
    await shop.run(f"UPDATE return_order SET {column} = NULL WHERE id = $1", order_id)
    assert await shop.seconds("due_at", order_id) > 3000
    assert (await shop.order(order_id))["shop_changes"] == 1


async def test_a_repeated_request_is_heard_again(shop: Shop) -> None:
    order_id = await insert(shop, "R-1", state="rejected", due=None)
    for seconds in (-10, 0):
        await shop.run(f"UPDATE return_order SET retry_requested_at = {shop.moment(seconds)} WHERE id = $1", order_id)
    assert (await shop.order(order_id))["shop_changes"] == 2


async def test_other_changes_do_not_count_as_the_shops(shop: Shop) -> None:
    order_id = await insert(shop, "R-1", due=3600)
    await shop.run("UPDATE return_order SET attempts = 3, error_message = 'x' WHERE id = $1", order_id)
    row = await shop.order(order_id)
    assert row["shop_changes"] == 0
    assert await shop.seconds("due_at", order_id) > 3000


async def test_history_cannot_be_rewritten(shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    await shop.run("INSERT INTO status_transition (return_order_id, field) VALUES ($1, 'state')", order_id)
    with pytest.raises(Refused, match="append-only"):
        await shop.run("UPDATE status_transition SET new_value = 'completed'")


async def test_history_knows_two_fields(shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    with pytest.raises(Refused, match="status_transition_field_check"):
        await shop.run("INSERT INTO status_transition (return_order_id, field) VALUES ($1, 'payload')", order_id)


async def test_deleting_a_return_removes_what_belongs_to_it(shop: Shop) -> None:
    kept, deleted = await insert(shop, "R-1"), await insert(shop, "R-2")
    for order_id in (kept, deleted):
        await shop.run("INSERT INTO status_transition (return_order_id, field) VALUES ($1, 'state')", order_id)
        await shop.run("INSERT INTO package (return_order_id, position) VALUES ($1, 1)", order_id)
        await shop.run(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
            " VALUES ($1, 1, 'file:x', 'application/pdf', 1, 'x')",
            order_id,
        )
    await shop.run("DELETE FROM return_order WHERE id = $1", deleted)
    for table in ("status_transition", "package", "label"):
        assert await shop.fetch(f"SELECT return_order_id FROM {table}") == [{"return_order_id": kept}]


@pytest.mark.parametrize("table", ["package", "label"])
async def test_positions_count_from_one(shop: Shop, table: str) -> None:
    order_id = await insert(shop, "R-1")
    columns = "(return_order_id, position, location, media_type, byte_count, sha256)"
    values = f"({order_id}, 0, 'x', 'x', 1, 'x')"
    if table == "package":
        columns, values = "(return_order_id, position)", f"({order_id}, 0)"
    with pytest.raises(Refused, match=f"{table}_position_check"):
        await shop.run(f"INSERT INTO {table} {columns} VALUES {values}")


@on_postgresql
async def test_a_shop_with_column_grants_can_do_its_part_and_nothing_else(shop: Shop) -> None:
    order_id = await insert(shop, "R-0", state="rejected", due=None)
    role = f"shop_{await shop.value('SELECT current_database()')}"
    await shop.run(f"CREATE ROLE {role}")
    try:
        await shop.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        await shop.run(f"GRANT INSERT (account, reference, payload, due_at) ON return_order TO {role}")
        await shop.run(f"GRANT UPDATE (payload, cancel_requested_at, retry_requested_at) ON return_order TO {role}")
        await shop.run(f"SET ROLE {role}")
        await shop.run(MINIMAL, "R-1", "{}")
        await shop.run("""UPDATE return_order SET payload = '{"a": 1}', retry_requested_at = now()""")
        for column, value in (("state", "'pending'"), ("due_at", "now()"), ("shop_changes", "0")):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await shop.run(f"UPDATE return_order SET {column} = {value}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await shop.run("INSERT INTO return_order (reference, payload, state) VALUES ('R-2', '{}', 'completed')")
        assert (await shop.order(order_id))["shop_changes"] == 1
        assert abs(await shop.seconds("due_at", order_id)) < 5
    finally:
        await shop.run("RESET ROLE")
        await shop.run(f"DROP OWNED BY {role}")
        await shop.run(f"DROP ROLE {role}")


async def test_two_shops_that_insert_the_same_reference_get_one_return(url: str, shop: Shop) -> None:
    async def add(number: int) -> bool:
        async with Shop.at(url) as other:
            try:
                await insert(other, "R-1", payload=json.dumps({"number": number}))
            except Refused:
                return False
            return True

    assert sum(await asyncio.gather(*(add(number) for number in range(5)))) == 1
    assert await shop.value("SELECT count(*) FROM return_order") == 1
