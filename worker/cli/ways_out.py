"""The ways out of `rejected` and `needs_attention`, for a person: retry, resolve, cancel; and what a restore means."""

import getpass
import os
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from worker.app import policy_of
from worker.cli.context import Exit, fail, logs_for, opened_database, run, say, settings_of, the_order
from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.domain.policy import Policy
from worker.domain.ways_out import Person, WayOut, found, not_created
from worker.domain.ways_out import cancel as withdrawn
from worker.domain.ways_out import retry as retried
from worker.settings import Settings, parse_duration
from worker.steps.by_hand import Desk, Settled
from worker.store.by_hand import Choice, choose
from worker.store.database import Database
from worker.store.place import declare_restored

_LONGEST_REF = 200

References = Annotated[
    list[str] | None,
    typer.Argument(help="The shop's references; none: all that the filters choose.", metavar="REFERENCE"),
]
AccountOption = Annotated[str | None, typer.Option("--account", help="Only this account.")]
StateOption = Annotated[list[State] | None, typer.Option("--state", help="Filter: these states.")]
CodeOption = Annotated[str | None, typer.Option("--error-code", help="Filter: held or rejected for this.")]
AgeOption = Annotated[str | None, typer.Option("--older-than", help="Filter: last changed so long ago, such as 2h.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Filter: at most so many, the oldest first.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it goes into the history.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who decides; else the user and the machine.")]
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
    """Do again what was rejected, or held after failing too often; a creation in doubt is never sent, but looked up."""
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
    _run(context, command, not_created if carrier_ref is None else found(_checked_ref(carrier_ref)))


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
    choice = Choice(account, states, error_code, _age(older_than), limit)
    person = Person((by or _user())[:100], " ".join(reason.split())[:500])
    return _Command(references or [], choice, person, dry_run)


def _run(context: typer.Context, command: _Command, way_out: WayOut) -> None:
    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings) as database:
            ids = await _ids(database, command)
            desk = Desk(database, command.person, _policies(settings), _owner())
            done = await (desk.preview if command.dry_run else desk.settle)(ids, way_out)
        _tell(done, dry_run=command.dry_run)

    run(work)


async def _ids(database: Database, command: _Command) -> list[int]:
    if not command.references:
        return await choose(database, command.choice)
    return [(await the_order(database, reference, command.choice.account)).id for reference in command.references]


def _tell(done: list[Settled], *, dry_run: bool) -> None:
    changed = 0
    for each in done:
        if isinstance(each.outcome, Decision):
            changed += 1
            (line,) = each.outcome.transitions
            before, after = each.order.state, each.outcome.order.state
            typer.echo(
                f"{each.order.reference}: {before if before is after else f'{before} -> {after}'}: {line.reason}"
            )
        else:
            say(f"{each.order.reference}: refused: {each.outcome.reason}")
    refused = f", {len(done) - changed} refused" if len(done) > changed else ""
    say(f"{changed} {'return' if changed == 1 else 'returns'} {'would be ' if dry_run else ''}changed{refused}")
    if refused:
        raise typer.Exit(Exit.FAILED)


def _policies(settings: Settings) -> Callable[[str], Policy]:
    """The policy of each account; of one that is not configured here nobody knows that it can be searched."""
    policies = {name: policy_of(settings, name) for name in settings.accounts}
    unknown = Policy(settles_after=max((policy.settles_after for policy in policies.values()), default=_LONG))
    return lambda account: policies.get(account, unknown)


_LONG = timedelta(minutes=5)


def _checked_ref(carrier_ref: str) -> str:
    if not carrier_ref.isprintable() or not carrier_ref.strip() or len(carrier_ref) > _LONGEST_REF:
        fail("error: --carrier-ref: is no carrier's number", Exit.USAGE)
    return carrier_ref.strip()


def _age(text: str | None) -> timedelta | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        fail(f"error: --older-than: {error}", Exit.USAGE)


def _user() -> str:
    user = os.environ.get("SUDO_USER")
    if not user:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _owner() -> str:
    return f"command:{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
