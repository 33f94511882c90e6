"""The command that asks a carrier about a return now."""

import random
from dataclasses import replace
from typing import Annotated

import typer

from worker.cli.carrier import Opened, opened_carrier, refuse_if_held
from worker.cli.context import logs_for, opened_database, run, settings_of, the_order
from worker.cli.inspect import AccountOption
from worker.cli.person import ByOption, owner_of_command, person_of
from worker.cli.talk import Exit, answer, fail, say, shown
from worker.configured import fingerprint_of, policy_of
from worker.domain.decision import Decision
from worker.domain.lifecycle import State
from worker.domain.outcomes import Failed, Tracked
from worker.engine.ask import Asked, Asker
from worker.runtime.clock import lease_clock
from worker.settings import Settings
from worker.store.database import Database


def poll(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The shop's reference.")],
    account: AccountOption = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the history if anything changes.")] = "",
    by: ByOption = None,
) -> None:
    """Ask the carrier now where a return is, out of turn and within the pace; also one that is completed."""

    async def work() -> None:
        settings = settings_of(context, need_keys=True)
        logs_for(settings)
        person = person_of(by, reason)
        async with opened_database(settings) as database:
            order = await the_order(database, reference, account)
            if order.account not in settings.accounts:
                fail(f"error: account {shown(order.account)} is not configured here", Exit.BAD_CONFIGURATION)
            await refuse_if_held(database, order.account)
            async with opened_carrier(settings, database, order.account) as opened:
                asked = await _asker(settings, database, order.account, opened).ask(order.id, person)
        _tell(asked)

    run(work)


def _asker(settings: Settings, database: Database, account: str, opened: Opened) -> Asker:
    return Asker(
        database=database,
        carrier=opened.carrier,
        meter=opened.meter,
        policy=replace(policy_of(settings, account), judges_ages=opened.judges_ages),
        timeout=settings.accounts[account].timeout.total_seconds(),
        key=lambda: fingerprint_of(opened.key()),
        owner=owner_of_command(),
        clock=lease_clock,
        chance=random.random,
        near=opened.near,
    )


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
