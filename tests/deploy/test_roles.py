"""deploy/sql/roles.sql gives each role what it needs and no more, as PostgreSQL itself says."""

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.deploy import roles
from tests.deploy.roles import ROLES, applied, dropped, migrated, of
from tests.deploy.scripts import FOLDER, script
from tests.postgres import PostgresServer
from tests.process.shop import Shop
from worker.store.database import Database
from worker.store.erasure import erase, files_removed
from worker.store.failures import DatabaseRefused
from worker.store.schema import require_current
from worker.store.tables import SQLModel
from worker.store.upkeep.archive import archive_batch

url = roles.url
ITS_OWN = {
    *("carrier_account", "worker_presence"),
    *("news_subscriber", "return_event", "webhook_event", "webhook_missed"),
}
ALL_TABLES = [*(table.name for table in SQLModel.metadata.sorted_tables), "returns_worker_schema"]
OF_THE_SHOP = {"payload", "cancel_requested_at", "retry_requested_at"}
AT_INSERT = {"account", "reference", "payload", "due_at", "adopt_carrier_ref"}

Refused = asyncpg.InsufficientPrivilegeError
Call = Callable[[str, str], Any]
Does = Callable[..., Awaitable[None]]


async def refused(url: str, statements: list[str]) -> None:
    """Each of them is refused for want of a right, and for nothing else."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            with pytest.raises(Refused):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_behind_somebody_s_long_read_the_file_gives_up_soon_and_changes_nothing(url: str) -> None:
    reader = await asyncpg.connect(url)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM return_order")
        sql = script("roles.sql")
        assert "SET LOCAL lock_timeout = '2s';" in sql
        await Shop(url).execute("REVOKE SELECT ON label FROM returns_shop")
        connection = await asyncpg.connect(url)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.execute(sql.replace("'2s'", "'100ms'"))
        await connection.close()
        await refused(of("returns_shop", url), ["SELECT * FROM label"])
    await reader.close()
    await applied(url)
    assert await Shop(of("returns_shop", url)).execute("SELECT * FROM label") == []


async def test_the_shop_can_do_what_the_readme_shows(url: str) -> None:
    shop = Shop(of("returns_shop", url))
    connection = await asyncpg.connect(of("returns_worker", url))
    heard = asyncio.Event()
    await connection.add_listener("returns_worker", lambda *_: heard.set())
    await shop.insert("RMA-1001")
    await asyncio.wait_for(heard.wait(), 10)
    await connection.close()
    await shop.execute('UPDATE return_order SET payload = payload || \'{"description": "x"}\'')
    await shop.execute("UPDATE return_order SET retry_requested_at = now()")
    await shop.execute("UPDATE return_order SET cancel_requested_at = now()")
    assert (await shop.order("RMA-1001"))["shop_changes"] == 3
    waits = "SELECT reference, waits_for FROM return_overview"
    assert await shop.execute(waits) == [{"reference": "RMA-1001", "waits_for": "worker_absent"}]
    for table in ("status_transition", "package", "label"):
        assert await shop.execute(f"SELECT * FROM {table}") == []


async def test_the_shop_cannot_write_a_single_column_of_the_workers_nor_see_or_touch_what_is_not_its_own(
    url: str,
) -> None:
    await Shop(of("returns_shop", url)).insert("RMA-1001")
    writes = []
    for table in SQLModel.metadata.sorted_tables:
        for column in table.columns:
            own = column.name if table.name == "return_order" else None
            if own not in OF_THE_SHOP:
                writes.append(f"UPDATE {table.name} SET {column.name} = NULL")
            if own not in AT_INSERT:
                writes.append(f"INSERT INTO {table.name} ({column.name}) VALUES (NULL)")
    assert len(writes) > 120
    await refused(of("returns_shop", url), writes)
    await refused(
        of("returns_shop", url),
        [
            f"{words} {table}"
            for table in ALL_TABLES
            for words in ("DELETE FROM", "TRUNCATE", "DROP TABLE")
            if (words, table) != ("DELETE FROM", "return_event")  # its news
        ],
    )
    assert await Shop(of("returns_shop", url)).execute("DELETE FROM return_event RETURNING id") == []
    await refused(
        of("returns_shop", url),
        [
            "SELECT * FROM webhook_event",
            "SELECT hold_message FROM news_subscriber",
            "SELECT refused_key FROM carrier_account",
            "SELECT place FROM database_place",
            "ALTER TABLE return_order DISABLE TRIGGER return_order_wake_on_insert",
            "ALTER TABLE return_order DISABLE TRIGGER return_order_payload_change",
            "ALTER TABLE return_order ADD COLUMN mine int",
        ],
    )


async def test_the_reader_reads_all_but_a_key_s_fingerprint_and_writes_nothing(url: str) -> None:
    reader, writes = Shop(of("returns_reader", url)), []
    for table in SQLModel.metadata.sorted_tables:
        names = ", ".join(column.name for column in table.columns if column.name != "refused_key")
        await reader.execute(f"SELECT {names} FROM {table.name}")
        for column in table.columns:
            writes.append(f"UPDATE {table.name} SET {column.name} = NULL")
            writes.append(f"INSERT INTO {table.name} ({column.name}) VALUES (NULL)")
        writes.append(f"DELETE FROM {table.name}")
    await refused(of("returns_reader", url), [*writes, "SELECT refused_key FROM carrier_account"])


async def test_the_worker_changes_no_history_deletes_no_return_and_alters_nothing(url: str) -> None:
    await refused(
        of("returns_worker", url),
        [
            *(f"{words} {table}" for table in ALL_TABLES for words in ("TRUNCATE", "DROP TABLE")),
            *(f"DELETE FROM {table}" for table in ALL_TABLES if table not in ITS_OWN),
            *(f"ALTER TABLE {table} ADD COLUMN mine int" for table in ALL_TABLES),
            "UPDATE status_transition SET reason = NULL",
            "UPDATE return_order SET reference = 'x'",
            "UPDATE return_order SET payload = '{}'",
            "UPDATE database_place SET moved_to = 'x'",
            "UPDATE returns_worker_schema SET version_num = 'x'",
        ],
    )


async def test_the_workers_role_erases_what_is_over_by_its_mark_and_can_empty_nothing_else(url: str) -> None:
    owner = Shop(of("returns_owner", url))
    payload = '{"customer": {"name": "Mina"}}'
    await owner.execute(
        "INSERT INTO return_order (reference, payload, state, next_step, carrier_ref, due_at)"
        f" SELECT 'R-' || n, '{payload}', 'completed', 'track', 'N-' || n, NULL FROM generate_series(1, 2) AS n"
    )
    await owner.execute(
        "INSERT INTO status_transition (return_order_id, field, new_value, reason, raw)"
        " SELECT id, 'state', 'completed', 'for Mina', '{\"to\": \"Mina\"}' FROM return_order"
    )
    await owner.execute(
        "INSERT INTO archived_return (id, account, reference, ended_at, document)"
        f" VALUES (99, 'default', 'R-0', now(), '{{\"order\": {{\"id\": 99, \"payload\": {payload}}}}}')"
    )
    database = Database(of("returns_worker", url))
    assert await erase(database, [1, 99], "over") == {1, 99}
    await files_removed(database, [1, 99])
    await database.close()
    left = await owner.execute(
        "SELECT r.payload, t.reason, t.raw FROM return_order r JOIN status_transition t"
        " ON t.return_order_id = r.id WHERE r.reference = 'R-1' ORDER BY t.id"
    )
    assert [(row["payload"], row["reason"], row["raw"]) for row in left] == [("{}", None, None), ("{}", "over", None)]
    (archived,) = await owner.execute("SELECT document FROM archived_return")
    assert "Mina" not in archived["document"]
    await refused(
        of("returns_worker", url),
        ["UPDATE status_transition SET raw = NULL, reason = NULL", "UPDATE archived_return SET document = '{}'"],
    )
    await refused(of("returns_shop", url), ["UPDATE return_order SET erased_at = now()"])


async def test_only_the_owner_archives_and_what_was_archived_is_refused_to_the_shop(url: str) -> None:
    shop = Shop(of("returns_shop", url))
    await shop.insert("R-1")
    await Shop(of("returns_owner", url)).execute("UPDATE return_order SET state = 'cancelled', due_at = NULL")
    later = datetime.now(UTC) + timedelta(minutes=1)
    for role in ("returns_worker", "returns_owner"):
        database = Database(of(role, url))
        try:
            if role == "returns_worker":
                with pytest.raises(DatabaseRefused):
                    await archive_batch(database, later, None, 0, 10)
            else:
                assert (await archive_batch(database, later, None, 0, 10)).count == 1
        finally:
            await database.close()
    with pytest.raises(asyncpg.UniqueViolationError):
        await shop.insert("R-1")
    await shop.insert("R-2")
    for role in ("returns_shop", "returns_reader", "returns_worker"):
        assert await Shop(of(role, url)).execute("SELECT reference FROM archived_return") == [{"reference": "R-1"}]


async def test_a_table_of_the_shops_that_the_owner_cannot_see_keeps_every_return_from_being_archived(url: str) -> None:
    admin, later = Shop(url), datetime.now(UTC) + timedelta(minutes=1)
    await admin.execute(
        "INSERT INTO return_order (reference, payload, state, due_at) VALUES ('R', '{}', 'cancelled', NULL)"
    )
    await admin.execute("CREATE TABLE shop_refund (return_id bigint REFERENCES return_order ON DELETE CASCADE)")
    await admin.execute("INSERT INTO shop_refund SELECT id FROM return_order")
    database = Database(of("returns_owner", url))
    try:
        with pytest.raises(DatabaseRefused, match=r"cannot see them: GRANT SELECT ON shop_refund TO returns_owner$"):
            await archive_batch(database, later, None, 0, 10)
        await admin.execute("GRANT SELECT ON shop_refund TO returns_owner")
        assert [reference for reference, _ in (await archive_batch(database, later, None, 0, 10)).referred] == ["R"]
        await admin.execute("ALTER TABLE shop_refund ENABLE ROW LEVEL SECURITY")  # no policy: no row is seen
        with pytest.raises(DatabaseRefused, match="row-level security policy for table"):
            await archive_batch(database, later, None, 0, 10)
    finally:
        await database.close()
    assert await admin.execute("SELECT 1 FROM return_order JOIN shop_refund ON id = return_id")


async def test_running_it_again_changes_nothing(url: str) -> None:
    rights = """SELECT relname, relacl::text, (SELECT array_agg(attname || attacl::text ORDER BY attname)
       FROM pg_attribute a WHERE a.attrelid = c.oid AND attacl IS NOT NULL)::text AS columns, relowner::regrole::text
       FROM pg_class c WHERE relnamespace = 'public'::regnamespace ORDER BY relname"""
    before = await Shop(url).execute(rights)
    await applied(url)
    assert await Shop(url).execute(rights) == before


async def test_after_a_later_migration_the_file_is_run_once_more_and_covers_a_new_column(url: str) -> None:
    await Shop(of("returns_owner", url)).execute("ALTER TABLE return_order ADD COLUMN later text")
    worker = Shop(of("returns_worker", url))
    with pytest.raises(Refused):
        await worker.execute("UPDATE return_order SET later = 'x'")
    await applied(url)
    await worker.execute("UPDATE return_order SET later = 'x'")
    with pytest.raises(Refused):
        await Shop(of("returns_shop", url)).execute("UPDATE return_order SET later = 'x'")


async def test_an_installation_of_another_role_in_a_schema_of_its_own_is_taken_over_without_a_superuser(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    admin = Shop(postgres_url)
    await admin.execute("CREATE ROLE returns_test_before LOGIN CREATEROLE")
    try:
        await admin.execute("CREATE SCHEMA kept AUTHORIZATION returns_test_before")
        await admin.execute("ALTER ROLE returns_test_before SET search_path = kept")
        await admin.execute(
            f"GRANT ALL ON DATABASE {urlsplit(postgres_url).path[1:]} TO returns_test_before WITH GRANT OPTION"
        )
        await migrated(of("returns_test_before", postgres_url))
        await Shop(of("returns_test_before", postgres_url)).insert("R-1")
        await applied(of("returns_test_before", postgres_url))
        owners = await admin.execute(
            "SELECT DISTINCT relowner::regrole::text AS owner FROM pg_class"
            " WHERE relnamespace = 'kept'::regnamespace AND relkind IN ('r', 'S')"
        )
        assert owners == [{"owner": "returns_owner"}]
        shop = await asyncpg.connect(of("returns_shop", postgres_url), server_settings={"search_path": "kept"})
        assert await shop.fetchval("SELECT reference FROM return_order") == "R-1"
        await shop.close()
    finally:
        await dropped(postgres_url, *ROLES, "returns_test_before")


@pytest.mark.skipif(shutil.which("psql") is None, reason="needs the psql shell (Debian: postgresql-client)")
async def test_psql_runs_it_as_its_first_lines_say(url: str) -> None:
    await migrated(url, "Returns-1")
    for options in ([], ["--set", "schema=Returns-1"]):
        ran = await asyncio.to_thread(
            subprocess.run,
            ["psql", "--set", "ON_ERROR_STOP=1", *options, "--file", str(FOLDER / "roles.sql"), url],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "COMMIT"), ran.stderr
    worker = Database(of("returns_worker", url), schema="Returns-1")
    await require_current(worker)
    await worker.close()


# Better than PostgreSQL's own fits what the file would call: it would make whoever wrote it a superuser.
TRAP = """
CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN ALTER ROLE returns_test_shop SUPERUSER; RETURN true; END $$;
CREATE FUNCTION public.same(oid, regclass) RETURNS boolean LANGUAGE sql
AS 'SELECT public.trap() AND $1 OPERATOR(pg_catalog.=) $2';
CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.same);
CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE sql
AS 'SELECT CASE WHEN public.trap() THEN pg_catalog.quote_ident($1::text) END';
"""


async def test_nobody_becomes_superuser_by_what_an_administrator_runs_and_afterwards_nobody_may_create_there(
    url: str,
) -> None:
    admin = Shop(url)
    await admin.execute("CREATE ROLE returns_test_shop LOGIN")
    try:
        await admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        shop = await asyncpg.connect(of("returns_test_shop", url))
        await shop.execute(TRAP)
        await applied(url)
        assert await admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'returns_test_shop'") == [
            {"rolsuper": False}
        ]
        with pytest.raises(Refused):
            await shop.execute("CREATE TABLE public.mine (id int)")
        await shop.close()
    finally:
        await dropped(url, "returns_test_shop")


async def test_a_table_that_workers_of_before_read_belongs_to_the_owner_and_a_shops_own_stays_the_shops(
    url: str,
) -> None:
    admin = Shop(url)
    await admin.execute("CREATE TABLE alembic_version AS SELECT * FROM returns_worker_schema")
    whose = "SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'alembic_version'"
    (before,) = await admin.execute(whose)
    await applied(url)
    assert await admin.execute(whose) == [before]
    await admin.execute("UPDATE database_place SET version_taken_over_at = now()")
    await applied(url)
    assert await admin.execute(whose) == [{"owner": "returns_owner"}]
    assert await Shop(of("returns_worker", url)).execute("SELECT 1 FROM alembic_version")
    await admin.execute("DROP TABLE alembic_version")
    await applied(url)
