"""Does to one return what who waits for an answer asks for, and waits for a worker or a carrier only briefly."""

import asyncio
from dataclasses import replace

from worker.domain.by_hand import Person, WayOut, may_be_asked_about
from worker.domain.decision import Decision, StepOutcome
from worker.settings import Settings
from worker.store.database import Database
from worker.store.leases import owner_of_command
from worker.store.upkeep.choice import look_at
from worker.usecases.carrier import require_asking
from worker.usecases.desk import Settled, desk_of, require_number
from worker.usecases.find import find_return
from worker.usecases.poll_now import Asked, poll_now

PATIENCE = 2.0
"""Seconds for which a return that a worker has, or a request out of the pace, is waited for."""

LONGEST_QUESTION = 10.0
"""Seconds that a carrier has to answer."""


async def settle(
    settings: Settings,
    database: Database,
    account: str,
    reference: str,
    person: Person,
    way_out: WayOut,
    number: str | None,
    dry_run: bool,
) -> Settled:
    """What becomes, or would become, of one return; `number`: the carrier's, by which it is found. Raises `NotDone`."""
    order = await find_return(database, reference, account)
    if number is not None:
        require_number(settings, account, number, "carrier_ref")
    desk = replace(desk_of(settings, database, person, owner_of_command()), patience=PATIENCE)
    (settled,) = await desk.settle([order.id], way_out, dry_run=dry_run)
    return settled


async def ask_about(
    settings: Settings, database: Database, account: str, reference: str, person: Person, dry_run: bool
) -> Asked:
    """What the carrier says of one return, or whether it would be asked.

    Raises `NotDone`, `TimeoutError`, and what opening the account's key raises.
    """
    if not dry_run:
        async with asyncio.timeout(LONGEST_QUESTION):
            return await poll_now(settings, database, reference, account, person, owner_of_command(), patience=PATIENCE)
    await require_asking(settings, database, account)
    (seen,) = await look_at(database, [(await find_return(database, reference, account)).id])
    return Asked(seen.order, may_be_asked_about(seen.order) or Decision(seen.order, StepOutcome.UNCHANGED))
