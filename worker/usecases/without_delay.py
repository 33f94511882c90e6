"""Does to one return what who waits for an answer decided, and waits for a worker or a carrier only briefly."""

from dataclasses import replace

from worker.domain.by_hand import Person, WayOut
from worker.domain.decision import Decision, StepOutcome
from worker.domain.outcomes import Failed
from worker.settings import ConfigurationError, KeyUnavailableError, Settings
from worker.store.database import Database
from worker.usecases.desk import Settled, desk_of
from worker.usecases.not_done import NotDone
from worker.usecases.poll_now import Asked, poll_now
from worker.usecases.preview import Meant, decide_meant, find_meant
from worker.usecases.ways import Way

PATIENCE = 2.0
"""Seconds for which a return that a worker has, or a request out of the pace, is waited for."""

LONGEST_QUESTION = 10.0
"""Seconds that a carrier has to answer; with what is waited for before, less than the 15 that an answer of ours has."""


class NoAnswer(NotDone):
    """The carrier was asked, and gave no answer that tells anything."""


async def do_meant(settings: Settings, database: Database, meant: Meant, person: Person, owner: str) -> Settled:
    """What becomes of the return that is meant; `owner` signs the lease. Raises `NotDone`, as `NoAnswer`."""
    order_id = await find_meant(settings, database, meant)
    if meant.way is Way.POLL:
        return await ask_about(settings, database, meant, person, owner)
    return await settle(settings, database, order_id, meant.way_out, person, owner)


async def would_become(settings: Settings, database: Database, meant: Meant, person: Person) -> Settled:
    """What `do_meant` would make of it, as `preview` says it; of a question only whether it is refused."""
    order_id = await find_meant(settings, database, meant)
    order, outcome = await decide_meant(settings, database, order_id, meant, person)
    return Settled(order, Decision(order, StepOutcome.UNCHANGED) if outcome is None else outcome)


async def settle(
    settings: Settings, database: Database, order_id: int, way_out: WayOut, person: Person, owner: str
) -> Settled:
    """What becomes of one return by a decision."""
    desk = replace(desk_of(settings, database, person, owner), patience=PATIENCE)
    (settled,) = await desk.settle([order_id], way_out)
    return settled


async def ask_about(settings: Settings, database: Database, meant: Meant, person: Person, owner: str) -> Asked:
    """What the carrier says of one return; raises `NotDone`, as `NoAnswer`."""
    which = (meant.reference, meant.account)
    try:
        asked = await poll_now(
            settings, database, *which, person, owner, patience=PATIENCE, longest_answer=LONGEST_QUESTION
        )
    except TimeoutError:
        waited = f"the carrier has not answered within {LONGEST_QUESTION:.0f} seconds; a worker asks it in turn"
        raise NoAnswer(waited) from None
    except (ConfigurationError, KeyUnavailableError):  # their messages name files of this machine
        unread = "what a question to the carrier takes, such as the key, cannot be read; `check` says more"
        raise NotDone(unread) from None
    if isinstance(asked.outcome, Decision) and isinstance(asked.answer, Failed):
        waits = "; the account waits now" if asked.outcome.hold is not None else ""
        raise NoAnswer(f"the carrier was asked, and this is no answer: {asked.answer.message}{waits}")
    return asked
