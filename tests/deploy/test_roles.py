"""deploy/sql/roles.sql gives each role what it needs and no more, as PostgreSQL itself says."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere
from tests.postgres import PostgresServer
from tests.process.running import CONFIG, KEY, PAYLOAD, PILOT_PAYLOAD, TOKEN, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.cli.commands import Commands
from worker.labels.names import LabelName, aside_path
from worker.simulator import Simulator
from worker.store.archive import archive_batch
from worker.store.database import Database
from worker.store.failures import DatabaseRefused
from worker.store.schema import migrate
from worker.store.tables import SQLModel

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "sql" / "roles.sql"
ALL_TABLES = [*(table.name for table in SQLModel.metadata.sorted_tables), "alembic_version"]
OF_THE_SHOP = {"payload", "cancel_requested_at", "retry_requested_at"}
AT_INSERT = {"account", "reference", "payload", "due_at"}
ROLES = ("returns_owner", "returns_worker", "returns_shop", "returns_reader")

Refused = asyncpg.InsufficientPrivilegeError
Call = Callable[[str, str], Any]
Does = Callable[..., Awaitable[None]]


def of(role: str, url: str) -> str:
    """The database as that role; the tests' server asks for no password."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


async def applied(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILE.read_text(encoding="utf-8"))
    finally:
        await connection.close()


async def dropped(url: str, *roles: str) -> None:
    """Roles belong to the whole server: they must not outlive the test."""
    admin = Shop(url)
    there = [role for role in roles if await admin.execute("SELECT 1 FROM pg_roles WHERE rolname = ?1", role)]
    for role in there:
        await admin.execute(f"DROP OWNED BY {role} CASCADE")
    for role in there:
        await admin.execute(f"DROP ROLE {role}")


