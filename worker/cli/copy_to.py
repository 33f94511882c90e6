"""The command that moves a shop from SQLite to PostgreSQL."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.options import DryRunOption
from worker.cli.output import Exit, fail, say, shown
from worker.cli.session import opened_settings, run
from worker.domain.cadence import spoken
from worker.dsn import PostgresqlUrl, check_files, parse_url, place_of_url, secrets_of_url
from worker.settings import Settings, check_schema, read_secret
from worker.store.database import Database
from worker.store.restores import retirement
from worker.store.schema import SchemaMismatch, require_current
from worker.store.upkeep.move import Copied, CopyRefused, Progress, RowsRefused, abandon, copy_to

_SAY_EVERY = 2.0  # seconds
_MOST_LINES = 20


def copy_to_postgresql(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="postgresql://USER@HOST/NAME, as the tables' owner.")] = None,
    url_file: Annotated[
        Path | None, typer.Option("--url-file", help="A file that holds it: others can see what is typed.")
    ] = None,
    schema: Annotated[
        str | None, typer.Option("--schema", help="The schema there that is to have the tables, as database.schema is.")
    ] = None,
    dry_run: DryRunOption = False,
    abandoned: Annotated[
        bool, typer.Option("--abandon", help="Open the SQLite file again after a copy that did not arrive.")
    ] = False,
) -> None:
    """Retire the SQLite file, and move everything from it to an empty PostgreSQL.

    Stop the worker first. The file refuses the shop from the beginning of the copy.
    """

    async def work() -> None:
        settings, redactor = opened_settings(context)
        target_url = _target(url, url_file)
        _check_schema(schema)
        # With it, since the same address with another schema is another place: a second copy must not be made there.
        place = place_of_url(target_url) + (f" (schema {schema})" if schema is not None else "")
        redactor.add(*secrets_of_url(target_url))
        if settings.database.kind != "sqlite":
            fail("error: database.url is no SQLite database: there is nothing to move", Exit.BAD_CONFIGURATION)
        if dry_run and abandoned:
            fail("error: --abandon takes no --dry-run", Exit.USAGE)
        source, target = Database(settings.database.url, pool_size=1), Database(target_url, pool_size=1, schema=schema)
        try:
            if source.path is not None and not source.path.is_file():
                raise SchemaMismatch(f"there is no database at {source.path.absolute()}")
            await require_current(source)
            if not dry_run:
                source.hold_file()
            if abandoned:
                await _abandon(source, target, place)
            else:
                await _copy(settings, source, target, place, dry_run=dry_run)
        finally:
            await target.close()
            await source.close()

    run(work())


def _target(url: str | None, file: Path | None) -> str:
    if (url is None) == (file is None):
        fail("error: say where to, either by URL or by --url-file FILE", Exit.USAGE)
    said_by = "the URL" if file is None else shown(str(file))
    try:
        target = read_secret(file) if file is not None else url or ""
        parsed = parse_url(target)
        if isinstance(parsed, PostgresqlUrl):
            check_files(parsed)
    except OSError as error:
        fail(f"error: {said_by}: cannot be read: {error.strerror}", Exit.USAGE)
    except ValueError as error:
        fail(f"error: {said_by}: {error}", Exit.USAGE)
    if not isinstance(parsed, PostgresqlUrl):
        fail("error: copy-to copies to PostgreSQL; a SQLite file is copied by `returns-worker backup`", Exit.USAGE)
    return target


def _check_schema(schema: str | None) -> None:
    try:
        if schema is not None:
            check_schema(schema)
    except ValueError as error:
        fail(f"error: --schema: {error}", Exit.USAGE)


async def _abandon(source: Database, target: Database, place: str) -> None:
    try:
        is_in_doubt = await abandon(source, target, place)
    except CopyRefused as error:
        fail(shown(f"error: {error}"))
    say("the SQLite file is in use")
    if is_in_doubt:
        say("the copy may have been complete for a while: what is not at the carrier is looked up there, or held")


async def _copy(settings: Settings, source: Database, target: Database, place: str, *, dry_run: bool) -> None:
    try:
        copied = await copy_to(source, target, place, _progress(), dry_run=dry_run)
    except BaseException as error:
        say(await retirement(source) or "nothing was copied, and the SQLite file is in use as before")
        if isinstance(error, RowsRefused):
            _list(error.problems)
            fail(
                f"error: PostgreSQL cannot keep {len(error.problems)} rows: mend each in the SQLite file, or delete it"
            )
        if isinstance(error, CopyRefused):
            fail(shown(f"error: {error}"))
        raise
    if copied is None:
        say(f"the returns have moved to {place} already")
    else:
        _tell(copied, place, dry_run=dry_run)
    if not dry_run:
        _say_what_is_next(settings, target.schema)


def _progress() -> Progress:
    """Says now and then how far it is."""
    said = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            say(f"{done} of {total} rows copied")

    return progress


def _tell(copied: Copied, place: str, *, dry_run: bool) -> None:
    counts = ", ".join(f"{count} in {table}" for table, count in copied.counts.items())
    took = spoken(timedelta(seconds=copied.seconds))
    if dry_run:
        say(f"this would be copied to {place}: {counts}; nothing was changed")
        say(f"the shop would be refused for {took}, and until it has the new address")
    else:
        say(f"copied to {place}, read back and compared: {counts}")
        say(f"the SQLite file has refused the shop for {took} by now")
    if copied.changed:
        _list(copied.changed)
        say(
            f"{len(copied.changed)} documents hold what PostgreSQL cannot keep (\\u0000, half a surrogate pair, bytes"
            " that are not UTF-8): there it is U+FFFD; the SQLite file has them as they were"
        )


def _say_what_is_next(settings: Settings, schema: str | None) -> None:
    there = f', and database.schema to "{schema}",' if schema is not None else ""
    say("next:")
    say(f"  1. set database.url to the new database{there} for every worker, as returns_worker (deploy/sql/roles.sql)")
    say("  2. let the shop insert there; the old file refuses its inserts, changes and requests")
    say("  3. run `returns-worker check`, then start the worker")
    if settings.labels.store.startswith("file:"):
        folder = settings.labels.store.removeprefix("file:")
        say(f"  4. label files stay in {folder}: each worker must find them under that path")


def _list(lines: Sequence[str]) -> None:
    for line in lines[:_MOST_LINES]:
        say(shown(line))
    if len(lines) > _MOST_LINES:
        say(f"... and {len(lines) - _MOST_LINES} more")
