"""Rows that PostgreSQL hides from our role are told from rows that are not there."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.databases import on_postgresql
from tests.store.conftest import Open
from tests.store.rows import insert
from tests.store.shop import Shop
from worker.store.database import Database
from worker.store.fitness import hidden_rows

ROLE, OTHER = "returns_hidden_from", "returns_hidden_other"
POLICIES: dict[str, list[str]] = {
    "nobody_said_anything": [],
    "all_for_everybody": ["USING (true)"],
    "all_for_the_role": [f"TO {ROLE} USING (true)"],
    "all_for_another_role": [f"TO {OTHER} USING (true)"],
    "some_of_them": ["USING (account = 'another')"],
    "all_of_them_and_some_of_them": ["USING (account = 'another')", "USING (true)"],
    "all_but_those_that_somebody_keeps_back": ["USING (true)", "AS RESTRICTIVE USING (account = 'another')"],
    "kept_back_from_another_role": ["USING (true)", f"AS RESTRICTIVE TO {OTHER} USING (false)"],
    "only_to_be_read": ["FOR SELECT USING (true)"],
    "to_be_read_and_changed": ["FOR SELECT USING (true)", "FOR UPDATE USING (true)"],
    "only_to_be_inserted": ["FOR INSERT WITH CHECK (true)"],
}


@pytest.fixture
async def as_role(url: str, own_database: None, opened: Open, shop: Shop) -> AsyncIterator[Database]:
    """The database as a role that may read and change returns, and owns nothing."""
    for role in (ROLE, OTHER):
        await shop.run(f"CREATE ROLE {role} LOGIN")
    await shop.run(f"GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO {ROLE}")
    database = opened(url.replace("://postgres@", f"://{ROLE}@"))
    yield database
    await database.close()
    await shop.run(f"DROP OWNED BY {ROLE}, {OTHER} CASCADE")
    await shop.run(f"DROP ROLE {ROLE}, {OTHER}")


@on_postgresql
async def test_what_is_said_to_be_hidden_is_what_the_role_does_not_get(
    as_role: Database, shop: Shop, url: str, database: Database
) -> None:
    await insert(shop, "R-1")
    assert await hidden_rows(as_role) == []
    await shop.run("ALTER TABLE return_order ENABLE ROW LEVEL SECURITY")
    role = await asyncpg.connect(url.replace("://postgres@", f"://{ROLE}@"))
    found, expected = {}, {}
    for name, policies in POLICIES.items():
        for number, policy in enumerate(policies):
            await shop.run(f"CREATE POLICY p{number} ON return_order {policy}")
        lines = await hidden_rows(as_role)
        found[name] = [action for action in ("SELECT", "UPDATE", "DELETE") if any(action in line for line in lines)]
        seen = await role.fetchval("SELECT count(*) FROM return_order")
        changed = (await role.execute("UPDATE return_order SET attempts = 0")) == "UPDATE 1"
        expected[name] = [action for action, got in (("SELECT", seen), ("UPDATE", changed)) if not got]
        for number in range(len(policies)):
            await shop.run(f"DROP POLICY p{number} ON return_order")
    await role.close()
    assert found == expected
    assert sum(bool(actions) for actions in found.values()) == 6
    (line,) = await hidden_rows(as_role)
    assert line.startswith(
        f"row level security may hide rows of return_order from role {ROLE} (SELECT, UPDATE): give it"
    )
    # Nor is anything hidden from the owner, unless it is forced on him, or from a role that is above it
    assert await hidden_rows(database) == []
    await shop.run(f"ALTER ROLE {ROLE} BYPASSRLS")
    assert await hidden_rows(as_role) == []
