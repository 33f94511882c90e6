"""Does what was previewed of one return, and nothing else."""

from dataclasses import replace

from worker.domain.by_hand import Person, Refusal
from worker.domain.previewing import CHANGED, as_seen, sight_of
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases.desk import Settled
from worker.usecases.not_done import NotDone
from worker.usecases.preview import Meant, Preview, decide_meant, find_meant, preview
from worker.usecases.ways import Way
from worker.usecases.without_delay import ask_about, settle


async def do_previewed(
    settings: Settings, database: Database, meant: Meant, sight: str, person: Person, owner: str
) -> Settled | Preview:
    """Do what was previewed; the preview once more where something else would happen by now, or nothing was done.

    A return that a worker has is waited for briefly, the carrier's answer to a question for ten seconds; `owner` signs
    the lease. Raises `NotDone` as `preview` does.
    """
    order_id = await find_meant(settings, database, meant)
    if meant.way is Way.POLL and sight_of(*await decide_meant(settings, database, order_id, meant)) != sight:
        return replace(await preview(settings, database, meant), not_done=CHANGED)
    try:
        if meant.way is Way.POLL:
            done: Settled = await ask_about(settings, database, meant, person, owner)
        else:
            done = await settle(settings, database, order_id, as_seen(meant.way_out, sight), person, owner)
    except NotDone as error:
        return replace(await preview(settings, database, meant), not_done=Refusal(str(error)))
    if isinstance(done.outcome, Refusal):
        return replace(await preview(settings, database, meant), not_done=done.outcome)
    return done
