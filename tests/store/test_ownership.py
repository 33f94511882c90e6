"""What a look-up is told of our own returns: the newest numbers recorded, and whose a number or a reference is."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.databases import elsewhere
from tests.postgres import PostgresServer
from tests.store.rows import created, insert, now, take
from tests.store.shop import Shop
from tests.store.test_backlog import plans_of
from worker.domain.lifecycle import Step
from worker.domain.lookup import Owner
from worker.store.database import Database
from worker.store.dialect import SQLITE
from worker.store.ownership import read_owners, read_recorded
from worker.store.records import record
from worker.store.schema import migrate


async def record_numbers(database: Database, shop: Shop, *references: str, account: str = "default") -> None:
    """Let a worker create these returns, one after the other; each number is NR- and the reference."""
    for reference in references:
        await insert(shop, reference, account)
        (claimed,) = await take(database, Step.CREATE, account=account)
        await record(database, [(claimed.order, created(claimed.order, f"NR-{reference}"))])


async def numbers(database: Database, *accounts: str, since: datetime | None = None) -> list[str]:
    found = await read_recorded(database, accounts or ("default",), since or now(hours=-1))
    return [each.number for each in found]


async def owners(database: Database, *, order_id: int = 0, **asked: Any) -> set[Owner]:
    asked = {"near": ["default"], "same_key": ["default"], "numbers": [], "references": []} | asked
    return set(await read_owners(database, order_id, **asked))


async def test_the_newest_numbers_are_those_of_the_asked_accounts_and_of_that_time(
    database: Database, shop: Shop
) -> None:
    await record_numbers(database, shop, "A", "B")
    await record_numbers(database, shop, "C", account="second")
    await record_numbers(database, shop, "D", account="elsewhere")
    await insert(shop, "waiting")
    assert await numbers(database) == ["NR-B", "NR-A"]
    assert await numbers(database, "default", "second") == ["NR-C", "NR-B", "NR-A"]
    assert await numbers(database, since=now(hours=1)) == []
    (newest, _) = await read_recorded(database, ["default"], now(hours=-1))
    assert abs(newest.started_at - now()) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "gone",
    [
        "cancel_requested_at = created_at",
        "state = 'cancelled', due_at = NULL",
        "error_code = 'carrier_lost_it'",
        "tracking_status = 'cancelled'",
        "create_started_at = NULL",
    ],
)
async def test_a_number_that_may_be_gone_at_the_carrier_is_no_evidence(
    database: Database, shop: Shop, gone: str
) -> None:
    await record_numbers(database, shop, "A", "B")
    await shop.run(f"UPDATE return_order SET {gone} WHERE reference = 'B'")
    assert await numbers(database) == ["NR-A"]


async def test_a_number_that_a_person_gave_is_no_evidence(database: Database, shop: Shop) -> None:
    order_id = await insert(
        shop, "A", state="tracking", next_step="track", carrier_ref="typed", tracking_status="pending"
    )
    await shop.run(f"UPDATE return_order SET create_started_at = {shop.moment(-5)}")
    await shop.run(
        "INSERT INTO status_transition (return_order_id, field, old_value, new_value)"
        f" VALUES ({order_id}, 'state', 'needs_attention', 'tracking')"
    )
    assert await numbers(database) == []


async def test_no_more_numbers_are_asked_for_than_prove_something(database: Database, shop: Shop) -> None:
    await record_numbers(database, shop, *(f"R-{number:02}" for number in range(25)))
    assert await numbers(database) == [f"NR-R-{number:02}" for number in range(24, 4, -1)]


async def test_a_number_is_its_returns_in_every_account_at_the_address_and_a_reference_where_the_key_is_shared(
    database: Database, shop: Shop
) -> None:
    await record_numbers(database, shop, "A")
    await record_numbers(database, shop, "B", account="second")
    lost = await insert(shop, "B")
    await insert(shop, "C", "far")
    asked: dict[str, Any] = {"near": ["default", "second"], "numbers": ["NR-A", "NR-B", "NR-C"]}
    assert await owners(database, **asked) == {
        Owner("default", "A", "NR-A"),
        Owner("second", "B", "NR-B", same_key=False),
    }
    assert await owners(database, numbers=["NR-B"]) == set()
    both = {"near": ["default", "second"], "same_key": ["default", "second"]}
    assert await owners(database, order_id=lost, references=["A", "B", "C"], **both) == {
        Owner("default", "A", "NR-A"),
        Owner("second", "B", "NR-B"),
    }
    assert await owners(database, references=["B"]) == {Owner("default", "B", None)}
    assert await owners(database) == set()


async def test_archived_returns_own_their_numbers_and_references_too(database: Database, shop: Shop) -> None:
    for reference in ("A", "B"):
        await shop.run(
            "INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, document)"
            f" VALUES ({1000 + ord(reference)}, 'default', '{reference}', 'NR-{reference}', {shop.moment(-9)}, '{{}}')"
        )
    found = await owners(database, numbers=["NR-A"], references=["B"])
    assert found == {Owner("default", "A", "NR-A"), Owner("default", "B", "NR-B")}


async def test_odd_references_are_found_as_they_are(database: Database, shop: Shop) -> None:
    odd = ['a"b', "it's", "back\\slash", "emoji 🙂", "a%b_c", "new\nline"]
    for reference in odd:
        await insert(shop, reference)
    assert {each.reference for each in await owners(database, references=odd)} == set(odd)


MANY, A_MILLION = 30_000, 1_000_000


async def _fill(url: str, many: int) -> None:
    """Many returns, and a history of them that is longer than what is looked through."""
    database = Database(url)
    await migrate(database)
    await database.close()
    async with Shop.at(url) as shop:
        rows = (
            f"(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {many}) SELECT n FROM s) AS s"
            if shop.sqlite
            else f"generate_series(1, {many}) AS s(n)"
        )
        await shop.run("BEGIN")
        await shop.run(
            "INSERT INTO return_order (reference, account, payload, state, next_step, carrier_ref, due_at,"
            f" create_started_at) SELECT 'R' || n, 'busy', '{{}}', 'tracking', 'track', 'NR' || n, {shop.moment(3600)},"
            f" {shop.moment(-60)} FROM {rows}"
        )
        await shop.run(
            "INSERT INTO status_transition (return_order_id, field, old_value, new_value)"
            f" SELECT n, 'state', 'pending', 'tracking' FROM {rows}"
        )
        await shop.run(
            "INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, document)"
            f" SELECT n + {many}, 'busy', 'A' || n, 'NA' || n, {shop.moment(-60)}, '{{}}' FROM {rows}"
        )
        await shop.run("COMMIT")
        if not shop.sqlite:
            await shop.run("ANALYZE")


@pytest.fixture(
    scope="module",
    params=[
        *(pytest.param((kind, MANY), id=kind) for kind in ("sqlite", "postgresql")),
        *(
            pytest.param((kind, A_MILLION), id=f"{kind}-a-million", marks=pytest.mark.long)
            for kind in ("sqlite", "postgresql")
        ),
    ],
)
def big_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with many returns, filled once."""
    kind, many = request.param
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('ownership') / 'returns.db'}"
        elsewhere(_fill(url, many))
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()
    elsewhere(_fill(url, many))
    yield url
    server.drop_database(url)


