"""Which ways out of where it is a return has now: each is asked of the function that would decide it."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum, auto

from worker.domain.by_hand import Person, Refusal, WayOut, cancel, found, may_be_asked_about, not_created, retry
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.from_settings import policies_of
from worker.settings import Settings
from worker.store.database import Database
from worker.store.failures import DatabaseRefused
from worker.store.upkeep.choice import look_at


class Way(Enum):
    """What a person can do about a return."""

    FOUND = auto()  # resolve: it is at the carrier, under a number that the person has
    NOT_CREATED = auto()  # resolve: it is not there
    RETRY = auto()
    POLL = auto()
    CANCEL = auto()


_BY_HAND: dict[Way, WayOut] = {
    Way.FOUND: found("a number"),
    Way.NOT_CREATED: not_created,
    Way.RETRY: retry,
    Way.CANCEL: cancel,
}
_ANY_PERSON = Person("")


def ways_of(order: ReturnOrder, now: datetime, policy: Policy) -> list[Way]:
    """What would not be refused, at this moment; nothing is changed."""
    if order.unreadable is not None:
        return []
    ways = {way for way, by in _BY_HAND.items() if not isinstance(by(order, _ANY_PERSON, now, policy), Refusal)}
    if may_be_asked_about(order) is None:
        ways.add(Way.POLL)
    return [way for way in Way if way in ways]


async def read_ways(settings: Settings, database: Database, ids: Sequence[int]) -> dict[int, list[Way]]:
    """The same of returns by their ids, as they are in the database now.

    Nothing of one that is gone, nor for a role that may not read what decides it, such as a shop's: it may do none of
    it.
    """
    policy_of = policies_of(settings)
    try:
        looked_at = await look_at(database, ids)
    except DatabaseRefused:
        return {}
    return {
        claimed.order.id: ways_of(claimed.order, claimed.claimed_at, policy_of(claimed.order.account))
        for claimed in looked_at
    }
