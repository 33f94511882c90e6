"""What every command that works needs: the settings it was pointed at, the database, and words for what goes wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import typer

from worker.cli.talk import Exit, fail, is_utf8, say, shown
from worker.domain.masking import forms_of_address, forms_of_key
from worker.dsn import secrets_of_url
from worker.labels import LabelStoreError, LabelStoreUnusable
from worker.runtime.loop import run_loop
from worker.settings import ConfigurationError, Settings, load
from worker.store.archive import Archived, find_archived
from worker.store.clock import ClockDiffers
from worker.store.database import Database
from worker.store.failures import DatabaseRefused, DatabaseReplaced, DatabaseUnavailable, refusal_of
from worker.store.migrating import SchemaLocked
from worker.store.moved import DatabaseMoved, retirement
from worker.store.queries import find_orders
from worker.store.schema import SchemaMismatch, require_current
from worker.store.sqlite_file import AlreadyRunning, absence
from worker.store.tables import ReturnOrderRow
from worker.telemetry.http import ListenError
from worker.telemetry.logs import Redactor, configure_logs


@contextmanager
def explained() -> Iterator[None]:
    """Turns what can go wrong with the surroundings into a clear line and the right exit code."""
    try:
        yield
    except ConfigurationError as error:
        fail(str(error), Exit.BAD_CONFIGURATION)
    except (SchemaMismatch, DatabaseMoved) as error:
        fail(f"error: {error}", Exit.BAD_CONFIGURATION)
    except DatabaseReplaced as error:
        fail(f"error: {error}; start it again: what may be missing in the new file is then looked up, or held")
    except AlreadyRunning as error:
        fail(f"error: {error}")
    except DatabaseRefused as error:
        fail(f"error: the database refuses to be used: {error}", Exit.BAD_CONFIGURATION)
    except SchemaLocked as error:
        fail(shown(f"error: {error}"), Exit.DATABASE_UNAVAILABLE)
    except DatabaseUnavailable as error:
        fail(f"error: the database cannot be reached: {error}", Exit.DATABASE_UNAVAILABLE)
    except LabelStoreUnusable as error:
        fail(f"error: labels.store: {error}", Exit.BAD_CONFIGURATION)
    except (ClockDiffers, ListenError, LabelStoreError) as error:
        fail(f"error: {error}")
    except Exception as error:
        why = refusal_of(error)
        if why is None:
            raise
        fail(shown(f"error: the database refuses it by a rule that was added to it: {why}"))


def settings_of(context: typer.Context, *, need_keys: bool = False, need_accounts: bool = False) -> Settings:
    """The settings in force; `--config` names the file."""
    file: Path | None = context.obj
    if not need_accounts and not need_keys:
        return load(file)
    from worker.configured import receiver_problems  # noqa: PLC0415 - whoever needs accounts imports the carriers anyway

    return load(file, need_accounts=need_accounts, need_keys=need_keys, receiver_problems=receiver_problems)


def logs_for(settings: Settings) -> Redactor:
    """Logs as configured, with a redactor that knows the secrets in the settings; keys from files join it when read."""
    redactor = Redactor()
    for account in settings.accounts.values():
        key = account.api_key.get_secret_value() if account.api_key is not None else ""
        redactor.add(*forms_of_key(key), *forms_of_address(account.proxy))
    redactor.add(*secrets_of_url(settings.database.url))
    configure_logs(settings.log.format, settings.log.level, redactor)
    return redactor


@asynccontextmanager
async def opened_database(settings: Settings, *, only_to_read: bool = False) -> AsyncIterator[Database]:
    """The database, with the schema this version works with; one that has moved elsewhere only to read it."""
    database = Database(
        settings.database.url, pool_size=1, pooler=settings.database.pooler, schema=settings.database.schema
    )
    try:
        missing = database.path and absence(database.path)
        if missing:
            raise SchemaMismatch(missing)
        await require_current(database)
        retired = await retirement(database)
        if retired is not None:
            if not only_to_read:
                raise DatabaseMoved(retired)
            say(f"note: {retired}; this is how it was then")
        yield database
    finally:
        await database.close()


async def the_order(database: Database, reference: str, account: str | None) -> ReturnOrderRow:
    """The return with this reference, not archived; in two accounts it takes `--account` to say which."""
    found = await the_return(database, reference, account)
    if isinstance(found, Archived):
        fail(shown(f"error: {reference!r} is archived, and nothing more is done about it; `show` has its history"))
    return found


async def the_return(database: Database, reference: str, account: str | None) -> ReturnOrderRow | Archived:
    """The same, or what the archive has of it."""
    if not is_utf8(reference + (account or "")):
        fail("error: the reference or the account is not UTF-8", Exit.USAGE)
    kept = await find_orders(database, reference=reference, account=account)
    archived = await find_archived(database, reference, account)
    found: dict[str, ReturnOrderRow | Archived] = {order.account: order for order in kept}
    found |= {each.account: each for each in archived}  # it may just have been moved
    if not found:
        where = f" in account {account}" if account else ""
        fail(f"error: there is no return with reference {reference!r}{where}")
    if len(found) > 1:
        names = ", ".join(sorted(found))
        fail(f"error: {reference!r} exists in several accounts ({names}): say which with --account", Exit.USAGE)
    return found.popitem()[1]


def run(call: Callable[[], Awaitable[None]]) -> None:
    """Run a command's coroutine to its end, with errors explained."""

    async def main() -> None:
        await call()

    with explained():
        run_loop(main())
