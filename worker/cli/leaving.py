"""The commands for an account that gets another name, or comes to its end."""

from typing import Annotated

import typer

from worker.cli.context import logs_for, opened_database, run, settings_of
from worker.cli.inspect import NameArgument
from worker.cli.left import Left
from worker.cli.person import ByOption, ReasonOption, owner_of_command, person_of
from worker.cli.talk import Exit, fail, is_utf8, say, shown
from worker.cli.ways_out import DryRunOption, policies_of, tell
from worker.domain.lifecycle import LIVE_STATES
from worker.domain.ways_out import Person, retired
from worker.engine.by_hand import Desk
from worker.settings import Settings
from worker.store.accounts import register_accounts
from worker.store.by_hand import Choice, choose
from worker.store.database import Database
from worker.store.holds import hold_by_hand, read_accounts
from worker.store.refusals import RowsLeft
from worker.store.renames import NamesCollide, forget_account, pass_on_hold, read_belongings, rename_returns, shared_by


def rename(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="The name that its returns have now.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="A configured account.", metavar="NEW")],
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Let all returns of one account belong to another, which is configured: the same one at the carrier, renamed."""

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        person = person_of(by, reason)
        _check_names(settings, old, new)
        async with opened_database(settings) as database:
            there_is = await read_belongings(database, old)
            if not there_is.returns and old not in {*settings.accounts, *await read_accounts(database)}:
                fail(f"error: there is no account {shown(old)!r}", Exit.USAGE)
            shared = await shared_by(database, old, new)
            if shared:
                fail(shown(f"error: {old} and {new} both have {', '.join(shared)}: only one account can have each"))
            if dry_run:
                say(shown(f"{there_is.returns} returns of {old} would be {new}'s, {there_is.live} of them still live"))
                return
            await pass_on_hold(database, old, new)  # first: what is held must not be created under the new name
            why = person.signed(f"its account {old} is now called {new}")
            try:
                count = await rename_returns(database, old, new, why)
            except NamesCollide:
                fail("error: meanwhile a return was inserted that both accounts have: run it again to see which")
            except RowsLeft as error:
                left = Left()
                left.add(error.refused)
                left.tell()
                say(shown(f"{error.done} returns of {old} are {new}'s, {left.count} left"))
                left.fail_if_any()
                return
            if old not in settings.accounts:
                await forget_account(database, old)
        say(shown(f"{count} returns of {old} are {new}'s"))
        if old in settings.accounts:
            say(shown(f"when no insert names {old} any more, remove [accounts.{old}] and restart the workers"))

    run(work)


def retire(
    context: typer.Context,
    name: NameArgument,
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """End an account: nobody asks its carrier any more, and its live returns come to an end here.

    What was never sent is cancelled, what is followed expires. A creation in doubt is left to a person.
    """

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        person = person_of(by, reason)
        async with opened_database(settings) as database:
            await _retire(settings, database, name, person, dry_run=dry_run)

    run(work)


async def _retire(settings: Settings, database: Database, name: str, person: Person, *, dry_run: bool) -> None:
    choice = Choice(account=name, states=LIVE_STATES)
    if not is_utf8(name) or (
        name not in {*settings.accounts, *await read_accounts(database)} and not await choose(database, choice)
    ):
        fail(f"error: there is no account {shown(name)!r}", Exit.USAGE)
    if not dry_run:  # first of all, lest a worker create what is cancelled a moment later
        await register_accounts(database, [name])
        await hold_by_hand(database, name, None, person.signed("retired"))
    desk = Desk(database, person, policies_of(settings), owner_of_command(), choice)
    ids = await choose(database, choice)
    if not ids and not dry_run and name not in settings.accounts:
        await forget_account(database, name)  # not before: the hold keeps a worker that still has it configured
        say(shown(f"{name} is forgotten"))
        return
    done = await (desk.preview if dry_run else desk.settle)(ids, retired)
    if not dry_run:
        say(shown(f"{name} is held: {_THEN.format(name=name)}"))
    tell(done, dry_run=dry_run)


_THEN = (
    "remove [accounts.{name}] from every worker's configuration, restart the workers, and retire it once more, which"
    " forgets it"
)


def _check_names(settings: Settings, old: str, new: str) -> None:
    if not is_utf8(old + new):
        fail("error: an argument is not UTF-8", Exit.USAGE)
    if new not in settings.accounts:
        fail(f"error: account {shown(new)!r} is not configured: configure it first", Exit.BAD_CONFIGURATION)
    if old == new:
        fail(f"error: it is called {shown(new)!r} already", Exit.USAGE)
    before, after = settings.accounts.get(old), settings.accounts[new]
    if before is not None and before.carrier != after.carrier:
        fail(f"error: {shown(old)} is at {before.carrier} and {new} at {after.carrier}: not one account", Exit.USAGE)