@pytest.fixture
async def big(big_url: str) -> AsyncIterator[Database]:
    database = Database(big_url)
    yield database
    await database.close()


async def test_neither_reads_more_than_it_must_however_many_returns_there_are(big: Database, big_url: str) -> None:
    asked = {"numbers": [f"NR{n}" for n in range(50)], "references": [f"R{n}" for n in range(50)]}
    accounts = ["busy", "second", "third"]
    assert len(await read_recorded(big, accounts, now(hours=-1))) == 20
    assert len(await read_owners(big, 0, near=accounts, same_key=accounts, **asked)) == 49
    plans = await plans_of(big, big_url, lambda: read_recorded(big, accounts, now(hours=-1)))
    plans += await plans_of(big, big_url, lambda: read_recorded(big, ["unknown"], now(hours=-1)))
    for plan in plans:
        reads_nothing_whole(big, plan)
    plans = await plans_of(big, big_url, lambda: read_owners(big, 0, near=accounts, same_key=accounts, **asked))
    assert plans
    for plan in plans:
        reads_nothing_whole(big, plan)
        assert "return_order_carrier_ref" in plan, plan
        assert "archived_return_carrier_ref" in plan, plan


def reads_nothing_whole(database: Database, plan: str) -> None:
    for line in plan.splitlines():
        assert "Seq Scan on" not in line, plan
        assert "Bitmap" not in line, plan
        if database.dialect == SQLITE:
            assert not line.startswith(("SCAN r", "SCAN return_order", "SCAN archived_return")), plan
