"""The command that backs up: a verified copy of the SQLite file; for PostgreSQL the way to do it."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import MOST, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.settings import Settings
from worker.usecases.backup import NotSqlite, back_up

_PG_DUMP = """error: PostgreSQL is backed up by its own tools, for example:

  pg_dump --format=custom --no-owner --file=returns.dump "postgresql://USER@HOST/DATABASE"

and restored into an empty database by pg_restore. A worker that starts on a restored database notices it, and looks up
or gives to a person what may have been created since. For a backup that is never older than a moment, archive the
write-ahead log (https://www.postgresql.org/docs/current/continuous-archiving.html)."""


def backup(
    context: typer.Context,
    dest: Annotated[Path, typer.Argument(help="The file to write; in a folder one named by the time.")],
    keep: Annotated[
        int | None, typer.Option("--keep", min=1, max=MOST, help="In a folder: keep so many, remove older ones.")
    ] = None,
) -> None:
    """Copy the SQLite database while work goes on, check the copy, and put it in place."""

    async def work(settings: Settings) -> None:
        made = list[str]()
        try:
            with progress("copying the database"):
                removed, newer = await back_up(
                    settings, dest, keep, lambda file, size: made.append(f"{file}: {size} bytes, checked")
                )
        except NotSqlite:
            fail(_PG_DUMP)
        finally:
            for line in made:
                say(shown(line))
        for file in removed:
            say(shown(f"{file}: removed"))
        for file in newer:
            line = f"{file} is named by a time to come: a clock was wrong; it counts as newest until you remove it"
            say(shown(f"warning: {line}"))
        if settings.labels.store.startswith("file:"):
            say(f"label files are not in it: copy {settings.labels.store.removeprefix('file:')} after it")

    Session(context).call_without_database(work)
