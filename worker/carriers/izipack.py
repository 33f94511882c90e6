"""Izipack: returns by `POST /shipment/retour`, the label and the status by order number.

Source: Izipack's public documentation (izipack.github.io/documentation, 2023-06-02), pages "Returning packages",
"Getting started" and "Authenticating". It publishes no limits, one status word (`Created`), no look-up by reference, no
idempotency key and no cancellation: a creation whose outcome is unknown can be neither checked nor undone.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from worker.carriers.edge import HttpEdge
from worker.carriers.port import Creation, LabelDocument, LabelNotReady, NotFound, Unintelligible
from worker.carriers.replies import Reply, as_document, carrier_moment, clean_text
from worker.carriers.shapes import Problems, finished, read_list, read_text, read_word
from worker.domain.outcomes import Created, Tracked
from worker.domain.payload import COUNTRIES, MOST_PARTS, count_packages, read_payload, reference_problems
from worker.domain.returns import PackageInfo, Parcel, Party, ReturnOrder
from worker.domain.tracking import StatusMap, TrackingStatus, TrackingUpdate

BASE_URL = "https://shipping-api.izipack.nl"
OPERATIONS = ("create", "label", "track")
BUILT_IN_STATUSES = StatusMap({"Created": TrackingStatus.PRE_TRANSIT})

SAMPLE_CREATED = b'{"orderNumber": "9RET326720205706", "packages": [{"labelCode": "7RET063502270276"}]}'
"""The documented answer to a creation, without the fields that are not read."""

ZIP_CODE = "zipCode"
"""The documentation spells it `zipcode` and `zipCode` in one sample; the vendor's newer names are camelCase."""

