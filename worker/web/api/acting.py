"""What programs do about one return: the ways out of where it is, and a question to its carrier."""

from worker.domain.by_hand import Refusal, WayOut, cancel, found, not_created, retry
from worker.domain.decision import Decision
from worker.domain.outcomes import Failed
from worker.settings import ConfigurationError, KeyUnavailableError
from worker.usecases.desk import BUSY, Settled
from worker.usecases.for_programs import decided
from worker.usecases.poll_now import NO_ROOM
from worker.usecases.without_delay import LONGEST_QUESTION, ask_about, settle
from worker.web.api.asked import Act, Resolve
from worker.web.api.reading import body_of, person_of
from worker.web.page import Answer, Page
from worker.web.problems import Kind, Problem


async def retry_return(page: Page) -> Answer:
    """What `returns-worker retry` does."""
    return await _decide(page, body_of(page, Act), retry)


async def cancel_return(page: Page) -> Answer:
    """What `returns-worker cancel` does."""
    return await _decide(page, body_of(page, Act), cancel)


async def resolve_return(page: Page) -> Answer:
    """What `returns-worker resolve` does."""
    asked = body_of(page, Resolve)
    if asked.carrier_ref is None:
        return await _decide(page, asked, not_created)
    number = asked.carrier_ref.strip()
    return await _decide(page, asked, found(number), number)


async def poll_return(page: Page) -> Answer:
    """What `returns-worker poll` does."""
    asked = body_of(page, Act)
    try:
        settled = await page.act(ask_about, *_named(page), person_of(page, asked.reason), asked.dry_run)
    except TimeoutError:
        waited = f"The carrier has not answered within {LONGEST_QUESTION:.0f} seconds; a worker asks it in turn."
        raise Problem(Kind.NO_ANSWER, waited) from None
    except (ConfigurationError, KeyUnavailableError):  # their messages name files of this machine
        raise Problem(Kind.REFUSED, "The account's key cannot be read; `returns-worker check` says more.") from None
    if isinstance(settled.outcome, Decision) and isinstance(settled.answer, Failed):
        waits = "; the account waits now" if settled.outcome.hold is not None else ""
        raise Problem(Kind.NO_ANSWER, f"{settled.answer.message}{waits}")
    return _told(page, settled, asked)


async def _decide(page: Page, asked: Act, way_out: WayOut, number: str | None = None) -> Answer:
    person = person_of(page, asked.reason)
    return _told(page, await page.act(settle, *_named(page), person, way_out, number, asked.dry_run), asked)


def _named(page: Page) -> tuple[str, str]:
    return page.places["account"], page.places["reference"]


def _told(page: Page, settled: Settled, asked: Act) -> Answer:
    if isinstance(settled.outcome, Refusal):
        kind = {BUSY: Kind.HELD_BY_WORKER, NO_ROOM: Kind.NO_ROOM}.get(settled.outcome, Kind.REFUSED)
        raise Problem(kind, settled.outcome.reason)
    return page.json(decided(settled.order, settled.outcome) | {"dry_run": asked.dry_run})
