"""Nobody else's function, operator or table is taken for ours or PostgreSQL's own, wherever our tables are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from tests.pgbouncer import PgBouncer
from tests.store.conftest import Open
from tests.store.rows import CALL, created, insert, now, take
from tests.store.shop import Shop
from worker.store.accounts import read_agendas, register_accounts
from worker.store.claims import start_creation
from worker.store.database import Database
from worker.store.failures import DatabaseRefused
from worker.store.fitness import open_to_all
from worker.store.hints import watch
from worker.store.records import record
from worker.store.restores import settle_place
from worker.store.schema import SchemaMismatch, SchemaState, migrate, require_current, schema_state
from worker.store.upkeep.archive import archive_batch, find_archived
from worker.store.upkeep.history import find_orders

ROLES = ("returns_test_shop", "returns_test_worker")

# What the shop's role makes fits calls of ours better than PostgreSQL's own: the driver sends texts as varchar, a
# catalog's names are of the type name, and the place is made of numbers. Each tells who ran it.
TRAPS = """
CREATE TABLE public.caught (who text, what text);
GRANT INSERT ON public.caught TO PUBLIC;
CREATE FUNCTION public.told(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.caught VALUES (current_user, what); RETURN true; END $$;
CREATE FUNCTION public.same(one text, other varchar) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN PERFORM public.told('='); RETURN one OPERATOR(pg_catalog.=) other::text; END $$;
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = varchar, FUNCTION = public.same);
CREATE FUNCTION public.quote_ident(one name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM public.told('quote_ident'); RETURN pg_catalog.quote_ident(one::text); END $$;
CREATE FUNCTION public.concat_ws(one text, two oid, three oid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM public.told('concat_ws'); RETURN pg_catalog.concat_ws(one, two, three); END $$;
CREATE FUNCTION public.concat_ws(one text, two bigint, three text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM public.told('concat_ws'); RETURN pg_catalog.concat_ws(one, two, three); END $$;
"""


@pytest.fixture
def kind() -> str:
    return "postgresql"


@pytest.fixture
def url(postgres_url: str) -> str:
    return postgres_url


def of(role: str, url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()


@pytest.fixture
async def trapped(url: str) -> AsyncIterator[Shop]:
    """An administrator, where the shop's role may create in public, as PostgreSQL 14 lets everybody, and has."""
    async with Shop.at(url) as admin:
        for role in ROLES:
            await admin.run(f"CREATE ROLE {role} LOGIN")
        await admin.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
        shop = await asyncpg.connect(of(ROLES[0], url))
        await shop.execute(TRAPS)
        await shop.close()
        yield admin
        for role in ROLES:
            await admin.run(f"DROP OWNED BY {role} CASCADE")
            await admin.run(f"DROP ROLE {role}")


async def let_in(admin: Shop, home: str) -> None:
    """The worker's role, as the administrator of any schema would let it in."""
    await admin.run(f"GRANT USAGE ON SCHEMA {home} TO {ROLES[1]}")
    await admin.run(f"GRANT ALL ON ALL TABLES IN SCHEMA {home} TO {ROLES[1]}")
    await admin.run(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {home} TO {ROLES[1]}")


async def work(database: Database) -> None:
    """Some of what a worker does all day."""
    await require_current(database)
    await settle_place(database)
    await register_accounts(database, ["default"])
    await read_agendas(database, ["default"], 10)
    (claimed,) = await take(database)
    assert await start_creation(database, claimed.order, CALL) is not None
    assert await record(database, [(claimed.order, created(claimed.order))])
    assert len(await find_orders(database, reference="R-1")) == 1


@pytest.mark.parametrize("pooler", [False, True])
@pytest.mark.parametrize("schema", [None, "returns"])
async def test_what_the_shop_made_in_public_is_run_neither_by_the_worker_nor_by_an_administrators_command(
    trapped: Shop, url: str, opened: Open, schema: str | None, pooler: bool
) -> None:
    """By name, or found by a search path that has the schema public, too."""
    await trapped.run("CREATE SCHEMA returns")
    for role in ("postgres", ROLES[1]):
        await trapped.run(f"ALTER ROLE {role} IN DATABASE {urlsplit(url).path[1:]} SET search_path = returns, public")
    admin = opened(url, schema=schema, pooler=pooler)
    await migrate(admin)
    await let_in(trapped, "returns")
    await trapped.run("INSERT INTO returns.return_order (reference, payload) VALUES ('R-1', '{}')")
    await work(opened(of(ROLES[1], url), schema=schema, pooler=pooler))
    await trapped.run("UPDATE returns.return_order SET state = 'completed', due_at = NULL")
    assert (await archive_batch(admin, now(seconds=1), None, 0, 10)).count == 1
    assert len(await find_archived(admin, "R-1", None)) == 1
    assert await trapped.fetch("SELECT * FROM public.caught") == []


async def test_our_functions_call_nobody_elses_even_where_everybody_may_create_beside_them(
    trapped: Shop, url: str, opened: Open
) -> None:
    await trapped.run("DROP OPERATOR = (text, varchar)")  # no statement of ours is safe there: `check` says so
    await migrate(opened(url))
    await let_in(trapped, "public")
    await trapped.run("DELETE FROM caught")
    shop = await asyncpg.connect(of(ROLES[1], url))
    await shop.execute("INSERT INTO return_order (reference, payload) VALUES ('R-1', '{}')")
    await shop.execute("UPDATE return_order SET cancel_requested_at = now(), payload = '{\"a\": 1}'")
    assert await shop.fetchval("SELECT returns_worker_place()")
    assert await shop.fetchval("SELECT waits_for FROM return_overview WHERE account = 'default'") == "worker_absent"
    await shop.close()
    assert await trapped.fetch("SELECT * FROM caught") == []


async def test_every_function_of_ours_looks_for_names_in_postgresql_alone(url: str, opened: Open) -> None:
    await migrate(opened(url))
    async with Shop.at(url) as admin:
        functions = await admin.fetch(
            "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        )
    assert len(functions) >= 7
    assert {row["proname"] for row in functions if row["proconfig"] != ["search_path=pg_catalog, pg_temp"]} == set()


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_a_shop_whose_search_path_does_not_name_our_schema_writes_to_it(
    url: str, opened: Open, isolation: str
) -> None:
    await migrate(opened(url, schema="returns"))
    shop = await asyncpg.connect(url, server_settings={"search_path": "public"})
    async with shop.transaction(isolation=isolation.replace(" ", "_")):
        await shop.execute("INSERT INTO returns.return_order (reference, payload) VALUES ('R-1', '{}')")
        await shop.execute("UPDATE returns.return_order SET payload = '{\"a\": 1}', cancel_requested_at = now()")
    assert await shop.fetchval("SELECT returns.returns_worker_place()")
    await shop.close()


async def searched(database: Database) -> str:
    path = text("SELECT current_setting('search_path')")
    return str(await database.reading(lambda connection: connection.execute(path).scalar_one()))


@pytest.mark.parametrize("pooler", [False, True])
async def test_without_a_setting_the_tables_are_where_the_role_finds_them(url: str, opened: Open, pooler: bool) -> None:
    async with Shop.at(url) as admin:
        for schema in ("ahead", "kept"):
            await admin.run(f"CREATE SCHEMA {schema}")
        await admin.run("SET search_path = kept")
        await migrate(opened(f"{url}?options=-csearch_path%3Dkept", pooler=pooler))
        wider = opened(f"{url}?options=-csearch_path%3Dahead,kept,public", pooler=pooler)
        await require_current(wider)
        assert await searched(wider) == "kept, pg_temp"
        assert await insert(admin, "R-1")
        assert len(await take(wider)) == 1
        nowhere = opened(f"{url}?options=-csearch_path%3Dabsent", pooler=pooler)
        assert await schema_state(nowhere) is SchemaState.MISSING
        with pytest.raises(SchemaMismatch, match="no schema of this role's search path is there: make one, or"):
            await migrate(nowhere)


@pytest.mark.parametrize("name", ["returns", "Returns-1", "Rück gabe", "user"])
async def test_a_schema_of_any_name_is_made_and_used_by_all(url: str, opened: Open, name: str) -> None:
    database = opened(url, schema=name)
    assert await schema_state(database) is SchemaState.MISSING
    await migrate(database)
    async with Shop.at(url) as shop:
        await shop.run(f'SET search_path = "{name}"')
        await insert(shop, "R-1")
        await work(database)
        heard = asyncio.Event()
        listening = asyncio.create_task(watch(database, heard.set, lambda: 0, lambda *_: None))
        await asyncio.wait_for(heard.wait(), 10)
        heard.clear()
        await insert(shop, "R-2")
        await asyncio.wait_for(heard.wait(), 10)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await shop.run("SET search_path = public")
        assert await shop.value("SELECT to_regclass('return_order') IS NULL")


async def test_a_schema_behind_a_pooler_holds_for_each_transaction_whatever_others_leave_behind(
    pgbouncer: PgBouncer, opened: Open, url: str
) -> None:
    await migrate(opened(pgbouncer.url, schema="Returns-1", pooler=True))
    database = opened(pgbouncer.url, schema="Returns-1", pooler=True)
    other = await asyncpg.connect(pgbouncer.url, statement_cache_size=0)
    await other.execute("SET search_path = public")  # which the server connection keeps
    async with Shop.at(url) as shop:
        await shop.run('SET search_path = "Returns-1"')
        await insert(shop, "R-1")
        await work(database)
        paths = await asyncio.gather(*(searched(database) for _ in range(20)))
        assert set(paths) == {'"Returns-1", pg_temp'}
    await other.close()


async def test_a_schema_that_cannot_be_made_or_used_is_said_with_what_an_administrator_does(
    url: str, opened: Open
) -> None:
    async with Shop.at(url) as admin:
        await admin.run(f"CREATE ROLE {ROLES[1]} LOGIN")
        try:
            database = opened(of(ROLES[1], url), schema="Returns-1")
            with pytest.raises(SchemaMismatch, match=f'CREATE SCHEMA "Returns-1" AUTHORIZATION {ROLES[1]}$'):
                await migrate(database)
            await admin.run('CREATE SCHEMA "Returns-1"')
            with pytest.raises(SchemaMismatch, match=f'USAGE, CREATE ON SCHEMA "Returns-1" TO {ROLES[1]}$'):
                await migrate(database)
            await admin.run(f'ALTER SCHEMA "Returns-1" OWNER TO {ROLES[1]}')
            await migrate(database)
            await require_current(database)
        finally:
            await admin.run(f"DROP OWNED BY {ROLES[1]} CASCADE")
            await admin.run(f"DROP ROLE {ROLES[1]}")


async def test_a_schema_that_a_role_cannot_see_into_is_not_taken_for_one_without_tables(url: str, opened: Open) -> None:
    await migrate(opened(url, schema="Returns-1"))
    async with Shop.at(url) as admin:
        await admin.run(f"CREATE ROLE {ROLES[1]} LOGIN")
        try:
            database = opened(of(ROLES[1], url), schema="Returns-1")
            with pytest.raises(DatabaseRefused, match=f'GRANT USAGE ON SCHEMA "Returns-1" TO {ROLES[1]}.*roles.sql$'):
                await require_current(database)
            await admin.run(f'GRANT USAGE ON SCHEMA "Returns-1" TO {ROLES[1]}')
            with pytest.raises(DatabaseRefused, match="permission denied for table returns_worker_schema"):
                await require_current(database)
        finally:
            await admin.run(f"DROP OWNED BY {ROLES[1]} CASCADE")
            await admin.run(f"DROP ROLE {ROLES[1]}")


async def test_only_a_schema_that_everybody_may_create_in_is_warned_of(url: str, opened: Open) -> None:
    database = opened(url)
    await migrate(database)
    assert await open_to_all(database) is None
    async with Shop.at(url) as admin:
        await admin.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
        assert await open_to_all(database) == "public"
        mine = opened(url, schema="Returns-1")
        await migrate(mine)
        assert await open_to_all(mine) is None
        await admin.run('GRANT ALL ON SCHEMA "Returns-1" TO PUBLIC')
        assert await open_to_all(mine) == '"Returns-1"'
