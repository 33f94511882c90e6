"""The commands that show how each account stands, and those that do something to one."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from worker.cli.decisions import tell
from worker.cli.options import (
    ByOption,
    Decider,
    DryRunOption,
    JsonOption,
    NameArgument,
    duration_of,
    grouped,
    owner_of_command,
    person_of,
)
from worker.cli.output import Exit, Left, fail, say, shown
from worker.cli.printing import print_list
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.settings import Settings
from worker.store.database import Database
from worker.store.holds import AccountState, explain
from worker.store.refusals import RowsLeft
from worker.usecases import accounts as usecase

accounts = typer.Typer(
    help="Show what each account waits for, hold one, release it.", add_completion=False, invoke_without_command=True
)


@accounts.callback()
def show_accounts(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what each account waits for, and why."""
    if context.invoked_subcommand is not None:
        return
    print_list(
        Session(context, only_to_read=True).call(usecase.read_standings),
        ("account", "carrier", "limit/min", "pending", "tracking", "due", "waits for"),
        _row,
        asdict,
        as_json=as_json,
    )


def _row(each: usecase.Standing) -> tuple[Any, ...]:
    limit = "none" if each.rate_per_minute == 0 else each.rate_per_minute
    counts = (each.pending, each.tracking, each.due)
    return (each.account, each.carrier or "not configured here", limit, *counts, each.waits_for)


@accounts.command("hold")
def hold(
    context: typer.Context,
    name: NameArgument,
    no_create: Annotated[
        bool, typer.Option("--no-create", help="Hold only its creations; what it has at the carrier is followed on.")
    ] = False,
    lasting: Annotated[str | None, typer.Option("--for", help="For so long, such as 2h; else until released.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; `accounts`, `check` and `show` say so.")] = "",
    by: ByOption = None,
) -> None:
    """Ask nothing, or only create nothing, on this account, in any worker; calls under way end as they do."""
    duration = duration_of("--for", lasting)
    if no_create and duration is not None:
        fail("error: --for is for the whole account; creations are held until they are released", Exit.USAGE)
    if duration is not None and not duration:
        fail("error: --for: must be longer than nothing; `accounts release` ends a hold", Exit.USAGE)
    person = person_of(by, reason)
    _say(name, Session(context).call(usecase.hold, name, person, duration, creations=no_create))


@accounts.command("release")
def release(context: typer.Context, name: NameArgument) -> None:
    """End every hold of this account and close its circuits; what is still wrong shows at the next call."""
    _say(name, Session(context).call(usecase.release, name))


@accounts.command("rename")
@grouped
def rename(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="The name that its returns have now.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="A configured account.", metavar="NEW")],
    decider: Decider,
    dry_run: DryRunOption = False,
) -> None:
    """Let all returns of one account belong to another, which is configured: the same one at the carrier, renamed."""
    person = decider.person

    async def work(settings: Settings, database: Database) -> None:
        if dry_run:
            there_is = await usecase.renamable(settings, database, old, new)
            say(shown(f"{there_is.returns} returns of {old} would be {new}'s, {there_is.live} of them still live"))
            return
        try:
            with progress("renaming returns"):
                count = await usecase.rename(settings, database, old, new, person)
        except RowsLeft as error:
            left = Left()
            left.add(error.refused)
            left.tell()
            say(shown(f"{error.done} returns of {old} are {new}'s, {left.count} left"))
            left.fail_if_any()
            return
        say(shown(f"{count} returns of {old} are {new}'s"))
        if old in settings.accounts:
            say(shown(f"when no insert names {old} any more, remove [accounts.{old}] and restart the workers"))

    Session(context).call(work)


@accounts.command("retire")
@grouped
def retire(context: typer.Context, name: NameArgument, decider: Decider, dry_run: DryRunOption = False) -> None:
    """End an account: its carrier is asked no more, and its live returns come to an end here.

    What was never sent is cancelled, what is followed expires. A creation in doubt is left to a person.
    """
    session = Session(context, doing="ending returns")
    done = session.call(usecase.retire, name, decider.person, owner_of_command(), dry_run=dry_run)
    if done is None:
        say(shown(f"{name} is forgotten"))
        return
    if not dry_run:
        then = f"remove [accounts.{name}] from every worker's configuration, restart the workers, and retire it"
        say(shown(f"{name} is held: {then} once more, which forgets it"))
    tell(done, dry_run=dry_run)


def _say(name: str, state: AccountState) -> None:
    say(shown(f"account {name}: {explain(state)}"))