async def refused(url: str, statements: list[str]) -> None:
    """Each of them is refused for want of a right, and for nothing else."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            with pytest.raises(Refused):
                await connection.execute(statement)
    finally:
        await connection.close()


async def migrated(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


@pytest.fixture
async def url(postgres_server: PostgresServer, postgres_url: str) -> AsyncIterator[str]:
    """A database whose tables the superuser made, with the roles."""
    if await Shop(postgres_url).execute("SELECT 1 FROM pg_roles WHERE rolname = 'returns_owner'"):
        pytest.skip("this server has the roles already, for something else")
    await migrated(postgres_url)
    await applied(postgres_url)
    yield postgres_url
    await dropped(postgres_url, *ROLES)


async def test_behind_somebody_s_long_read_the_file_gives_up_soon_and_changes_nothing(url: str) -> None:
    reader = await asyncpg.connect(url)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM return_order")
        sql = FILE.read_text(encoding="utf-8")
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
        [f"{words} {table}" for table in ALL_TABLES for words in ("DELETE FROM", "TRUNCATE", "DROP TABLE")],
    )
    await refused(
        of("returns_shop", url),
        [
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
            *(f"DELETE FROM {table}" for table in ALL_TABLES if table != "carrier_account"),
            *(f"ALTER TABLE {table} ADD COLUMN mine int" for table in ALL_TABLES),
            "UPDATE status_transition SET reason = NULL",
            "UPDATE return_order SET reference = 'x'",
            "UPDATE return_order SET payload = '{}'",
            "UPDATE database_place SET moved_to = 'x'",
            "UPDATE alembic_version SET version_num = 'x'",
        ],
    )


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
    ran = await asyncio.to_thread(
        subprocess.run,
        ["psql", "--set", "ON_ERROR_STOP=1", "--file", str(FILE), url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "COMMIT"), ran.stderr


async def test_a_worker_does_all_its_work_under_its_role_and_so_does_every_command(url: str, tmp_path: Path) -> None:
    (tmp_path / "izipack.key").write_text(KEY)
    (tmp_path / "pilot.key").write_text(TOKEN)
    shop = Shop(of("returns_shop", url))
    async with Simulator(api_key=KEY, stage_seconds=0.3, token=TOKEN, rate_limit=0) as carrier:
        config = tmp_path / "worker.toml"
        text = CONFIG.format(database_url=of("returns_worker", url), carrier_url=carrier.url, folder=tmp_path)
        config.write_text(text.replace("auto_migrate = true", ""))

        async def does(*words: str, code: int = 0) -> None:
            done = await typed(config, *words)
            assert done[0] == code, (words, done)
            assert code or "permission denied" not in done[2], done

        await does("check")
        worker = await RunningWorker(config, tmp_path / "worker.log").ready()
        try:
            await _work(shop, worker, does, tmp_path)
        finally:
            worker.kill()
        assert not worker.saw("database_restored")
        assert "permission denied" not in worker.log_text
        config.write_text(config.read_text().replace(of("returns_worker", url), of("returns_reader", url)))
        for command in (["list"], ["show", "R-1"], ["accounts"], ["statuses"], ["check"], ["schedule"]):
            await does(*command)
        await does("add", str(tmp_path / "one.json"), code=78)
    assert {row["state"] for row in await shop.execute("SELECT state FROM return_order")} == {"completed", "cancelled"}


# By what docs/database.md calls them; {role} is who runs it, and each has a file of its own to add.
COMMANDS = {
    "run": "run --until-idle",
    "migrate": "migrate",
    "archive": "archive --older-than 0s",
    "archive --dry-run": "archive --older-than 0s --dry-run",
    "copy-to": "copy-to --dry-run {url}",
    "retry": "retry R-3",
    "resolve": "resolve R-4 --not-created",
    "cancel": "cancel R-2",
    "poll": "poll R-1",
    "label --refetch": "label R-1 --refetch -o -",
    "label --accept": "label R-5 --accept",
    "statuses --remap": "statuses --remap",
    "accounts hold": "accounts hold default",
    "accounts release": "accounts release default",
    "accounts rename": "accounts rename old default",
    "accounts retire": "accounts retire pilot",
    "restored": "restored",
    "add": "add {role}.json",
    "list": "list",
    "show": "show R-1",
    "label": "label R-1 -o -",
    "statuses": "statuses",
    "accounts": "accounts",
    "check": "check",
}
WITHOUT_A_ROLE = {"schedule", "health", "demo", "simulate", "backup", "config"}


def allowed() -> dict[str, set[str]]:
    """The table of docs/database.md: for each command the roles that may run it."""
    page = (ROOT / "docs" / "database.md").read_text(encoding="utf-8")
    head, table = re.search(r"^\| command \|(.*)\n\|.*\n((?:\|.*\n)+)", page, re.MULTILINE).groups()  # type: ignore[union-attr]
    roles = [f"returns_{name}" for name in re.findall(r"`returns_(\w+)`", head)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {
        command: {role for role, cell in zip(roles, cells, strict=True) if cell}
        for commands, *cells in rows
        for command in re.findall(r"`([^`]+)`", commands)
    }


def test_the_table_of_roles_has_every_command() -> None:
    assert allowed().keys() == COMMANDS.keys()
    assert {name.partition(" ")[0] for name in COMMANDS} | WITHOUT_A_ROLE == Commands.entries.keys()


@pytest.fixture
def calling(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command as a role."""
    monkeypatch.chdir(tmp_path)

    def call(role: str, command: str) -> Any:
        words = COMMANDS[command].format(role=role, url=of(role, url))
        place = f"sqlite:///{tmp_path}/file.db" if command == "copy-to" else of(role, url)
        (tmp_path / f"{role}.json").write_text(json.dumps({"reference": f"ADDED-{role}", "payload": {}}))
        accounts = ACCOUNTS.replace("[accounts.default]", '[accounts.default]\nbase_url = "http://127.0.0.1:1"', 1)
        configured(tmp_path, f'database.url = "{place}"\nhttp.listen = "127.0.0.1:0"\n{accounts}')
        return called(*words.split())

    return call


@pytest.fixture
def filled(url: str, tmp_path: Path, calling: Call) -> Call:
    """The same, in a database with something to do for each command but `copy-to`, which takes an empty one."""
    labels = tmp_path / "labels"
    aside = labels / aside_path(LabelName("default", "N-5", 1))
    for file in (labels / "R-1.pdf", aside):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"%PDF-1.4")
    elsewhere(_fill(url, (labels / "R-1.pdf").as_uri()))
    return calling


async def _fill(url: str, label: str) -> None:
    shop = Shop(url)
    columns = "(reference, payload, state, next_step, due_at, carrier_ref, tracking_status, carrier_status"
    for row in (
        "('R-1', '{}', 'completed', 'track', NULL, 'N-1', 'delivered', 'Delivered', NULL)",
        "('R-2', '{}', 'pending', 'create', now(), NULL, NULL, NULL, NULL)",
        "('R-3', '{}', 'rejected', 'create', NULL, NULL, NULL, NULL, NULL)",
        "('R-4', '{}', 'needs_attention', 'create', NULL, NULL, NULL, NULL, now() - interval '1 day')",
        "('R-5', '{}', 'tracking', 'track', now() + interval '1 hour', 'N-5', 'unknown', 'Delivered', NULL)",
    ):
        await shop.execute(f"INSERT INTO return_order {columns}, create_started_at) VALUES {row}")
    await shop.execute("UPDATE return_order SET error_code = 'create_outcome_unknown' WHERE reference = 'R-4'")
    await shop.execute("INSERT INTO return_order (account, reference, payload) VALUES ('old', 'R-6', '{}')")
    await shop.execute(
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        " SELECT id, 1, ?1, 'application/pdf', 8, 'x' FROM return_order WHERE reference = 'R-1'",
        label,
    )


