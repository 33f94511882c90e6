"""A large backlog: every hot statement finds its rows through an index, and nobody waits for somebody else's rows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from tests.databases import elsewhere
from tests.postgres import PostgresServer
from tests.store.rows import CALL, LEASE, OVER, created, polled
from tests.store.shop import Shop
from worker.domain.lifecycle import State, Step
from worker.store.accounts import read_agendas
from worker.store.claims import Lane, claim, claim_seen, claim_to_settle, due_refs, hand_back, start_creation
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.queries import read_backlog
from worker.store.records import record
from worker.store.schema import migrate
from worker.store.upkeep.choice import Choice, choose
from worker.store.upkeep.history import find_orders

QUIET = 3


@dataclass(frozen=True)
class Size:
    """How many rows are due, how many later, and how many are over."""

    due: int
    later: int
    over: int


SMALL, A_MILLION = Size(3_000, 1_000, 30_000), Size(100_000, 20_000, 880_000)


async def _fill(url: str, size: Size) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()
    async with Shop.at(url) as shop:
        many = (
            "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {0}) SELECT n FROM s) AS s"
            if shop.sqlite
            else "generate_series(1, {0}) AS s(n)"
        )
        columns = "reference, account, payload, state, next_step, carrier_ref, due_at"
        await shop.run("BEGIN")
        for prefix, account, count, values in (
            ("B", "busy", size.due, f"'pending', 'create', NULL, {shop.moment(-60)}"),
            ("F", "busy", size.later, f"'tracking', 'track', 'F' || n, {shop.moment(3600)}"),
            ("D", "busy", size.over, "'completed', 'track', 'D' || n, NULL"),
            ("Q", "quiet", QUIET, f"'pending', 'create', NULL, {shop.moment(-1)}"),
            ("T", "quiet", QUIET, f"'tracking', 'track', 'T' || n, {shop.moment(-1)}"),
        ):
            await shop.run(
                f"INSERT INTO return_order ({columns})"
                f" SELECT '{prefix}' || n, '{account}', '{{}}', {values} FROM {many.format(count)}"
            )
        await shop.run("COMMIT")
        if not shop.sqlite:
            await shop.run("ANALYZE")


def _of_a_million(kind: str) -> Any:
    return pytest.param((kind, A_MILLION), marks=pytest.mark.long, id=f"{kind}-a-million")


@pytest.fixture(
    scope="module",
    params=[
        *(pytest.param((kind, SMALL), id=kind) for kind in ("sqlite", "postgresql")),
        *map(_of_a_million, ("sqlite", "postgresql")),
    ],
)
def filled(request: pytest.FixtureRequest) -> tuple[str, Size]:
    """On which kind of database, and with how much in it."""
    kind, size = request.param
    return str(kind), size


@pytest.fixture(scope="module")
def big_url(
    filled: tuple[str, Size], request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database with a backlog, filled once: a test leaves its rows as they were or does not mind."""
    kind, size = filled
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('backlog') / 'returns.db'}"
        elsewhere(_fill(url, size))
        yield url
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()
    elsewhere(_fill(url, size))
    yield url
    server.drop_database(url)


@pytest.fixture
async def big(big_url: str) -> AsyncIterator[Database]:
    database = Database(big_url)
    yield database
    await database.close()


def lanes(quota: int) -> list[Lane]:
    return [
        Lane(account, step, quota) for account in ("busy", "quiet") for step in (Step.CANCEL, Step.CREATE, Step.TRACK)
    ]


async def test_a_backlog_of_one_account_does_not_starve_another(big: Database) -> None:
    taken = [row.order for row in await claim(big, lanes(5), "worker-1", LEASE)]
    got = [(order.account, order.next_step) for order in taken]
    assert {lane: got.count(lane) for lane in got} == {
        ("busy", Step.CREATE): 5,
        ("quiet", Step.CREATE): 3,
        ("quiet", Step.TRACK): 3,
    }
    agendas = await read_agendas(big, ["busy", "quiet"], 9)
    assert agendas["busy"].due == {Step.CANCEL: 0, Step.CREATE: 9, Step.LABEL: 0, Step.TRACK: 0}
    assert sum(agendas["quiet"].due.values()) == 0
    await hand_back(big, taken)


async def test_the_backlog_is_counted_in_full(big: Database, filled: tuple[str, Size]) -> None:
    _, size = filled
    found = {(row.account, row.state): (row.count, row.due) for row in await read_backlog(big)}
    assert found == {
        ("busy", "pending"): (size.due, size.due),
        ("busy", "tracking"): (size.later, 0),
        ("quiet", "pending"): (QUIET, QUIET),
        ("quiet", "tracking"): (QUIET, QUIET),
    }


async def test_claims_and_agendas_walk_the_index_of_due_rows(big: Database, big_url: str) -> None:
    for quota in (1, 10, 500):
        plans = await plans_of(big, big_url, lambda quota=quota: claim(big, lanes(quota), "worker-1", OVER))
        assert plans
        for plan in plans:
            assert "return_order_due" in plan
            assert "return_order_withdrawn" in plan
            _reads_no_table(plan)
            _sorts_nothing(plan)
    plans = await plans_of(big, big_url, lambda: read_agendas(big, ["busy", "quiet", "unknown"], 50))
    for plan in plans:
        assert plan.count("return_order_due") >= 2
        assert "return_order_withdrawn" in plan
        _reads_no_table(plan)
        _sorts_nothing(plan)


