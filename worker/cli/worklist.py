"""Creations in doubt as a CSV that a person fills in: `list --worklist` writes it, `resolve --from` takes it back."""

import csv
import sys
from dataclasses import replace

import typer

from worker.cli.intake import LONGEST_CSV_LINE, lines_of
from worker.cli.options import owner_of_command
from worker.cli.output import Exit, counted, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.domain.by_hand import Person
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases.desk import Settled
from worker.usecases.not_done import capped
from worker.usecases.worklist import COLUMNS, Resolved, held_creations, resolve_worklist


def write_worklist(context: typer.Context, account: str | None, limit: int) -> None:
    """The list on stdout; where there are more than fit, that is said."""
    held, more = Session(context, only_to_read=True, doing="reading what is held").call(
        lambda _, database: held_creations(database, account, limit)
    )
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(COLUMNS)
    left = 0
    for each in held:
        # What cannot be seen would reach the terminal, and come back as something else.
        if not (each.reference + each.account).isprintable():
            say(shown(f"left out: {each.reference}: a list cannot have it; resolve it by itself"))
            left += 1
            continue
        lines.writerow(replace(each, name=shown(each.name), postal_code=shown(each.postal_code)).cells)
    said = f"{counted(len(held) - left)} in doubt"
    say(f"{said}, and there are more: --limit says how many are listed" if more else said)


def read_worklist(context: typer.Context, file: str, person: Person, *, dry_run: bool) -> list[Settled]:
    """What came of each answer in a list; the command ends here where a line makes no sense."""

    async def work(settings: Settings, database: Database) -> Resolved:
        with progress("resolving returns") as tell:
            lines = lines_of(file, "utf-8-sig", LONGEST_CSV_LINE)
            owner = owner_of_command()
            return await resolve_worklist(settings, database, lines, person, owner, dry_run=dry_run, tell=tell)

    resolved = Session(context).call(work)
    if resolved.problems:
        for problem in capped(resolved.problems):
            say(shown(problem))
        fail("nothing was changed", Exit.FAILED)
    return list(resolved.settled)
