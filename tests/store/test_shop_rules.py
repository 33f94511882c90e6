"""A shop's own foreign keys, constraints and triggers on our tables: nothing of it is lost, and one row costs one."""

import asyncio
from datetime import timedelta

import pytest

from tests.databases import on_postgresql
from tests.store.rows import insert, insert_tracked, now, take
from tests.store.shop import Shop
from worker.domain.by_hand import Person, retry
from worker.domain.policy import Policy
from worker.store.database import Database
from worker.store.failures import DatabaseRefused
from worker.store.refusals import RowsLeft
from worker.store.upkeep.archive import Batch, archive_batch, count_over
from worker.store.upkeep.intake import InsertRefused, NewReturn, insert_returns
from worker.store.upkeep.renames import rename_returns
from worker.usecases.desk import Desk

pytestmark = pytest.mark.usefixtures("own_database")

SAYS = "the shop keeps it"
VARIANTS = ("", "ON DELETE RESTRICT", "ON DELETE CASCADE", "ON DELETE SET NULL", "DEFERRABLE INITIALLY DEFERRED")


async def over(shop: Shop, *references: str) -> dict[str, int]:
    return {each: await insert_tracked(shop, each, state="completed", due=None) for each in references}


async def archived(database: Database, most: int = 100) -> Batch:
    return await archive_batch(database, now(seconds=1), None, 0, most)


async def refuse(shop: Shop, when: str, reference: str, *, table: str = "return_order", silently: bool = False) -> None:
    """A trigger of the shop's against one return, such as `DELETE` or `UPDATE OF state`."""
    name = f"shop_{len(await shop.fetch(_TRIGGERS[shop.sqlite]))}"
    row = "NEW" if when == "INSERT" else "OLD"
    if shop.sqlite:
        raised = "RAISE(IGNORE)" if silently else f"RAISE(ABORT, '{SAYS}')"
        await shop.run(
            f"CREATE TRIGGER {name} BEFORE {when} ON {table} WHEN {row}.reference = '{reference}'"
            f" BEGIN SELECT {raised}; END"
        )
        return
    does = "RETURN NULL;" if silently else f"RAISE EXCEPTION '{SAYS}';"
    await shop.run(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} END $$")
    await shop.run(
        f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW"
        f" WHEN ({row}.reference = '{reference}') EXECUTE FUNCTION {name}()"
    )


_TRIGGERS = {True: "SELECT name FROM sqlite_master WHERE type = 'trigger'", False: "SELECT tgname FROM pg_trigger"}


async def where(shop: Shop) -> tuple[set[str], set[str]]:
    """The references that are live, and those in the archive."""
    live, put_away = [
        {row["reference"] for row in await shop.fetch(f"SELECT reference FROM {table}")}
        for table in ("return_order", "archived_return")
    ]
    return live, put_away


async def test_archive_leaves_and_names_what_a_shop_refers_to_whatever_its_foreign_key_says(
    database: Database, shop: Shop
) -> None:
    ids = await over(shop, *(f"R-{number}" for number in range(len(VARIANTS))), "NAMED", "LABELLED", "REPLACED", "FREE")
    for number, variant in enumerate(VARIANTS):
        await shop.run(f'CREATE TABLE "shop:{number}" (return_order_id bigint REFERENCES return_order(id) {variant})')
        await shop.run(f'INSERT INTO "shop:{number}" VALUES ({ids[f"R-{number}"]}), (NULL)')
    await shop.run(
        "CREATE TABLE shop_refund (account text, number text, CONSTRAINT refund_of FOREIGN KEY (account, number)"
        " REFERENCES return_order (account, reference) ON DELETE CASCADE)"
    )
    await shop.run("INSERT INTO shop_refund VALUES ('default', 'NAMED')")
    await shop.run("CREATE TABLE shop_scan (label_id bigint REFERENCES label ON DELETE CASCADE)")
    await shop.run(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        f" SELECT id, 1, 'file:///x', 'application/pdf', 1, 'ab' FROM return_order WHERE id = {ids['LABELLED']}"
    )
    await shop.run("INSERT INTO shop_scan SELECT id FROM label")
    await shop.run("ALTER TABLE return_order ADD COLUMN replaces bigint REFERENCES return_order(id) ON DELETE CASCADE")
    await shop.run(f"UPDATE return_order SET replaces = {ids['REPLACED']} WHERE id = {await insert(shop, 'LIVE')}")
    before = [
        await shop.fetch(f"SELECT * FROM {table}") for table in ('"shop:2"', '"shop:3"', "shop_refund", "shop_scan")
    ]

    free, kept = await count_over(database, now(seconds=1), None)
    assert (free, sum(kept.values())) == (1, len(ids) - 1)
    batch = await archived(database)
    assert (batch.count, batch.refused, batch.finished) == (1, (), True)
    said = dict(batch.referred)
    assert said.keys() == ids.keys() - {"FREE"}
    assert "shop_refund" in said["NAMED"] and "shop_scan" in said["LABELLED"] and "replaces" in said["REPLACED"]
    if not shop.sqlite:
        assert said["NAMED"] == "shop_refund (account, number) refers to it [refund_of]"
    assert await where(shop) == ({*ids, "LIVE"} - {"FREE"}, {"FREE"})
    after = [
        await shop.fetch(f"SELECT * FROM {table}") for table in ('"shop:2"', '"shop:3"', "shop_refund", "shop_scan")
    ]
    assert after == before

    await shop.run("DELETE FROM shop_refund")
    assert (await archived(database)).count == 1


