"""The command that asks a carrier about a return now."""

from typing import Annotated

import typer

from worker.cli.options import AccountOption, ByOption, ReferenceArgument, owner_of_command, person_of
from worker.cli.output import answer, fail, say, shown
from worker.cli.session import Session
from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.domain.outcomes import Failed, Tracked
from worker.usecases.poll_now import Asked, poll_now


def poll(
    context: typer.Context,
    reference: ReferenceArgument,
    account: AccountOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the history if anything changes.")] = "",
    by: ByOption = None,
) -> None:
    """Ask the carrier now where a return is, out of turn and within the pace; also one that is completed."""
    session, person = Session(context, need_keys=True, doing="asking the carrier"), person_of(by, reason)
    _tell(session.call(poll_now, reference, account, person, owner_of_command()))


def _tell(asked: Asked) -> None:
    before, outcome = asked.order, asked.outcome
    if not isinstance(outcome, Decision):
        fail(shown(f"error: {before.reference}: {outcome.reason}"))
    after = outcome.order
    if isinstance(asked.answer, Tracked):
        said = asked.answer.update.carrier_status if asked.answer.update else None
        say(shown(f"the carrier says {said or 'nothing yet'}"))
    word = f" ({after.carrier_status})" if after.carrier_status else ""
    answer(shown(f"{after.reference}: {after.tracking_status}{word}, {after.state}"))
    for line in outcome.transitions:
        say(shown(f"{line.field}: {line.old_value} -> {line.new_value}" + (f" ({line.reason})" if line.reason else "")))
    if isinstance(asked.answer, Failed):
        waits = "; the account waits now" if outcome.hold is not None else ""
        fail(shown(f"error: {asked.answer.message}{waits}"))
    if after.state is State.TRACKING:
        say(f"next asked at {after.track_due_at:%Y-%m-%d %H:%M:%S} UTC")
