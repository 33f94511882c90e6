"""Does what was previewed of one return, and nothing else."""

import asyncio
from dataclasses import replace

from worker.domain.by_hand import Person, Refusal
from worker.domain.outcomes import Failed
from worker.domain.previewing import CHANGED, as_seen, sight_of
from worker.settings import ConfigurationError, KeyUnavailableError, Settings
from worker.store.database import Database
from worker.usecases.desk import Settled, desk_of
from worker.usecases.poll_now import poll_now
from worker.usecases.preview import Meant, Preview, decide_meant, find_meant, preview
from worker.usecases.ways import Way

_PATIENCE = 2.0  # seconds for which a return that a worker has, or a request out of the pace, is waited for
_LONGEST_QUESTION = 10.0  # seconds: whoever asks by a page has 15 for the whole answer


async def do_previewed(
    settings: Settings, database: Database, meant: Meant, sight: str, person: Person, owner: str
) -> Settled | Preview:
    """Do what was previewed; the preview once more where something else would happen by now, or nothing was done.

    A return that a worker has is waited for briefly, the carrier's answer to a question for ten seconds; `owner` signs
    the lease. Raises `NotDone` as `preview` does.
    """
    order_id = await find_meant(settings, database, meant)
    if meant.way is Way.POLL:
        is_as_shown = sight_of(*await decide_meant(settings, database, order_id, meant)) == sight
        done = await _ask(settings, database, meant, person, owner) if is_as_shown else CHANGED
    else:
        desk = replace(desk_of(settings, database, person, owner), patience=_PATIENCE)
        (settled,) = await desk.settle([order_id], as_seen(meant.way_out, sight))
        done = settled.outcome if isinstance(settled.outcome, Refusal) else settled
    if isinstance(done, Refusal):
        return replace(await preview(settings, database, meant), not_done=done)
    return done


async def _ask(settings: Settings, database: Database, meant: Meant, person: Person, owner: str) -> Settled | Refusal:
    which = (meant.reference, meant.account)
    try:
        async with asyncio.timeout(_LONGEST_QUESTION):
            asked = await poll_now(settings, database, *which, person, owner, patience=_PATIENCE)
    except TimeoutError:
        return Refusal(f"the carrier has not answered within {_LONGEST_QUESTION:.0f} seconds; a worker asks it in turn")
    except (ConfigurationError, KeyUnavailableError):  # their messages name files of this machine
        return Refusal("what a question to the carrier takes, such as the key, cannot be read; `check` says more")
    if isinstance(asked.outcome, Refusal):
        return asked.outcome
    if isinstance(asked.answer, Failed):
        waits = "; the account waits now" if asked.outcome.hold is not None else ""
        return Refusal(f"the carrier was asked, and this is no answer: {asked.answer.message}{waits}")
    return asked
