"""A row with `adopt_carrier_ref` can never be created: the database itself does not let the intent begin."""

import pytest
from sqlalchemy import exc, text

from tests.store.rows import CALL, insert, insert_tracked, now, take_one
from tests.store.shop import Refused, Shop
from worker.domain.circuits import Circuit, Health
from worker.domain.error_codes import ErrorCode
from worker.store.accounts import register_accounts
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.holds import change_health
from worker.store.ownership import read_owners, read_recorded
from worker.store.presence import ACCOUNT, begin_presence

NEVER = "return_order_adopt_unsent|a return that is to be adopted is never created"
ANY_WORKER_S_INTENT = "UPDATE return_order SET create_started_at = {now} WHERE id = {id}"


async def test_the_number_is_set_at_the_insert_alone_and_in_a_form_that_means_something(shop: Shop) -> None:
    order_id = await insert(shop, "R-1", adopt_carrier_ref="9RET1")
    plain = await insert(shop, "R-2")
    for change in (f"'9RET2' WHERE id = {order_id}", f"NULL WHERE id = {order_id}", f"'9RET2' WHERE id = {plain}"):
        with pytest.raises(Refused, match=r"set by the INSERT alone.*resolve REFERENCE --carrier-ref"):
            await shop.run(f"UPDATE return_order SET adopt_carrier_ref = {change}")
    await shop.run("UPDATE return_order SET adopt_carrier_ref = adopt_carrier_ref, attempts = 1")  # as an ORM does
    for bad in ("", " 9RET3", "9RET3\n", "9" * 201):
        with pytest.raises(Refused, match="return_order_adopt_carrier_ref_check"):
            await insert(shop, "R-3", adopt_carrier_ref=bad)


async def test_no_creation_of_a_return_that_is_to_be_adopted_can_begin_whichever_worker_tries(
    database: Database, shop: Shop
) -> None:
    order_id = await insert(shop, "R-1", adopt_carrier_ref="9RET1")
    held = await take_one(database)
    assert held.to_adopt == "9RET1"
    assert await start_creation(database, held, CALL) is None
    await shop.run(f'UPDATE return_order SET payload = \'{{"description": "Tulpenburg"}}\' WHERE id = {order_id}')
    older = text(ANY_WORKER_S_INTENT.format(now=shop.moment(), id=order_id))  # that knows nothing of the column
    with pytest.raises(exc.IntegrityError, match=NEVER) as raised:
        await database.statement(lambda connection: connection.execute(older))
    assert "Tulpenburg" not in str(raised.value), "it would stand in that worker's log"
    with pytest.raises(Refused, match=NEVER):
        await shop.run(
            "INSERT INTO return_order (reference, payload, adopt_carrier_ref, create_started_at)"
            f" VALUES ('R-2', '{{}}', '9RET2', {shop.moment()})"
        )
    assert (await shop.order(order_id))["create_started_at"] is None


async def test_a_number_that_was_adopted_is_no_proof_that_a_list_is_whole_but_has_an_owner(
    database: Database, shop: Shop
) -> None:

    for reference, columns in (("MADE", {}), ("ADOPTED", {"adopt_carrier_ref": "NR-ADOPTED"})):
        order_id = await insert_tracked(shop, reference, **columns)
        await shop.run(f"UPDATE return_order SET create_started_at = {shop.moment()} WHERE id = {order_id}")
        await shop.run(
            "INSERT INTO status_transition (return_order_id, field, old_value, new_value)"
            f" VALUES ({order_id}, 'state', 'pending', 'tracking')"
        )
    recorded = await read_recorded(database, ["default"], now(minutes=-5))
    assert [each.number for each in recorded] == ["NR-MADE"]
    (owner,) = await read_owners(database, 0, near=["default"], same_key=(), numbers={"NR-ADOPTED"}, references=())
    assert owner.reference == "ADOPTED"


async def test_what_waits_for_no_creation_is_not_said_to(database: Database, shop: Shop) -> None:

    await begin_presence(database, "worker", {ACCOUNT: ["default"]})
    await register_accounts(database, ["default"])
    await change_health(database, "default", lambda *_: Health(creations=Circuit(5, now(minutes=5))))
    await insert(shop, "NEW", error_code=ErrorCode.CARRIER_UNREACHABLE)
    await insert(shop, "THERE", adopt_carrier_ref="9RET1", error_code=ErrorCode.CARRIER_UNREACHABLE)
    rows = await shop.fetch("SELECT reference, waits_for FROM return_overview ORDER BY reference")
    assert [(row["reference"], row["waits_for"]) for row in rows] == [("NEW", "carrier_failing"), ("THERE", None)]
