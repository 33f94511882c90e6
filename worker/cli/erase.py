"""The command that erases personal data."""

import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer

from worker.cli.options import AccountFilter, ByOption, DryRunOption, EmailOption, ReasonOption, duration_of, person_of
from worker.cli.output import MOST, Exit, Left, answer, counted, fail, say, shown
from worker.cli.session import Session
from worker.settings import Settings
from worker.store.database import Database
from worker.store.erasure import Named
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

_SAY_EVERY = 1.0  # seconds

_MOST_COUNTED = 1_000_000  # to be asked about; more is "or more"
_NAMED = 20  # references that are told one by one


def erase(
    context: typer.Context,
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
    reason: ReasonOption = "",
    by: ByOption = None,
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
    age, person = duration_of("--older-than", older_than), person_of(by, reason)

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
    """The returns of one customer; says how far it has looked."""
    found: list[Named] = []
    said = time.monotonic()
    async for looked in customer.returns_of(database, email, limit or customer.MOST):
        found += looked.found
        if looked.upto < looked.newest and time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            say(f"looked through {looked.upto} of {looked.newest} returns, {len(found)} found")
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
    count, before, refused, said = 0, 0, Left(), time.monotonic()
    try:
        async for outcome in outcomes:
            for reference in outcome.erased[: max(_NAMED - count, 0)]:
                answer(shown(f"{reference}: personal data erased"))
            count += len(outcome.erased)
            before += len(outcome.before)
            refused.add(outcome.refused)
            if time.monotonic() - said >= _SAY_EVERY:
                said = time.monotonic()
                say(f"{counted(count)} erased so far")
    finally:  # whatever ends it, that much is done
        refused.tell()
        already = f", {before} erased before" if before else ""
        say(f"{counted(count)} erased{already}" + (f", {refused.count} refused" if refused.count else ""))
    if refused.count:
        raise typer.Exit(Exit.FAILED)
