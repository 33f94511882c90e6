"""The command that erases personal data."""

import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer

from worker.cli.options import AccountFilter, Decider, DryRunOption, EmailOption, duration_of, grouped
from worker.cli.output import MOST, Exit, Left, answer, counted, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import Session, note
from worker.settings import Settings
from worker.store.customers import Named
from worker.store.database import Database
from worker.usecases import customer
from worker.usecases.erase import (
    Meant,
    Outcome,
    count_older,
    erase_meant,
    erase_older,
    meant_by_email,
    meant_by_references,
)
from worker.usecases.not_done import is_utf8

_MOST_COUNTED = 1_000_000  # to be asked about; more is "or more"
_NAMED = 20  # references that are told one by one


@grouped
def erase(
    context: typer.Context,
    decider: Decider,
    references: Annotated[list[str] | None, typer.Argument(help="The shop's references.", metavar="REFERENCE")] = None,
    email: EmailOption = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="All that are over, and unchanged, so long ago, such as 400d.")
    ] = None,
    account: AccountFilter = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST,
            help=f"With --older-than: so many, oldest first. With --email: more is refused; else {customer.MOST}.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; --email and --older-than do.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Erase the personal data of returns that are completed, cancelled or rejected, for good.

    Payload, links, texts of errors, the carrier's answers and label files go, in the archive too. Reference, numbers,
    states and times stay, so that nothing is created twice.
    """
    if [bool(references), email is not None, older_than is not None].count(True) != 1:
        fail("error: say which: REFERENCEs, --email or --older-than", Exit.USAGE)
    if references and limit is not None:
        fail("error: --limit goes with --email or --older-than", Exit.USAGE)
    if email is not None and account is not None:
        fail("error: --email looks in all accounts: a customer is known by his address", Exit.USAGE)
    if not is_utf8("".join((*(references or []), account or ""))):
        fail("error: an argument is not UTF-8", Exit.USAGE)
    age, person = duration_of("--older-than", older_than), decider.person

    async def work(settings: Settings, database: Database) -> None:
        if age is not None:
            count = await count_older(database, age, account, limit or _MOST_COUNTED)
            about = f"{counted(min(count, limit or count))}{' or more' if count >= _MOST_COUNTED else ''}"
            if dry_run:
                say(f"{about} would be erased")
                return
            _ask(f"{about}, over for longer than {older_than}", count, yes=yes)
            await _carry_out(erase_older(settings, database, age, account, person, limit or MOST))
            return
        if email is not None:
            meant = await meant_by_email(database, await found_by(database, email, limit))
        else:
            meant = await meant_by_references(database, references or [], account)
        if dry_run:
            _tell_what_would_be(meant)
            return
        free = sum(each.refusal is None and each.erased_at is None for each in meant)
        if email is not None:
            _ask(f"{counted(free)} of {email}", free, yes=yes)
        await _carry_out(erase_meant(settings, database, meant, person))

    Session(context, only_to_read=dry_run).call(work)


async def found_by(database: Database, email: str, limit: int | None) -> list[Named]:
    """The returns of one customer."""
    found: list[Named] = []
    with progress("looking through returns") as tell:
        async for looked in customer.returns_of(database, email, limit or customer.MOST):
            found += looked.found
            tell(looked.upto, looked.newest)
    if not found:
        fail(shown(f"error: no return has {email}, or they are erased already"))
    return found


def _ask(what: str, count: int, *, yes: bool) -> None:
    if yes or not count:
        return
    if not sys.stdin.isatty():
        fail(shown(f"error: the personal data of {what}, would be erased for good: say --yes"), Exit.USAGE)
    if not typer.confirm(shown(f"Erase the personal data of {what}, for good?"), err=True):
        fail("nothing was erased")


def _tell_what_would_be(meant: Sequence[Meant]) -> None:
    refused = Left()
    refused.add((each.reference, each.refusal.reason) for each in meant if each.refusal is not None)
    free = [each.reference for each in meant if each.refusal is None and each.erased_at is None]
    for reference in free:
        answer(shown(f"{reference}: would be erased"))
    refused.tell()
    say(f"{counted(len(free))} would be erased")
    if refused.count:
        raise typer.Exit(Exit.FAILED)


async def _carry_out(outcomes: AsyncIterator[Outcome]) -> None:
    names, count, before, refused = list[str](), 0, 0, Left()
    try:
        with progress("erasing") as tell:
            async for outcome in outcomes:
                names += outcome.erased[: _NAMED - len(names)]
                count += len(outcome.erased)
                before += len(outcome.before)
                refused.add(outcome.refused)
                tell(count, None)
                if outcome.note is not None:
                    note(outcome.note)
    finally:  # whatever ends it, that much is done
        for reference in names:
            answer(shown(f"{reference}: personal data erased"))
        refused.tell()
        already = f", {before} erased before" if before else ""
        say(f"{counted(count)} erased{already}" + (f", {refused.count} refused" if refused.count else ""))
    if refused.count:
        raise typer.Exit(Exit.FAILED)
