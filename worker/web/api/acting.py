"""What programs do about one return: the ways out of where it is, and a question to its carrier."""

from worker.domain.by_hand import Refusal
from worker.store.leases import owner_of_command
from worker.usecases.desk import BUSY
from worker.usecases.for_programs import decided
from worker.usecases.poll_now import NO_ROOM
from worker.usecases.preview import Meant
from worker.usecases.ways import Way
from worker.usecases.without_delay import do_meant, would_become
from worker.web.api.asked import Act, Resolve
from worker.web.api.reading import body_of
from worker.web.page import Answer, Page
from worker.web.problems import Kind, Problem


async def retry_return(page: Page) -> Answer:
    """What `returns-worker retry` does."""
    return await _decide(page, body_of(page, Act), Way.RETRY)


async def cancel_return(page: Page) -> Answer:
    """What `returns-worker cancel` does."""
    return await _decide(page, body_of(page, Act), Way.CANCEL)


async def resolve_return(page: Page) -> Answer:
    """What `returns-worker resolve` does."""
    asked = body_of(page, Resolve)
    if asked.carrier_ref is None:
        return await _decide(page, asked, Way.NOT_CREATED)
    return await _decide(page, asked, Way.FOUND, asked.carrier_ref.strip())


async def poll_return(page: Page) -> Answer:
    """What `returns-worker poll` does."""
    return await _decide(page, body_of(page, Act), Way.POLL)


async def _decide(page: Page, asked: Act, way: Way, number: str = "") -> Answer:
    meant = Meant(page.places["account"], page.places["reference"], way, number)
    person = page.person(asked.reason)
    if asked.dry_run:
        settled = await page.act(would_become, meant, person)
    else:
        settled = await page.act(do_meant, meant, person, owner_of_command())
    if isinstance(settled.outcome, Refusal):
        kind = {BUSY: Kind.HELD_BY_WORKER, NO_ROOM: Kind.NO_ROOM}.get(settled.outcome, Kind.REFUSED)
        raise Problem(kind, settled.outcome.reason)
    return page.json(decided(settled.order, settled.outcome) | {"dry_run": asked.dry_run})