async def test_what_a_sweep_looks_for_is_found_in_the_index_of_due_rows(big: Database, big_url: str) -> None:
    plans = await plans_of(big, big_url, lambda: due_refs(big, "busy", 50))
    assert plans
    for plan in plans:
        assert "return_order_due" in plan, plan
        assert "Seq Scan on return_order" not in plan, plan


async def test_what_is_in_doubt_is_found_at_the_end_of_a_backlog_that_may_not_be_sent(
    big: Database, big_url: str
) -> None:
    plans = await plans_of(big, big_url, lambda: claim_to_settle(big, "busy", 4, "worker-1", OVER))
    careful = {"busy": False}
    plans += await plans_of(big, big_url, lambda: claim(big, lanes(1), "worker-1", OVER, careful=careful))
    assert len(plans) >= 2
    for plan in plans:
        for line in plan.splitlines():
            assert "Seq Scan on return_order" not in line and not line.startswith("SCAN return_order"), plan


async def test_what_is_over_is_not_looked_at_to_count_what_is_not(big: Database, big_url: str) -> None:
    plans = await plans_of(big, big_url, lambda: read_backlog(big))
    assert plans
    for plan in plans:
        assert plan.count("return_order_due") == 2, plan
        assert plan.count("return_order_needs_attention") == 1, plan
        assert "Seq Scan on return_order" not in plan, plan


async def test_the_returns_of_a_page_are_found_by_their_numbers(big: Database, big_url: str) -> None:
    refs = [f"F{number}" for number in range(1, 51)]
    plans = await plans_of(big, big_url, lambda: claim_seen(big, "busy", refs, datetime.now(UTC), "worker-1", OVER))
    assert plans
    for plan in plans:
        assert "return_order_carrier_ref" in plan, plan
        assert "Seq Scan on return_order" not in plan, plan
        assert "SCAN return_order" not in plan, plan


async def test_what_is_written_is_found_by_its_key(big: Database, big_url: str) -> None:
    taken = [row.order for row in await claim(big, lanes(3), "worker-1", LEASE)]
    new = [order for order in taken if order.next_step is Step.CREATE]
    old = [order._replace(lease_token=-1) for order in taken if order.next_step is Step.TRACK]
    plans = await plans_of(big, big_url, lambda: start_creation(big, new[0], CALL))
    plans += await plans_of(big, big_url, lambda: hand_back(big, taken))
    stale = [(order, created(order, f"X-{order.id}")) for order in new] + [(order, polled(order)) for order in old]
    plans += await plans_of(big, big_url, lambda: record(big, stale))
    assert len(plans) >= 3
    for plan in plans:
        _reads_no_table(plan)


async def test_a_reference_and_the_live_returns_are_found_without_reading_those_that_are_over(
    big: Database, big_url: str
) -> None:
    plans = await plans_of(big, big_url, lambda: find_orders(big, reference="F7"))
    for plan in plans:
        assert "return_order_reference_key" in plan or "sqlite_autoindex_return_order" in plan, plan
        _reads_no_table(plan)
    chosen = [[State.NEEDS_ATTENTION]]
    if big.dialect == SQLITE:  # PostgreSQL counts the cost: here so many are live that it may as well read all
        chosen += [[State.PENDING], [State.PENDING, State.TRACKING]]
    for states in chosen:
        plans += await plans_of(big, big_url, lambda states=states: find_orders(big, states=states))
        plans += await plans_of(big, big_url, lambda states=states: choose(big, Choice(states=states)))
    assert len(plans) >= 5
    for plan in plans:
        assert "return_order_pkey" not in plan, plan
        for line in plan.splitlines():
            assert "Seq Scan on return_order" not in line, plan
            assert not line.startswith("SCAN return_order") or " INDEX " in line, plan  # or COVERING INDEX


def _reads_no_table(plan: str) -> None:
    for line in plan.splitlines():
        assert "Seq Scan on return_order" not in line, plan
        assert "Bitmap" not in line, plan
        # SQLite says SCAN for a whole table or index, and SEARCH for a part of it; `lane` and `x` are our parameters.
        assert not line.startswith(("SCAN return_order", "SCAN o", "SCAN r")), plan


def _sorts_nothing(plan: str) -> None:
    assert "Sort" not in plan, plan
    assert "TEMP B-TREE" not in plan, plan


async def plans_of(database: Database, url: str, call: Callable[[], Awaitable[Any]]) -> list[str]:
    """The plans of every statement that `call` executes: on PostgreSQL both for these values and for any."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        statements.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        await call()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    statements = [(statement, values) for statement, values in statements if "return_order" in statement]
    async with Shop.at(url) as shop:
        if database.dialect == POSTGRESQL:
            return [
                plan for statement, values in statements for plan in await _plans(shop.connection, statement, values)
            ]
        return [
            "\n".join(row["detail"] for row in shop.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
            for statement, values in statements
        ]


async def _plans(connection: asyncpg.Connection, statement: str, values: Any) -> list[str]:
    literals = ", ".join(
        str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'" for value in values
    )
    await connection.execute(f"PREPARE hot AS {statement}")
    plans = []
    for mode in ("force_custom_plan", "force_generic_plan"):
        await connection.execute(f"SET plan_cache_mode = {mode}")
        rows = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE hot{f'({literals})' if values else ''}")
        plans.append("\n".join(row[0] for row in rows))
    await connection.execute("DEALLOCATE hot")
    return plans
