"""Moves a shop from SQLite to PostgreSQL, or opens the SQLite file again after a move that did not arrive."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from worker.dsn import PostgresqlUrl, check_files, parse_url, place_of_url
from worker.settings import Settings, check_schema
from worker.store.database import Database
from worker.store.restores import retirement
from worker.store.schema import require_current
from worker.store.upkeep.move import Copied, CopyRefused, Progress, abandon, copy_to
from worker.usecases.not_done import NotConfigured, NotDone, WrongRequest
from worker.usecases.opening import no_database


@dataclass(frozen=True, slots=True)
class Target:
    """Where to move: a PostgreSQL database, and the schema there; `place` is what to call it, without a secret."""

    url: str = field(repr=False)
    schema: str | None
    place: str


def target_of(url: str, said_by: str, schema: str | None) -> Target:
    """The target that a URL names; raises `WrongRequest`, and `OSError` for a file of the URL's that cannot be read."""
    try:
        parsed = parse_url(url)
        if isinstance(parsed, PostgresqlUrl):
            check_files(parsed)
    except ValueError as error:
        raise WrongRequest(f"{said_by}: {error}") from error
    if not isinstance(parsed, PostgresqlUrl):
        raise WrongRequest("copy-to copies to PostgreSQL; a SQLite file is copied by `returns-worker backup`")
    try:
        if schema is not None:
            check_schema(schema)
    except ValueError as error:
        raise WrongRequest(f"--schema: {error}") from error
    # With the schema: the same address with another one is another place, where no second copy must be made.
    return Target(url, schema, place_of_url(url) + (f" (schema {schema})" if schema is not None else ""))


async def move(
    settings: Settings, target: Target, progress: Progress, failed: Callable[[str], None], *, dry_run: bool
) -> Copied | None:
    """Retire the SQLite file and move everything to the target; None where all of it had arrived already.

    With `dry_run` everything is done and nothing retired or committed. Where it comes to nothing, `failed` is told how
    the file is left. Raises `NotDone`, and of what `copy_to` raises all but `CopyRefused`.
    """
    async with _opened(settings, target, hold=not dry_run) as (source, there):
        try:
            return await copy_to(source, there, target.place, progress, dry_run=dry_run)
        except BaseException as error:
            failed(await retirement(source) or "nothing was copied, and the SQLite file is in use as before")
            if isinstance(error, CopyRefused):
                raise NotDone(str(error)) from error
            raise


async def reopen(settings: Settings, target: Target) -> bool:
    """Open the SQLite file again; whether its returns are in doubt: the copy may have been complete for a while."""
    async with _opened(settings, target, hold=True) as (source, there):
        try:
            return await abandon(source, there, target.place)
        except CopyRefused as error:
            raise NotDone(str(error)) from error


@asynccontextmanager
async def _opened(settings: Settings, target: Target, *, hold: bool) -> AsyncIterator[tuple[Database, Database]]:
    if settings.database.kind != "sqlite":
        raise NotConfigured("database.url is no SQLite database: there is nothing to move")
    source = Database(settings.database.url, pool_size=1)
    there = Database(target.url, pool_size=1, schema=target.schema)
    try:
        if source.path is not None and not source.path.is_file():
            raise no_database(source.path)
        await require_current(source)
        if hold:
            source.hold_file()
        yield source, there
    finally:
        await there.close()
        await source.close()
