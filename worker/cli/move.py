"""The command that moves a shop from SQLite to PostgreSQL."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from worker.cli.context import logs_for, run, settings_of
from worker.cli.talk import Exit, fail, say, shown
from worker.cli.ways_out import DryRunOption
from worker.settings import Settings, check_database_url, place_of_url, read_secret
from worker.store.database import Database
from worker.store.move import Copied, CopyRefused, NotTheSame, RowsRefused, copy_to
from worker.store.schema import SchemaMismatch, require_current

_SAY_EVERY = 2.0  # seconds
_MOST_LINES = 20
_WHAT_TO_DO = (
    "nothing was copied: mend each of these rows in the SQLite file, or delete it where nobody needs it, and run"
    " copy-to once more"
)


def copy_to_postgresql(
    context: typer.Context,
    url: Annotated[str | None, typer.Argument(help="postgresql://USER@HOST/NAME, as the tables' owner.")] = None,
    url_file: Annotated[
        Path | None, typer.Option("--url-file", help="A file that holds it: others can see what is typed.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Move everything from the SQLite database to an empty PostgreSQL, and retire the SQLite file.

    Stop the worker first. The shop may go on inserting until the file refuses it.
    """

    async def work() -> None:
        settings = settings_of(context)
        redactor = logs_for(settings)
        target_url = _target(url, url_file)
        redactor.add(unquote(urlsplit(target_url).password or ""))
        if settings.database.kind != "sqlite":
            fail("error: database.url is no SQLite database: there is nothing to move", Exit.BAD_CONFIGURATION)
        copied = await _move(settings, target_url, dry_run=dry_run)
        _tell(settings, copied, place_of_url(target_url), dry_run=dry_run)

    run(work)


def _target(url: str | None, file: Path | None) -> str:
    if (url is None) == (file is None):
        fail("error: say where to, either by URL or by --url-file FILE", Exit.USAGE)
    said_by = "the URL" if file is None else shown(str(file))
    try:
        target = check_database_url(read_secret(file) if file is not None else url or "")
    except OSError as error:
        fail(f"error: {said_by}: cannot be read: {error.strerror}", Exit.USAGE)
    except ValueError as error:
        fail(f"error: {said_by}: {error}", Exit.USAGE)
    if not target.startswith("postgresql:"):
        fail("error: copy-to copies to PostgreSQL; a SQLite file is copied by `returns-worker backup`", Exit.USAGE)
    return target


async def _move(settings: Settings, target_url: str, *, dry_run: bool) -> Copied:
    source, target = Database(settings.database.url, pool_size=1), Database(target_url, pool_size=1)
    try:
        assert source.path is not None
        if not source.path.is_file():
            raise SchemaMismatch(f"there is no database at {source.path}")
        await require_current(source)
        if not dry_run:
            source.hold_file()
        return await copy_to(source, target, place_of_url(target_url), _Progress(), dry_run=dry_run)
    except CopyRefused as error:
        fail(shown(f"error: {error}"))
    except RowsRefused as error:
        _list([str(problem) for problem in error.problems])
        fail(f"error: PostgreSQL cannot keep {len(error.problems)} rows; {_WHAT_TO_DO}")
    except NotTheSame as error:
        fail(f"error: {error}; nothing was copied")
    finally:
        await target.close()
        await source.close()


class _Progress:
    """Says now and then how far it is."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._said >= _SAY_EVERY:
            self._said = time.monotonic()
            say(f"{done} of {total} returns copied")


def _tell(settings: Settings, copied: Copied, place: str, *, dry_run: bool) -> None:
    counts = ", ".join(f"{count} in {table}" for table, count in copied.counts.items())
    if copied.already:
        say(f"the returns have moved to {place} already: {counts}")
    elif dry_run:
        say(f"this would be copied to {place}: {counts}; {copied.seconds:.1f} s, and nothing was changed")
    else:
        say(f"copied to {place}, read back and compared: {counts}")
        say(f"it took {copied.seconds:.1f} s; others could not write to the SQLite file for {copied.locked:.2f} s")
    if copied.changed:
        _list(sorted(copied.changed))
        say(
            f"{len(copied.changed)} documents hold what PostgreSQL cannot keep (\\u0000, half a surrogate pair, bytes"
            " that are not UTF-8): there it is U+FFFD; the SQLite file has them as they were"
        )
    if not dry_run:
        _say_what_is_next(settings)


def _say_what_is_next(settings: Settings) -> None:
    store = settings.labels.store
    steps = [
        "set database.url to the new database for every worker, as the role returns_worker (deploy/sql/roles.sql)",
        "let the shop insert there; the old file refuses its inserts, changes and requests",
        "run `returns-worker check`, then start the worker",
    ]
    if store.startswith("file:"):
        steps.append(f"label files stay in {store.removeprefix('file:')}: each worker must find them under that path")
    say("next:")
    for number, step in enumerate(steps, 1):
        say(f"  {number}. {step}")


def _list(lines: Sequence[str]) -> None:
    for line in lines[:_MOST_LINES]:
        say(shown(line))
    if len(lines) > _MOST_LINES:
        say(f"... and {len(lines) - _MOST_LINES} more")
