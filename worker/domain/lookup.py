"""What we know ourselves that a carrier's list is judged by, when a creation without an answer is looked up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.domain.returns import ReturnOrder

CLOCK_SLACK = timedelta(hours=15)
"""How far a carrier's clock and the database's may be apart: more than any time zone, as its UTC may be local time.

Looking back further only costs pages; too little could cost a second creation.
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A carrier's number that a worker recorded with a creation, and when that creation began."""

    number: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Owner:
    """A return of ours that has a number, or bears a reference, that a carrier's list shows."""

    account: str
    reference: str
    number: str | None
    same_key: bool = True  # whether its account sends with the key that the list was asked for with


@dataclass(frozen=True, slots=True)
class Known:
    """What we know for certain about orders at a carrier."""

    # The newest numbers recorded with the key of the look-up, before the list was asked for: a whole list shows them.
    recorded: tuple[Recorded, ...] = ()
    owners: tuple[Owner, ...] = ()  # the returns of ours, in any account, that bear what the list shows

    def owner_of_number(self, number: str) -> Owner | None:
        """The return that has this number; it has no other, and no other return has it."""
        return next((owner for owner in self.owners if owner.number == number), None)

    def owner_of_reference(self, reference: str) -> Owner | None:
        """A return that bears exactly this reference and has no number yet: the order may be its own."""
        waiting = (owner for owner in self.owners if owner.same_key and owner.number is None)
        return next((owner for owner in waiting if owner.reference == reference), None)


def begins_at(order: ReturnOrder) -> datetime:
    """From when on a list has to be looked through for a creation without an answer, on the carrier's clock."""
    first_attempt_at = order.first_attempt_at or order.create_started_at
    assert first_attempt_at is not None  # there is nothing to look up before an attempt
    return first_attempt_at - CLOCK_SLACK
