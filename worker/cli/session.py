"""Opens what a command works with, which is settings, logs and database, and says what goes wrong with it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import typer

from worker.cli.output import Exit, fail, say, shown
from worker.domain.masking import forms_of_address, forms_of_key
from worker.dsn import secrets_of_url
from worker.labels import LabelStoreError, LabelStoreUnusable
from worker.runtime.loop import run_loop
from worker.settings import ConfigurationError, Settings, load
from worker.store.database import Database
from worker.store.database_clock import ClockDiffers
from worker.store.failures import DatabaseRefused, DatabaseReplaced, DatabaseUnavailable, refusal_of
from worker.store.migrating import SchemaLocked
from worker.store.restores import DatabaseMoved, retirement
from worker.store.schema import SchemaMismatch, require_current
from worker.store.sqlite_file import AlreadyRunning, absence
from worker.telemetry.http import ListenError
from worker.telemetry.logs import Redactor, configure_logs
from worker.telemetry.terminal import shown_lines
from worker.usecases.find import ReturnAmbiguous
from worker.usecases.not_done import NotConfigured, NotDone, WrongRequest

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """Settings, logs and database, for one use case."""

    context: typer.Context
    only_to_read: bool = False
    need_keys: bool = False

    def call(
        self, use_case: Callable[Concatenate[Settings, Database, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What it comes to; the command ends here where something cannot be opened, or it refuses."""

        async def opened_call() -> T:
            settings, _ = opened_settings(self.context, need_keys=self.need_keys)
            async with opened_database(settings, only_to_read=self.only_to_read) as database:
                return await use_case(settings, database, *args, **kwargs)

        return run(opened_call())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end, with errors explained."""
    with explained():
        return run_loop(work)


_START_AGAIN = "start it again: what may be missing in the new file is then looked up, or held"
_TOLD: tuple[tuple[tuple[type[Exception], ...], Exit, str], ...] = (
    ((ReturnAmbiguous,), Exit.USAGE, "error: {}: say which with --account"),
    ((WrongRequest,), Exit.USAGE, "error: {}"),
    ((NotConfigured, SchemaMismatch, DatabaseMoved), Exit.BAD_CONFIGURATION, "error: {}"),
    ((ConfigurationError,), Exit.BAD_CONFIGURATION, "{}"),
    ((LabelStoreUnusable,), Exit.BAD_CONFIGURATION, "error: labels.store: {}"),
    ((DatabaseReplaced,), Exit.FAILED, f"error: {{}}; {_START_AGAIN}"),
    ((DatabaseRefused,), Exit.BAD_CONFIGURATION, "error: the database refuses to be used: {}"),
    ((SchemaLocked,), Exit.DATABASE_UNAVAILABLE, "error: {}"),
    ((DatabaseUnavailable,), Exit.DATABASE_UNAVAILABLE, "error: the database cannot be reached: {}"),
    ((NotDone, AlreadyRunning, ClockDiffers, ListenError, LabelStoreError), Exit.FAILED, "error: {}"),
)
"""What is said of an error, by the first line that it fits (some are kinds of what follows), and the exit code."""


@contextmanager
def explained() -> Iterator[None]:
    """Turns what can go wrong with the surroundings, and what is refused, into a clear line and the right exit code."""
    try:
        yield
    except Exception as error:
        for kinds, code, told in _TOLD:
            if isinstance(error, kinds):
                fail((shown if isinstance(error, NotDone) else shown_lines)(told.format(error)), code)
        why = refusal_of(error)
        if why is None:
            raise
        fail(shown(f"error: the database refuses it by a rule that was added to it: {why}"))


def opened_settings(context: typer.Context, *, need_keys: bool = False) -> tuple[Settings, Redactor]:
    """The settings in force, and logs as they say."""
    settings = settings_of(context, need_keys=need_keys)
    return settings, logs_for(settings)


def settings_of(context: typer.Context, *, need_keys: bool = False) -> Settings:
    """The settings in force; `--config` names the file."""
    file: Path | None = context.obj
    if not need_keys:
        return load(file)
    from worker.from_settings import receiver_problems  # noqa: PLC0415 - whoever needs keys imports the carriers anyway

    return load(file, need_keys=True, receiver_problems=receiver_problems)


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
