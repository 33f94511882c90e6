"""The ways out of `rejected` and `needs_attention`, for a person: retry, resolve, cancel; and what a restore means."""

from dataclasses import astuple, dataclass
from typing import Annotated

import typer

from worker.cli.options import (
    AccountFilter,
    Decider,
    DryRunOption,
    StateFilter,
    duration_of,
    grouped,
    owner_of_command,
)
from worker.cli.output import MOST, Exit, answer, counted, fail, say, shown
from worker.cli.session import Session
from worker.cli.worklist import read_worklist
from worker.domain.by_hand import cancel as withdrawn
from worker.domain.by_hand import not_created
from worker.domain.by_hand import retry as retried
from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.store.restores import declare_restored
from worker.store.upkeep.choice import Choice
from worker.usecases.desk import Request, Settled, adopt, decide_by_hand
from worker.usecases.not_done import capped, is_utf8


@dataclass(frozen=True, slots=True)
class Meant:
    """The options that say which returns are meant."""

    references: Annotated[
        list[str] | None,
        typer.Argument(help="The shop's references; none: all that the filters choose.", metavar="REFERENCE"),
    ] = None
    account: AccountFilter = None
    state: StateFilter = None
    error_code: Annotated[str | None, typer.Option("--error-code", help="Filter: this error code.")] = None
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Filter: last changed so long ago, such as 2h.")
    ] = None
    limit: Annotated[int | None, typer.Option("--limit", min=1, max=MOST, help="Filter: so many, oldest first.")] = None

    def request(self, states: list[State], decider: Decider, dry_run: bool) -> Request:
        """What is asked for: of the returns that are meant those in one of `states`, unless --state says which."""
        filtered = bool(self.state) or self.error_code is not None or self.older_than is not None
        if self.references and (filtered or self.limit is not None):
            fail("error: give either references or filters, not both", Exit.USAGE)
        if not self.references and not filtered:
            fail("error: say which: a REFERENCE, or a filter such as --state or --error-code", Exit.USAGE)
        if not is_utf8("".join((*(self.references or []), self.account or "", self.error_code or ""))):
            fail("error: an argument is not UTF-8", Exit.USAGE)
        older_than = duration_of("--older-than", self.older_than)
        choice = Choice(self.account, self.state or states, self.error_code, older_than, self.limit)
        return Request(self.references or [], choice, decider.person, owner_of_command(), dry_run)


_DOING = "working through the returns"


@grouped
def retry(context: typer.Context, meant: Meant, decider: Decider, dry_run: DryRunOption = False) -> None:
    """Do again what was rejected, or failed too often; a creation in doubt is only looked up."""
    request = meant.request([State.REJECTED, State.NEEDS_ATTENTION], decider, dry_run)
    tell(Session(context, doing=_DOING).call(decide_by_hand, request, retried), dry_run=dry_run)


@grouped
def cancel(context: typer.Context, meant: Meant, decider: Decider, dry_run: DryRunOption = False) -> None:
    """Withdraw returns: at the carrier where that takes it, else they are followed no longer."""
    request = meant.request([State.PENDING, State.TRACKING, State.REJECTED, State.NEEDS_ATTENTION], decider, dry_run)
    tell(Session(context).call(decide_by_hand, request, withdrawn), dry_run=dry_run)


@grouped
def resolve(
    context: typer.Context,
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
    *,
    meant: Meant,
    decider: Decider,
    dry_run: DryRunOption = False,
) -> None:
    """Say what became of a creation in doubt, after looking for it at the carrier."""
    if from_file is not None:
        if carrier_ref or nothing_there or any(astuple(meant)):
            fail("error: --from FILE says which, and what became of each", Exit.USAGE)
        tell(read_worklist(context, from_file, decider.person, dry_run=dry_run), dry_run=dry_run)
        return
    if (carrier_ref is None) == (not nothing_there):
        fail("error: say either --carrier-ref NUMBER or --not-created, or --from FILE", Exit.USAGE)
    if carrier_ref is not None and (
        len(meant.references or []) != 1 or meant.error_code or meant.older_than or meant.state
    ):
        fail("error: --carrier-ref is for one REFERENCE", Exit.USAGE)
    request = meant.request([State.PENDING, State.NEEDS_ATTENTION, State.REJECTED], decider, dry_run)
    session = Session(context, doing=_DOING)
    if carrier_ref is None:
        done = session.call(decide_by_hand, request, not_created)
    else:
        done = session.call(adopt, request, carrier_ref.strip())
    tell(done, dry_run=dry_run)


def restored(context: typer.Context) -> None:
    """Say that a snapshot set the database back: what may be at the carrier is looked up, or needs attention.

    Restored backups, copies and failovers are noticed without it.
    """
    count = Session(context).call(lambda _, database: declare_restored(database))
    are = "return is" if count == 1 else "returns are"
    say(f"{count} pending {are} looked up, or left to a person, before being created")


def tell(done: list[Settled], *, dry_run: bool) -> None:
    """Say what became of each; a refusal among them makes the command fail."""
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