async def test_a_limit_counts_what_was_moved_and_what_stays_is_passed_by(database: Database, shop: Shop) -> None:
    ids = await over(shop, "KEPT", "A", "B", "C")
    await shop.run("CREATE TABLE shop_refund (return_order_id bigint REFERENCES return_order)")
    await shop.run(f"INSERT INTO shop_refund VALUES ({ids['KEPT']})")
    batch = await archived(database, most=2)
    assert (batch.count, batch.last, batch.finished, len(batch.referred)) == (2, ids["B"], False, 1)
    batch = await archive_batch(database, now(seconds=1), None, batch.last, 2)
    assert (batch.count, batch.finished, batch.referred) == (1, True, ())


async def test_what_the_database_does_not_let_go_stays_whole_and_costs_the_others_nothing(
    database: Database, shop: Shop
) -> None:
    await over(shop, *(f"R-{number}" for number in range(9)))
    await refuse(shop, "DELETE", "R-1")
    await refuse(shop, "DELETE", "R-4", silently=True)
    await refuse(shop, "INSERT", "R-7", table="archived_return", silently=True)
    stay = {"R-1", "R-4", "R-7"}
    if not shop.sqlite:  # asked at the commit
        await shop.run(
            f"CREATE FUNCTION shop_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{SAYS}'; END $$"
        )
        await shop.run(
            "CREATE CONSTRAINT TRIGGER shop_late AFTER DELETE ON return_order DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW WHEN (OLD.reference = 'R-8') EXECUTE FUNCTION shop_late()"
        )
        stay.add("R-8")
    batch = await archived(database)
    assert batch.count == 9 - len(stay)
    assert await where(shop) == (stay, {f"R-{number}" for number in range(9)} - stay)
    refused = dict(batch.refused)
    assert refused.keys() == stay
    assert refused["R-1"] == SAYS
    assert refused["R-4"] == refused["R-7"] == "a trigger or a rule of the database leaves it as it is"


@on_postgresql
async def test_what_somebody_begins_to_refer_to_meanwhile_stays(database: Database, shop: Shop, url: str) -> None:
    await over(shop, "R-1")
    await shop.run(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " SELECT id, 1, 'file:///x', 'application/pdf', 1, 'ab' FROM return_order"
    )
    await shop.run("CREATE TABLE shop_scan (label_id bigint REFERENCES label ON DELETE CASCADE)")
    async with Shop.at(url) as other, other.connection.transaction():
        await other.run("INSERT INTO shop_scan SELECT id FROM label")
        archiving = asyncio.create_task(archived(database))
        await shop.see_waiting()
    assert (await archiving).count == 0
    assert await shop.value("SELECT count(*) FROM shop_scan") == 1


async def test_accounts_rename_leaves_and_names_what_the_database_refuses_and_renames_the_others(
    database: Database, shop: Shop
) -> None:
    for number in range(9):
        await insert(shop, f"R-{number}")
    ids = await over(shop, "REFERRED")
    await shop.run(
        "CREATE TABLE shop_refund (account text, number text,"
        " FOREIGN KEY (account, number) REFERENCES return_order (account, reference))"
    )
    await shop.run(f"INSERT INTO shop_refund SELECT account, reference FROM return_order WHERE id = {ids['REFERRED']}")
    await refuse(shop, "UPDATE OF account", "R-1")
    await refuse(shop, "UPDATE OF account", "R-4", silently=True)
    with pytest.raises(RowsLeft) as error:
        await rename_returns(database, "default", "new", "renamed")
    assert error.value.done == 7
    refused = dict(error.value.refused)
    assert refused.keys() == {"R-1", "R-4", "REFERRED"}
    assert (refused["R-1"], "oreign key" in refused["REFERRED"] or "FOREIGN KEY" in refused["REFERRED"]) == (SAYS, True)
    told = await shop.fetch(
        "SELECT o.reference FROM status_transition t JOIN return_order o ON o.id = t.return_order_id ORDER BY o.id"
    )
    assert [row["reference"] for row in told] == [f"R-{number}" for number in (0, 2, 3, 5, 6, 7, 8)]


async def test_a_persons_decision_is_refused_for_the_row_that_the_database_does_not_let_change(
    database: Database, shop: Shop
) -> None:
    ids = [await insert(shop, f"R-{number}", state="rejected", due=None) for number in range(5)]
    await refuse(shop, "UPDATE OF state", "R-1")
    await refuse(shop, "UPDATE OF lease_owner", "R-3")
    policy = Policy(settles_after=timedelta(minutes=5))
    desk = Desk(database, Person("anna"), lambda _: policy, "command:1", patience=0)
    done = await desk.settle(ids, retry)
    reasons = {each.order.reference: getattr(each.outcome, "reason", None) for each in done}
    said = f"the database does not let it be changed: {SAYS}"
    assert reasons == {"R-0": None, "R-1": said, "R-2": None, "R-3": said, "R-4": None}
    assert await shop.value("SELECT count(*) FROM return_order WHERE lease_owner IS NOT NULL") == 0


@pytest.mark.parametrize("silently", [False, True])
async def test_add_says_which_return_the_database_refuses_and_loses_none_in_silence(
    database: Database, shop: Shop, silently: bool
) -> None:
    await refuse(shop, "INSERT", "R-2", silently=silently)
    returns = [NewReturn("default", reference, {}) for reference in ("R-1", "R-2")]
    why = "a trigger or a rule of the database leaves it as it is" if silently else SAYS
    with pytest.raises(InsertRefused, match=f"^R-2: {why}$"):
        await insert_returns(database, returns, skip_existing=True)
    assert await shop.value("SELECT count(*) FROM return_order") == 0


async def test_a_rule_against_the_lease_ends_no_worker_and_a_person_is_told(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    await refuse(shop, "UPDATE OF lease_owner", "R-1")
    with pytest.raises(DatabaseRefused, match=f"^a rule that was added lets no return be taken: {SAYS}$"):
        await take(database)
