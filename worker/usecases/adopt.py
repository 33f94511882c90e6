"""Brings in returns that are at the carrier already: it is asked about each of them, and all go in, or none."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from worker.domain.by_hand import Person, brought_in
from worker.domain.decision import Decision
from worker.domain.outcomes import OUTAGES, TURNED_AWAY, Adopted, Failed, Outcome, Tracked
from worker.domain.returns import ReturnOrder
from worker.engine.meter import Allowance
from worker.engine.perform import adopt
from worker.from_settings import policies_of
from worker.settings import Settings
from worker.store.database import Database
from worker.store.records import CarrierRefTaken
from worker.store.upkeep.adoption import Adoption, insert_adopted
from worker.store.upkeep.intake import InsertRefused, NewReturn
from worker.usecases.adoptable import Existing, problems_of
from worker.usecases.carrier import Opened, opened_carrier
from worker.usecases.not_done import NotConfigured, NotDone

Tell = Callable[[int, int | None], None]
"""Told about how many of how many the carriers were asked."""

_AGAIN_AFTER = (1.0, 5.0)  # seconds: a whole file is not in vain for one answer that is lost
_UNASKED = "nothing was adopted; `--unasked` believes the numbers, and the worker asks later"


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of each; or, where there are `problems`, a line for each that cannot be: then none was adopted."""

    adopted: Sequence[tuple[Existing, Decision]] = ()
    problems: Sequence[str] = ()


async def bring_in(
    settings: Settings,
    database: Database,
    existing: Sequence[Existing],
    person: Person,
    owner: str,
    *,
    unasked: bool,
    tell: Tell,
) -> Brought:
    """Ask the carriers about all of them, within the pace, unless they are believed `unasked`; then put them in.

    Raises `NotDone` where a carrier cannot be asked, or does not answer.
    """
    problems = await problems_of(settings, database, existing)
    answers: Sequence[Tracked | None] = [None] * len(existing)
    if not problems and not unasked:
        answers, problems = await _ask(settings, database, existing, tell)
    if problems:
        return Brought(problems=problems)
    policy_of = policies_of(settings)
    adoptions = [
        Adoption(
            NewReturn(each.account, each.reference, each.payload),
            each.carrier_ref,
            partial(brought_in, seen=answer, person=person, policy=policy_of(each.account), chance=random.random()),
        )
        for each, answer in zip(existing, answers, strict=True)
    ]
    try:
        decided = await insert_adopted(database, adoptions, owner)
    except CarrierRefTaken:
        return Brought(problems=["another return got one of these numbers a moment ago: try again"])
    except InsertRefused as error:
        return Brought(problems=[str(error)])
    return Brought(list(zip(existing, decided, strict=True)))


async def _ask(
    settings: Settings, database: Database, existing: Sequence[Existing], tell: Tell
) -> tuple[list[Tracked | None], list[str]]:
    """What the carriers say of each, and a line for each that they do not know, or say nothing useful of."""
    answers: list[Tracked | None] = []
    problems: list[str] = []
    async with AsyncExitStack() as stack:
        opened: dict[str, Opened] = {}
        for account in sorted({each.account for each in existing}):
            try:
                opened[account] = await stack.enter_async_context(opened_carrier(settings, database, account))
            except NotConfigured:
                raise
            except NotDone as error:
                raise NotDone(f"{error}; {_UNASKED}") from error
        for count, each in enumerate(existing):
            tell(count, len(existing))
            outcome = await _asked(opened[each.account], each)
            answers.append(outcome.seen if isinstance(outcome, Adopted) else None)
            if not isinstance(outcome, Adopted):
                why = outcome.message if isinstance(outcome, Failed) else "another return has it by now"
                problems.append(f"{each.place}: {each.carrier_ref}: {why}")
    return answers, problems


async def _asked(opened: Opened, each: Existing) -> Outcome:
    """Raises `NotDone` for what is not about this return: the account is turned away, or the carrier is away."""
    order = ReturnOrder(0, each.account, each.reference, adopt_carrier_ref=each.carrier_ref)
    pauses = iter(_AGAIN_AFTER)
    while True:
        key = opened.key()
        with opened.meter.spending(Allowance(begin_until=None)):
            outcome = await adopt(order, opened.carrier, opened.database, opened.near)
        if not isinstance(outcome, Failed) or outcome.kind not in OUTAGES | TURNED_AWAY:
            return outcome
        await opened.hold_if_turned_away(outcome, key)
        pause = None if outcome.kind in TURNED_AWAY else next(pauses, None)
        if pause is None:
            raise NotDone(f"account {each.account}: {outcome.message}; {_UNASKED}")
        await asyncio.sleep(pause)
