"""The ways out of `rejected` and `needs_attention`, for a person: retry, resolve, cancel; and what a restore means."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from worker.carriers.registry import CARRIERS
from worker.cli.context import logs_for, opened_database, run, settings_of, the_order
from worker.cli.person import ByOption, ReasonOption, duration_of, owner_of_command, person_of
from worker.cli.talk import MOST, Exit, answer, fail, is_utf8, say, shown
from worker.configured import policy_of
from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.domain.policy import Policy
from worker.domain.ways_out import Person, WayOut, found, not_created
from worker.domain.ways_out import cancel as withdrawn
from worker.domain.ways_out import retry as retried
from worker.engine.by_hand import Desk, Settled
from worker.settings import Settings
from worker.store.by_hand import Choice, choose
from worker.store.database import Database
from worker.store.place import declare_restored
from worker.store.tables import ReturnOrderRow

References = Annotated[
    list[str] | None,
    typer.Argument(help="The shop's references; none: all that the filters choose.", metavar="REFERENCE"),
]
AccountOption = Annotated[str | None, typer.Option("--account", help="Only this account.")]
StateOption = Annotated[list[State] | None, typer.Option("--state", help="Filter: these states.")]
CodeOption = Annotated[str | None, typer.Option("--error-code", help="Filter: held or rejected for this.")]
AgeOption = Annotated[str | None, typer.Option("--older-than", help="Filter: last changed so long ago, such as 2h.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, max=MOST, help="Filter: so many, oldest first.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]


@dataclass(frozen=True, slots=True)
class _Command:
    """What was asked on the command line."""

    references: list[str]
    choice: Choice
    person: Person
    dry_run: bool


def retry(
    context: typer.Context,
    references: References = None,
    account: AccountOption = None,
    state: StateOption = None,
    error_code: CodeOption = None,
    older_than: AgeOption = None,
    limit: LimitOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Do again what was rejected, or held after failing too often; a creation in doubt is only looked up."""
    states = state or [State.REJECTED, State.NEEDS_ATTENTION]
    command = _command(references, account, states, error_code, older_than, limit, reason, by, dry_run, bool(state))
    _run(context, command, retried)


def resolve(
    context: typer.Context,
    references: References = None,
    carrier_ref: Annotated[
        str | None, typer.Option("--carrier-ref", help="It is at the carrier, under this number: adopt and follow it.")
    ] = None,
    nothing_there: Annotated[
        bool, typer.Option("--not-created", help="It is not at the carrier: send it again.")
    ] = False,
    account: AccountOption = None,
    state: StateOption = None,
    error_code: CodeOption = None,
    older_than: AgeOption = None,
    limit: LimitOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Say what became of a creation in doubt, after looking for it at the carrier."""
    if (carrier_ref is None) == (not nothing_there):
        fail("error: say either --carrier-ref NUMBER or --not-created", Exit.USAGE)
    if carrier_ref is not None and (len(references or []) != 1 or error_code or older_than or state):
        fail("error: --carrier-ref is for one REFERENCE", Exit.USAGE)
    states = state or [State.PENDING, State.NEEDS_ATTENTION, State.REJECTED]
    command = _command(references, account, states, error_code, older_than, limit, reason, by, dry_run, bool(state))
    if carrier_ref is None:
        _run(context, command, not_created)
    else:
        _run(context, command, found(carrier_ref.strip()), number=carrier_ref.strip())


def cancel(
    context: typer.Context,
    references: References = None,
    account: AccountOption = None,
    state: StateOption = None,
    error_code: CodeOption = None,
    older_than: AgeOption = None,
    limit: LimitOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Withdraw returns: at the carrier where that takes it, else they are followed no longer."""
    states = state or [State.PENDING, State.TRACKING, State.REJECTED, State.NEEDS_ATTENTION]
    command = _command(references, account, states, error_code, older_than, limit, reason, by, dry_run, bool(state))
    _run(context, command, withdrawn)


def restored(context: typer.Context) -> None:
    """Say that the database was set back by a snapshot: what may have been created since is looked up, or held.

    Restored backups, copies and failovers are noticed without it.
    """

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings) as database:
            count = await declare_restored(database)
        say(f"{count} pending {'return is' if count == 1 else 'returns are'} looked up, or held, before being created")

    run(work)


def _command(
    references: list[str] | None,
    account: str | None,
    states: list[State],
    error_code: str | None,
    older_than: str | None,
    limit: int | None,
    reason: str,
    by: str | None,
    dry_run: bool,
    filtered: bool,
) -> _Command:
    filtered = filtered or error_code is not None or older_than is not None
    if references and (filtered or limit is not None):
        fail("error: give either references or filters, not both", Exit.USAGE)
    if not references and not filtered:
        fail("error: say which: a REFERENCE, or a filter such as --state or --error-code", Exit.USAGE)
    if not is_utf8("".join((*(references or []), account or "", error_code or ""))):
        fail("error: an argument is not UTF-8", Exit.USAGE)
    choice = Choice(account, states, error_code, duration_of("--older-than", older_than), limit)
    return _Command(references or [], choice, person_of(by, reason), dry_run)


def _run(context: typer.Context, command: _Command, way_out: WayOut, *, number: str | None = None) -> None:
    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings) as database:
            ids = await _ids(database, command)
            if number is not None:
                order = await the_order(database, command.references[0], command.choice.account)
                _check_number(settings, order, number)
            choice = Choice() if command.references else command.choice
            desk = Desk(database, command.person, policies_of(settings), owner_of_command(), choice)
            done = await (desk.preview if command.dry_run else desk.settle)(ids, way_out)
        tell(done, dry_run=command.dry_run)

    run(work)


async def _ids(database: Database, command: _Command) -> list[int]:
    if not command.references:
        return await choose(database, command.choice)
    return [(await the_order(database, reference, command.choice.account)).id for reference in command.references]


def tell(done: list[Settled], *, dry_run: bool) -> None:
    """Say what became of each; with a refusal among them the command has failed."""
    changed = 0
    for each in done:
        if isinstance(each.outcome, Decision):
            changed += 1
            line = each.outcome.transitions[-1]
            states = dict.fromkeys((each.order.state, each.outcome.order.state))
            answer(shown(f"{each.order.reference}: {' -> '.join(states)}: {line.reason}"))
        else:
            say(shown(f"{each.order.reference}: refused: {each.outcome.reason}"))
    refused = f", {len(done) - changed} refused" if len(done) > changed else ""
    say(f"{changed} {'return' if changed == 1 else 'returns'} {'would be ' if dry_run else ''}changed{refused}")
    if refused:
        raise typer.Exit(Exit.FAILED)


def policies_of(settings: Settings) -> Callable[[str], Policy]:
    """The policy of each account; of one that is not configured here nobody knows that it can be searched."""
    policies = {name: policy_of(settings, name) for name in settings.accounts}
    unknown = Policy(settles_after=max((policy.settles_after for policy in policies.values()), default=_LONG))
    return lambda account: policies.get(account, unknown)


_LONG = timedelta(minutes=5)


def _check_number(settings: Settings, order: ReturnOrderRow, number: str) -> None:
    """It becomes a part of the path that is asked for: what the carrier cannot have given is refused."""
    if order.account not in settings.accounts:
        fail(f"error: account {shown(order.account)} is not configured here", Exit.BAD_CONFIGURATION)
    if not CARRIERS[settings.accounts[order.account].carrier].is_number(number):
        fail(f"error: --carrier-ref: {shown(number)} is no number of this carrier's", Exit.USAGE)
