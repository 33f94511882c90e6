"""Tells from pages of the list whether a creation without an answer happened: exactly that order, or surely none.

What proves that there is none: a list that shows every number we recorded ourselves in its time, and in which each
order that could be the one belongs to another return of ours. Everything between the two is for a person to decide.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from worker.carriers.port import Unintelligible
from worker.carriers.replies import as_document, carrier_moment
from worker.carriers.returnpilot.answers import created
from worker.carriers.shapes import read_id
from worker.domain.lookup import Known, Recorded, begins_at
from worker.domain.outcomes import Absent, Ambiguous, Created
from worker.domain.payload import read_payload
from worker.domain.returns import Address, Party, ReturnOrder
from worker.domain.sameness import may_be_the_customer, may_be_the_reference

_SURELY_REACHED = timedelta(hours=12)
"""How much later than where a search may end an order is surely shown: a carrier whose UTC is a local time is at most
12 hours behind (https://en.wikipedia.org/wiki/UTC%E2%88%9212:00)."""

Document = Mapping[str, Any]


class Search:
    """Looks for one return's order among orders that are listed the newest first."""

    def __init__(self, order: ReturnOrder) -> None:
        self._reference = order.reference
        self._since = begins_at(order)
        self._customer = read_payload(order.payload or "{}")[0].customer
        self._at_end = False
        self._shown: set[str] = set()
        self._exact: dict[str, Document] = {}  # pages shift: an order may be seen twice
        self._alike: dict[str, Document] = {}
        self._theirs: dict[str, Document] = {}  # our customer's, under another reference
        self._unreadable: list[Any] = []

    def look_at(self, documents: Sequence[Any], *, is_last: bool) -> bool:
        """Take in a page; whether the search may end there, since all that follows is older than the first attempt."""
        for document in documents:
            self._take(document)
        self._at_end = is_last
        made = [_made_at(document) for document in documents]
        moments = [moment for moment in made if moment is not None]
        in_order = len(moments) == len(made) and moments == sorted(moments, reverse=True)
        return is_last or (bool(moments) and in_order and moments[-1] < self._since)

    def _take(self, document: Any) -> None:
        number = read_id(document.get("id")) if isinstance(document, dict) else None
        if number is None:
            self._unreadable.append(document)
            return
        self._shown.add(number)
        reference = document.get("reference")
        if _text(reference) == self._reference:
            self._exact[number] = document
        elif may_be_the_reference(self._reference, reference):
            self._alike[number] = document
        elif self._customer is not None and not self._is_older(document) and _is_of(self._customer, document):
            self._theirs[number] = document
        elif _text(reference) is None or "\ufffd" in str(reference):  # bytes that did not decode: it could be any
            self._unreadable.append(document)

    @property
    def numbers(self) -> frozenset[str]:
        """The numbers of which it matters whose they are."""
        unreadable = (read_id(each.get("id")) for each in self._unreadable if isinstance(each, dict))
        numbered = (number for number in unreadable if number is not None)
        return frozenset((*self._exact, *self._alike, *self._theirs, *numbered))

    @property
    def references(self) -> frozenset[str]:
        """The references of which it matters whose they are."""
        orders = (*self._exact.values(), *self._alike.values(), *self._theirs.values())
        return frozenset(text for each in orders if (text := _text(each.get("reference"))) is not None)

    def result(self, known: Known) -> Created | Absent | Ambiguous:
        """What the pages come to; raises `Unintelligible` when they prove nothing."""
        if self._exact:
            return self._of_exact(known)
        alike = {**self._alike, **self._theirs}
        doubtful = {number: each for number, each in alike.items() if not self._is_anothers(number, each, known)}
        if doubtful:
            return _ambiguous(
                f"no order bears this reference, and {_orders(doubtful)}, which no return of ours owns, may be this"
                " creation: it was made since the first attempt for the same customer, or its reference is alike",
                doubtful.values(),
            )
        unreadable = [each for each in self._unreadable if not _is_owned(each, known)]
        if unreadable:
            raise Unintelligible(
                "an order in the list has no readable number or reference", raw=as_document(unreadable[0])
            )
        missing = [each.number for each in known.recorded if each.number not in self._shown and self._reaches(each)]
        if missing:
            raise Unintelligible(
                f"the list does not show {', '.join(missing[:20])}, which we recorded ourselves in its time:"
                " what else it does not show may be there too"
            )
        return Absent()

    def _of_exact(self, known: Known) -> Created | Ambiguous:
        for number in self._exact:
            owner = known.owner_of_number(number) or known.owner_of_reference(self._reference)
            if owner is not None:
                has = "belongs to" if owner.number is not None else "may as well belong to"
                return _ambiguous(
                    f"order {number} bears this reference at the carrier and {has} the return {owner.reference} of"
                    f" account {owner.account}",
                    self._exact.values(),
                )
        alike = {number: each for number, each in self._alike.items() if known.owner_of_number(number) is None}
        (number, document), *others = self._exact.items()
        if not others and not alike and not self._is_older(document):
            return created(document, adopted=True)
        found = {**self._exact, **alike}
        return _ambiguous(
            f"what bears this reference at the carrier ({_orders(found)}) is not surely, or not only, this creation",
            found.values(),
        )

    def _is_anothers(self, number: str, document: Document, known: Known) -> bool:
        """Whether an order is another return's: it has its number, or exactly its reference.

        A reference that is like ours, on an order for our customer, is not enough: both may have come to it.
        """
        if known.owner_of_number(number) is not None:
            return True
        reference = _text(document.get("reference"))
        if reference is None or known.owner_of_reference(reference) is None:
            return False
        return number not in self._alike or self._customer is None or not _is_of(self._customer, document)

    def _reaches(self, recorded: Recorded) -> bool:
        """Whether a whole list would show this number on the pages that were read."""
        return recorded.started_at >= self._since + (timedelta(0) if self._at_end else _SURELY_REACHED)

    def _is_older(self, document: Document) -> bool:
        made = _made_at(document)
        return made is not None and made < self._since


def _ambiguous(message: str, documents: Iterable[Document]) -> Ambiguous:
    shown = [{name: each.get(name) for name in ("id", "reference", "created_at")} for each in documents]
    return Ambiguous(message, as_document(shown[:20]))


def _orders(found: Iterable[str]) -> str:
    numbers = sorted(found, key=int)
    return f"order{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:20])}"


def _is_owned(document: Any, known: Known) -> bool:
    number = read_id(document.get("id")) if isinstance(document, dict) else None
    return number is not None and known.owner_of_number(number) is not None


def _is_of(customer: Party, document: Document) -> bool:
    """Whether an address of the order is our customer's; which of the two the customer's is, no page says."""
    addresses = (document.get(name) for name in ("origin_address", "destination_address"))
    return any(may_be_the_customer(customer, _party(each)) for each in addresses if isinstance(each, dict))


def _party(address: Document) -> Party:
    place = Address(street=_line(address, "line_1"), postal_code=_line(address, "post_code"))
    return Party(_line(address, "name"), _line(address, "email"), address=place)


def _line(address: Document, name: str) -> str:
    return _text(address.get(name)) or ""


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


def _made_at(document: Any) -> datetime | None:
    return carrier_moment(document.get("created_at")) if isinstance(document, dict) else None
