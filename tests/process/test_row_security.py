"""A worker that cannot see the returns says so: it does not take that for nothing to do."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.databases import on_postgresql
from tests.process.running import RunningWorker, typed, until
from tests.process.shop import Shop

ROLE = "returns_hidden_from_a_worker"


@pytest.fixture
async def database_url(own_database: None, migrated_url: str) -> AsyncIterator[str]:
    """The database as a role that has every right, and owns nothing."""
    shop = Shop(migrated_url)
    await shop.execute(f"CREATE ROLE {ROLE} LOGIN")
    await shop.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
    yield migrated_url.replace("://postgres@", f"://{ROLE}@")
    await shop.execute(f"DROP OWNED BY {ROLE} CASCADE")
    await shop.execute(f"DROP ROLE {ROLE}")


@on_postgresql
async def test_rows_that_row_level_security_hides_are_said_at_start_when_it_begins_later_and_by_check(
    migrated_url: str, start: Callable[..., RunningWorker], config: Path
) -> None:
    owner = Shop(migrated_url)
    await owner.execute("ALTER TABLE return_order ENABLE ROW LEVEL SECURITY")
    await owner.insert("R-1")
    # At start, and by check
    worker = await start().ready()
    said = worker.saw("rows_hidden")
    assert said is not None, worker.log_text
    assert said["level"] == "error"
    assert "hide rows of return_order" in said["problem"]
    code, _, errors = await typed(config, "check")
    assert code == 1
    assert f"error    database: {said['problem']}\n" in errors
    # A policy that lets the role through
    await owner.execute(f"CREATE POLICY returns ON return_order TO {ROLE} USING (true)")
    await until(lambda: owner.is_in("R-1", "tracking"), 10, lambda: worker.log_text)
    assert "row level security" not in (await typed(config, "check"))[2]
    # Later
    await owner.execute("ALTER TABLE package ENABLE ROW LEVEL SECURITY")
    await until(lambda: "hide rows of package" in worker.log_text, 10, lambda: worker.log_text)
    assert await worker.stopped() == 0
