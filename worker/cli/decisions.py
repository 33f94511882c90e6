"""The ways out of `rejected` and `needs_attention`, for a person: retry, resolve, cancel; and what a restore means."""

from collections.abc import Callable
from typing import Annotated

import typer

from worker.cli.options import (
    AccountFilter,
    ByOption,
    DryRunOption,
    ReasonOption,
    duration_of,
    owner_of_command,
    person_of,
)
from worker.cli.output import MOST, Exit, answer, counted, fail, say, shown
from worker.cli.session import Session
from worker.cli.worklist import read_worklist
from worker.domain.by_hand import WayOut, not_created
from worker.domain.by_hand import cancel as withdrawn
from worker.domain.by_hand import retry as retried
from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.store.restores import declare_restored
from worker.store.upkeep.choice import Choice
from worker.usecases.desk import Request, Settled, adopt, decide_by_hand
from worker.usecases.not_done import capped, is_utf8

References = Annotated[
    list[str] | None,
    typer.Argument(help="The shop's references; none: all that the filters choose.", metavar="REFERENCE"),
]
StateOption = Annotated[list[State] | None, typer.Option("--state", help="Filter: these states.")]
CodeOption = Annotated[str | None, typer.Option("--error-code", help="Filter: held or rejected for this.")]
AgeOption = Annotated[str | None, typer.Option("--older-than", help="Filter: last changed so long ago, such as 2h.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, max=MOST, help="Filter: so many, oldest first.")]

_DOING = "working through the returns"


def _command(way_out: WayOut, states: list[State], said: str) -> Callable[..., None]:
    """A command for those of the returns that are meant which are in one of the `states`, unless it is told which."""

    def command(
        context: typer.Context,
        references: References = None,
        account: AccountFilter = None,
        state: StateOption = None,
        error_code: CodeOption = None,
        older_than: AgeOption = None,
        limit: LimitOption = None,
        reason: ReasonOption = "",
        by: ByOption = None,
        dry_run: DryRunOption = False,
    ) -> None:
        request = _request(references, account, state, states, error_code, older_than, limit, reason, by, dry_run)
        tell(Session(context, doing=_DOING).call(decide_by_hand, request, way_out), dry_run=dry_run)

    command.__doc__ = said
    return command


retry = _command(
    retried,
    [State.REJECTED, State.NEEDS_ATTENTION],
    "Do again what was rejected, or held after failing too often; a creation in doubt is only looked up.",
)
cancel = _command(
    withdrawn,
    [State.PENDING, State.TRACKING, State.REJECTED, State.NEEDS_ATTENTION],
    "Withdraw returns: at the carrier where that takes it, else they are followed no longer.",
)


def resolve(
    context: typer.Context,
    references: References = None,
    carrier_ref: Annotated[
        str | None, typer.Option("--carrier-ref", help="It is at the carrier, under this number: adopt and follow it.")
    ] = None,
    nothing_there: Annotated[
        bool, typer.Option("--not-created", help="It is not at the carrier: send it again.")
    ] = False,
    from_file: Annotated[
        str | None,
        typer.Option("--from", help="A filled in `list --worklist`; - is stdin.", metavar="FILE"),
    ] = None,
    account: AccountFilter = None,
    state: StateOption = None,
    error_code: CodeOption = None,
    older_than: AgeOption = None,
    limit: LimitOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Say what became of a creation in doubt, after looking for it at the carrier."""
    if from_file is not None:
        if any((references, carrier_ref, nothing_there, account, state, error_code, older_than, limit)):
            fail("error: --from FILE says which, and what became of each", Exit.USAGE)
        tell(read_worklist(context, from_file, person_of(by, reason), dry_run=dry_run), dry_run=dry_run)
        return
    if (carrier_ref is None) == (not nothing_there):
        fail("error: say either --carrier-ref NUMBER or --not-created, or --from FILE", Exit.USAGE)
    if carrier_ref is not None and (len(references or []) != 1 or error_code or older_than or state):
        fail("error: --carrier-ref is for one REFERENCE", Exit.USAGE)
    states = [State.PENDING, State.NEEDS_ATTENTION, State.REJECTED]
    request = _request(references, account, state, states, error_code, older_than, limit, reason, by, dry_run)
    session = Session(context, doing=_DOING)
    if carrier_ref is None:
        done = session.call(decide_by_hand, request, not_created)
    else:
        done = session.call(adopt, request, carrier_ref.strip())
    tell(done, dry_run=dry_run)


def restored(context: typer.Context) -> None:
    """Say that the database was set back by a snapshot: what may have been created since is looked up, or held.

    Restored backups, copies and failovers are noticed without it.
    """
    count = Session(context).call(lambda _, database: declare_restored(database))
    say(f"{count} pending {'return is' if count == 1 else 'returns are'} looked up, or held, before being created")


def _request(
    references: list[str] | None,
    account: str | None,
    state: list[State] | None,
    states: list[State],
    error_code: str | None,
    older_than: str | None,
    limit: int | None,
    reason: str,
    by: str | None,
    dry_run: bool,
) -> Request:
    filtered = bool(state) or error_code is not None or older_than is not None
    if references and (filtered or limit is not None):
        fail("error: give either references or filters, not both", Exit.USAGE)
    if not references and not filtered:
        fail("error: say which: a REFERENCE, or a filter such as --state or --error-code", Exit.USAGE)
    if not is_utf8("".join((*(references or []), account or "", error_code or ""))):
        fail("error: an argument is not UTF-8", Exit.USAGE)
    choice = Choice(account, state or states, error_code, duration_of("--older-than", older_than), limit)
    return Request(references or [], choice, person_of(by, reason), owner_of_command(), dry_run)


def tell(done: list[Settled], *, dry_run: bool) -> None:
    """Say what became of each; with a refusal among them the command has failed."""
    changed, refusals = 0, list[str]()
    for each in done:
        if isinstance(each.outcome, Decision):
            changed += 1
            line = each.outcome.transitions[-1]
            states = dict.fromkeys((each.order.state, each.outcome.order.state))
            answer(shown(f"{each.order.reference}: {' -> '.join(states)}: {line.reason}"))
        else:
            refusals.append(f"{each.order.reference}: refused: {each.outcome.reason}")
    for refused_line in capped(refusals):
        say(shown(refused_line))
    refused = f", {len(done) - changed} refused" if len(done) > changed else ""
    say(f"{counted(changed)} {'would be ' if dry_run else ''}changed{refused}")
    if refused:
        raise typer.Exit(Exit.FAILED)