_TIME_ZONE = ZoneInfo("Europe/Amsterdam")  # pick-up days are the Netherlands'
# The documented ones are 13 to 16 letters and digits; 0 is what a number that was never set looks like.
_ORDER_NUMBER = re.compile(r"(?!0+$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# The documented ones have 16 and 36 characters. PostgreSQL's index on them takes some 2700 bytes.
_LONGEST_CODE = 100

# Brackets, quotation marks and what ends a part of a sentence may stand at a word; anything else there is a part of it.
_BEFORE, _BEHIND = r"""[#(\[{<"'«‹„“‘]*""", r"""[)\]}>"'»›“”’.,;:!?]*"""

_SIDES = ("height", "width", "depth", "weight")

_SHOWN = frozenset({"status", "orderNumber", "deliveryDateUtc", "packages"})
"""The fields of an answer about a return, now or in an older version: an object without any is about something else."""


@dataclass(frozen=True, slots=True)
class Izipack:
    """One Izipack account."""

    edge: HttpEdge
    statuses: StatusMap
    receiver: Mapping[str, Any] | None  # where a return goes that names none
    reject_past_pickup: bool
    max_label_bytes: int
    any_label_pages: bool  # a label need not have the documented page for each package

    def prepare(self, order: ReturnOrder) -> Creation:
        """Check the payload and build the request; raises `InvalidPayload`."""
        earliest = datetime.now(_TIME_ZONE).date() if self.reject_past_pickup else None
        return Creation(build_request(order.payload or "", order.reference, self.receiver, earliest))

    async def create(self, creation: Creation) -> Created:
        """Create the return; an answer that leaves room for doubt is `OutcomeUnknown`."""
        return await self.edge.create("create", "/shipment/retour", creation.body, read_created)

    async def label(self, order: ReturnOrder) -> LabelDocument:
        """Fetch the label, one PDF with a page for each package."""
        try:
            reply = await self.edge.ask(
                "label",
                f"{_path(order)}/label",
                _whole,
                accept="application/pdf",
                max_bytes=self.max_label_bytes,
                fresh=True,  # a document does not say whose it is
            )
        except NotFound as error:
            raise LabelNotReady(error.message) from error
        if reply.status != 200:  # 202 and 204 are what others answer while a label is being made
            raise LabelNotReady(f"the carrier answered {reply.status} instead of a label")
        # The payload of a return that was adopted may name no packages: then their number is not known.
        pages = None if self.any_label_pages else count_packages(order.payload or "{}") or None
        return LabelDocument(1, reply.content, pages)

    async def track(self, order: ReturnOrder) -> Tracked:
        """Ask for the status."""
        return await self.edge.ask("track", _path(order), lambda reply: read_status(reply, order, self.statuses))

    async def ping(self) -> None:
        """Ask for a return that cannot exist: a 404 shows that host and key are right."""
        with suppress(NotFound):
            await self.edge.ask("ping", "/shipment/0", lambda reply: None)

    @property
    def warnings(self) -> Sequence[str]:
        """Izipack documents no terminal word: until the shop maps one, only `max_age` ends the polling."""
        if self.statuses.has_terminal:
            return ()
        return ("status_map has no terminal word: returns are polled until polling.max_age and then expire",)

    async def close(self) -> None:
        """Close its connections."""
        await self.edge.close()


def authorization(key: str) -> Mapping[str, str]:
    """The header that carries the key (page "Authenticating")."""
    return {"x-api-key": key}


def receiver_problems(receiver: Mapping[str, Any]) -> list[str]:
    """What is wrong with an account's receiver: each return that names none of its own would be rejected for it."""
    request, found = read_payload("{}", receiver)
    problems = Problems(found)
    _check_party("receiver", request.receiver, problems)
    return problems


def build_request(
    payload: str, reference: str, default_receiver: Mapping[str, Any] | None, earliest_pickup: date | None
) -> dict[str, Any]:
    """The body of `POST /shipment/retour`; raises `InvalidPayload` with every problem.

    Dimensions go out as integers in the unit that the shop agreed on with Izipack, which documents none.
    """
    request, found = read_payload(payload, default_receiver)
    problems = Problems(found)
    _check_party("customer", request.customer, problems)
    _check_party("receiver", request.receiver, problems)
    _check_packages(request.packages, problems)
    if earliest_pickup and request.pickup_date and request.pickup_date < earliest_pickup:
        problems.append(f"pickup_date: lies before today, {earliest_pickup}")
    problems += reference_problems(reference)
    body: dict[str, Any] = {
        "sender": _party(request.customer),
        "receiver": _party(request.receiver),
        "pickUpDate": request.pickup_date.isoformat() if request.pickup_date else "",
        "description": _description(request.description, reference),
        "companyName": request.company_name,
        "toAttentionOf": request.attention_of,
        "packages": [
            _without_empty({"dimensions": _sizes(parcel), "description": parcel.description})
            for parcel in request.packages
        ],
    }
    return _without_empty(finished(body, request.carrier_fields, problems))


def read_created(reply: Reply) -> Created:
    """A creation's answer: a success only with a usable `orderNumber`; raises `Unintelligible`."""
    body = reply.json_object()
    number = (read_text(body.get("orderNumber")) or "").strip()
    if not _ORDER_NUMBER.fullmatch(number):
        raise Unintelligible(f"the answer has no usable orderNumber: {reply.excerpt()}", raw=reply.raw())
    return Created(number, None, _packages(body.get("packages")), raw=as_document(body))


def read_status(reply: Reply, order: ReturnOrder, statuses: StatusMap) -> Tracked:
    """A status; an unknown word is `unknown`, never a guess, and none at all is no news.

    Raises `Unintelligible` when it is no answer about a return, or about another one's: the documented answer does not
    repeat the number, an older version's did. The caller finds out whose the label codes are that it names.
    `deliveryDateUtc` is set long before delivery (the sample is `Created`), so it dates an observation only once the
    status itself is `delivered`.
    """
    body = reply.json_object()
    if not _SHOWN.intersection(body):
        raise Unintelligible(f"the answer is no return's: {reply.excerpt()}", raw=reply.raw())
    number = _text(body.get("orderNumber"))
    if number is not None and _folded(number) not in ("", _folded(order.carrier_ref or "")):
        raise Unintelligible(f"the answer is about another order, {number[:100]}", raw=reply.raw())
    word = read_word(body.get("status"), 200, body)
    update = None
    if word is not None:
        status = statuses.read(word)
        delivered_at = carrier_moment(body.get("deliveryDateUtc")) if status is TrackingStatus.DELIVERED else None
        update = TrackingUpdate(status, word, delivered_at, as_document(body))
    codes = [(place, _code(package.get("labelCode"))) for place, package in _placed(body.get("packages"))]
    return Tracked(update, codes=tuple((place, code) for place, code in codes if code is not None))


def is_number(text: str) -> bool:
    """Whether it could be an order's number; it becomes a part of a path."""
    return _ORDER_NUMBER.fullmatch(text) is not None


def _whole(reply: Reply) -> Reply:
    if reply.damage:
        raise Unintelligible(f"the label is of no use: {reply.damage}")
    return reply


def _path(order: ReturnOrder) -> str:
    return f"/shipment/{quote(order.carrier_ref or '', safe='')}"


def _check_party(name: str, party: Party | None, problems: Problems) -> None:
    if party is None:
        hint = "; or configure the account's receiver" if name == "receiver" else ""
        problems.add(name, f"is required{hint}")
        return
    address = party.address
    required = {
        "name": party.name,
        "address.street": address.street,
        "address.house_number": address.house_number,
        "address.postal_code": address.postal_code,
        "address.city": address.city,
        "address.country": address.country,
    }
    for path, value in required.items():
        if not value:
            problems.add(f"{name}.{path}", "is required")
    if address.country and address.country not in COUNTRIES:
        assigned = f"{address.country} is not officially assigned in ISO 3166-1"
        problems.add(f"{name}.address.country", assigned)


def _check_packages(packages: Sequence[Parcel], problems: Problems) -> None:
    if not packages:
        problems.add("packages", "at least one is required")
    for index, parcel in enumerate(packages):
        usable = _sizes(parcel)
        for side in _SIDES:
            if side not in usable:
                problems.add(f"packages[{index}].{side}", "must be a whole number above 0")


def _sizes(parcel: Parcel) -> dict[str, int]:
    """Each size that can go out: a whole number above 0."""
    sizes: dict[str, Decimal | None] = {side: getattr(parcel, side) for side in _SIDES}
    return {side: int(size) for side, size in sizes.items() if size and size > 0 and size == size.to_integral_value()}


def _party(party: Party | None) -> dict[str, Any]:
    party = party or Party()
    address = party.address
    return {
        "name": party.name,
        "emailAddress": party.email,
        "phoneNumber": party.phone,
        "address": {
            "country": address.country,
            "street": address.street,
            # There is no field for a second line: behind the number it still reaches the driver.
            "housenumber": " ".join(filter(None, (address.house_number, address.line_2))),
            ZIP_CODE: address.postal_code,
            "city": address.city,
        },
    }


def _description(description: str, reference: str) -> str:
    """The only place a shop's own number has: a person must be able to find the return by it.

    It must stand there as a word of its own and as it is written, case and all, since no page says how the carrier's
    search compares: to have it twice does no harm, and a search for 12 that shows 123 finds another return.
    """
    if not description:
        return f"Return {reference}"
    is_there = re.search(rf"(?<!\S){_BEFORE}{re.escape(reference)}{_BEHIND}(?!\S)", description)
    return description if is_there else f"{description} ({reference})"


def _without_empty(body: dict[str, Any]) -> dict[str, Any]:
    """Fields the shop left empty are left out: nothing says that Izipack takes an empty text for none."""
    return {
        name: _without_empty(value) if isinstance(value, dict) else value for name, value in body.items() if value != ""
    }


def _packages(value: Any) -> tuple[PackageInfo, ...]:
    """The answer's packages in its order; what is misshapen is left out, since the order number is what counts."""
    return tuple(
        PackageInfo(place, _code(package.get("labelCode")), _text(package.get("description")))
        for place, package in _placed(value)
    )


def _placed(value: Any) -> list[tuple[int, dict[str, Any]]]:
    packages = (read_list(value) or [])[:MOST_PARTS]
    return [(place, package) for place, package in enumerate(packages, start=1) if isinstance(package, dict)]


def _folded(number: str) -> str:
    """The number in one spelling; empty for nothing but zeros, which is a number that was never set."""
    return number.strip().casefold().lstrip("0")


def _code(value: Any) -> str | None:
    """A label code; None for a text that is too long for one, since its beginning may be another's."""
    code = (_text(value) or "").strip()
    return code if 0 < len(code) <= _LONGEST_CODE else None


def _text(value: Any) -> str | None:
    return clean_text(read_text(value) or "") or None
