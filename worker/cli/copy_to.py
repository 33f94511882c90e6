"""The command that moves a shop from SQLite to PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.options import DryRunOption
from worker.cli.output import LOOKED_UP, Exit, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import opened_settings, run
from worker.domain.cadence import spoken
from worker.dsn import secrets_of_url
from worker.settings import Settings, read_secret
from worker.store.upkeep.move import Copied, RowsRefused
from worker.usecases.move import Target, move, reopen, target_of
from worker.usecases.not_done import capped


def copy_to_postgresql(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="postgresql://USER@HOST/NAME, as the tables' owner.")] = None,
    url_file: Annotated[
        Path | None, typer.Option("--url-file", help="A file that has it: others can see what is typed.")
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
        target = _target(url, url_file, schema)
        redactor.add(*secrets_of_url(target.url))
        if dry_run and abandoned:
            fail("error: --abandon takes no --dry-run", Exit.USAGE)
        if abandoned:
            is_in_doubt = await reopen(settings, target)
            say("the SQLite file is in use")
            if is_in_doubt:
                say(f"the copy may have been complete for a while: what is not at the carrier {LOOKED_UP}")
            return
        try:
            with progress("copying rows") as tell:
                copied = await move(settings, target, tell, say, dry_run=dry_run)
        except RowsRefused as error:
            _list(error.problems)
            mend = "mend each in the SQLite file, or delete it"
            fail(f"error: PostgreSQL cannot keep {len(error.problems)} rows: {mend}")
        if copied is None:
            say(f"the returns have moved to {target.place} already")
        else:
            _tell(copied, target.place, dry_run=dry_run)
        if not dry_run:
            _say_what_is_next(settings, target.schema)

    run(work())


def _target(url: str | None, file: Path | None, schema: str | None) -> Target:
    if (url is None) == (file is None):
        fail("error: say where to, either by URL or by --url-file FILE", Exit.USAGE)
    said_by = "the URL" if file is None else str(file)
    try:
        return target_of(read_secret(file) if file is not None else url or "", said_by, schema)
    except OSError as error:
        fail(f"error: {shown(said_by)}: cannot be read: {error.strerror}", Exit.USAGE)


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
    for line in capped(lines):
        say(shown(line))
