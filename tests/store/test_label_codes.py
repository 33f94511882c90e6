"""Whose a label code is, found by the index."""

from sqlalchemy import event

from tests.store.rows import created, insert, take_one
from tests.store.shop import Shop
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.store.database import Database
from worker.store.label_codes import owner_of
from worker.store.records import record
from worker.store.upkeep.renames import rename_returns


async def _created(database: Database, shop: Shop, reference: str, *packages: PackageInfo) -> ReturnOrder:
    await insert(shop, reference)
    order = await take_one(database)
    await record(database, [(order, created(order, f"N{reference}")._replace(packages=packages))])
    return order


async def _owner(
    database: Database, order: ReturnOrder, *codes: str, accounts: tuple[str, ...] = ("default",)
) -> object:
    found = await owner_of(database, order, codes, accounts)
    return found and (found.account, found.reference, found.code)


async def test_a_code_is_its_creations_and_nobody_elses(database: Database, shop: Shop) -> None:
    first = await _created(database, shop, "A", PackageInfo(1, "7A"), PackageInfo(2, "7B"))
    second = await _created(database, shop, "B", PackageInfo(1, "7C", tracking_number="7IZP"))
    assert await _owner(database, second, "7X", "7B") == ("default", "A", "7B")
    assert await _owner(database, first, "7A", "7B") is None  # they are its own
    assert await _owner(database, first, "7X") is None
    assert await _owner(database, first, "7IZP") is None  # a status named it, which proves nothing


async def test_a_code_of_another_carriers_return_is_not_the_same_code(database: Database, shop: Shop) -> None:
    """ReturnPilot's shipments have small numbers, which may be anybody's."""
    first = await _created(database, shop, "A", PackageInfo(1, "12"))
    await rename_returns(database, "default", "pilot", "renamed")
    second = await _created(database, shop, "B", PackageInfo(1, "7C"))
    assert first.id != second.id
    assert await _owner(database, second, "12") is None
    assert await _owner(database, second, "12", accounts=("default", "pilot")) == ("pilot", "A", "12")


async def test_whose_a_code_is_costs_a_look_into_the_index_at_any_size(database: Database, shop: Shop) -> None:
    numbers = (
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)"
        if shop.sqlite
        else "WITH n AS (SELECT n FROM generate_series(1, 20000) n)"
    )
    await shop.run(
        "INSERT INTO return_order (reference, carrier_ref, payload, state, next_step, due_at)"
        f" {numbers} SELECT 'D' || n, 'D' || n, '{{}}', 'completed', 'track', NULL FROM n"
    )
    await shop.run(
        "INSERT INTO package (return_order_id, position, label_code) SELECT id, 1, '7' || id FROM return_order"
    )
    await shop.run("ANALYZE")
    sent: list[tuple[str, object]] = []
    event.listen(
        database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, values, *_: sent.append((statement, values)),
    )
    order = ReturnOrder(id=0, account="default", reference="X")
    assert (
        await _owner(database, order, "X", "7" + str(await shop.value("SELECT max(id) FROM return_order"))) is not None
    )
    statement, values = sent[-1]
    explain = "EXPLAIN QUERY PLAN " if shop.sqlite else "EXPLAIN "
    lines = await database.reading(
        lambda connection: connection.exec_driver_sql(explain + statement, values).all()  # type: ignore[arg-type]
    )
    plan = "\n".join(str(line) for line in lines)
    assert "package_label_code" in plan
    assert "Seq Scan" not in plan
    assert "SCAN p" not in plan