def assert_may(done: Any, role: str, command: str) -> None:
    """What the command was about may be no more, or out of reach; but no right was wanting."""
    assert isinstance(done.exception, SystemExit | None), (role, command, done.exception)
    assert "permission denied" not in done.stderr, (role, command)
    assert done.exit_code in (0, 1), (role, command, done.stderr)


def assert_may_not(done: Any, role: str, command: str) -> None:
    *before, line = done.stderr.splitlines()
    assert before in ([], ["nothing was copied, and the SQLite file is in use as before"])
    assert line.startswith("error: the database refuses to be used: permission denied"), (role, command, line)
    assert done.exit_code == 78, (role, command)


def test_the_shop_s_role_adds_and_looks(filled: Call, url: str) -> None:
    for command in ("add", "list", "show", "label", "statuses", "accounts", "check"):
        assert "returns_shop" in allowed()[command]
        done = filled("returns_shop", command)
        assert_may(done, "returns_shop", command)
        assert done.exit_code == (1 if command == "check" else 0), done.stderr  # an account is not configured
    assert elsewhere(Shop(url).execute("SELECT 1 FROM return_order WHERE reference = 'ADDED-returns_shop'"))
    for command in ("cancel", "archive"):
        assert_may_not(filled("returns_shop", command), "returns_shop", command)


@pytest.mark.long
@pytest.mark.parametrize("role", ["returns_reader", "returns_shop", "returns_worker", "returns_owner"])
def test_each_role_runs_what_the_table_says_and_is_refused_everything_else_in_one_line(
    url: str, request: pytest.FixtureRequest, tmp_path: Path, role: str
) -> None:
    table = allowed()
    elsewhere(migrated(f"sqlite:///{tmp_path}/file.db"))
    call = request.getfixturevalue("calling")
    (assert_may if role in table["copy-to"] else assert_may_not)(call(role, "copy-to"), role, "copy-to")
    call = request.getfixturevalue("filled")
    for command in (name for name in COMMANDS if name not in ("copy-to", "run")):
        (assert_may if role in table[command] else assert_may_not)(call(role, command), role, command)
    code, _, said = elsewhere(typed(tmp_path / "returns-worker.toml", "run", "--until-idle"))
    assert (code == 0) is (role in table["run"]), said
    assert code in (0, 78), said


async def _work(shop: Shop, worker: RunningWorker, does: Does, folder: Path) -> None:
    async def comes_to(reference: str, state: str) -> None:
        await until(lambda: shop.is_in(reference, state), 15, lambda: worker.log_text)

    await shop.insert("R-1")
    await shop.insert("P-1", PILOT_PAYLOAD, account="pilot")
    await comes_to("R-1", "completed")
    await comes_to("P-1", "completed")
    assert await shop.execute("SELECT 1 FROM label")

    await does("accounts", "hold", "default", "--reason", "counting")
    await shop.insert("R-2")
    await does("cancel", "R-2")
    await does("accounts", "release", "default")
    await comes_to("R-2", "cancelled")

    await shop.insert("BAD", PAYLOAD | {"packages": []})
    await comes_to("BAD", "rejected")
    await shop.execute("UPDATE return_order SET payload = ?1::text::jsonb WHERE reference = 'BAD'", PAYLOAD)
    await does("retry", "BAD")
    await comes_to("BAD", "completed")
    (folder / "one.json").write_text('{"reference": "ADDED", "payload": {}}')
    await does("add", str(folder / "one.json"))
    await comes_to("ADDED", "rejected")
    await does("resolve", "ADDED", "--not-created", code=1)
    await does("cancel", "ADDED")
    for command in (
        ["poll", "R-1"],
        ["label", "R-1", "-o", str(folder / "label.pdf")],
        ["label", "R-1", "--refetch", "-o", str(folder / "again.pdf")],
        ["statuses", "--remap"],
        ["accounts", "retire", "pilot"],
        ["restored"],
        ["check"],
    ):
        await does(*command)
    await does("backup", str(folder / "x.db"), code=1)
    await comes_to("ADDED", "cancelled")
