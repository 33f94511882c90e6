"""Reads ReturnPilot's orders: how far one is, what shipments and labels it has; hostile until checked.

Source: pages guide/schemas/{order,shipment,order-line-item}, guide/enums/shipment-statuses and
guide/concepts/pagination of the developer portal. An order has no status of its own, and nothing documents when no more
can come to it: that is told from its shipments, its items and its link.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from worker.carriers.port import Unintelligible
from worker.carriers.replies import Reply, as_document, carrier_moment, clean_text
from worker.carriers.shapes import read_id, read_list, read_word
from worker.domain.outcomes import Created, Tracked
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import StatusMap, TrackingStatus, TrackingUpdate, order_status

_LONGEST_LINK = timedelta(days=365)
_MOST_SHIPMENTS = 1000
_JOINT = ", "  # between the words of an order's shipments
_MOST_SAID = 200  # characters of all shipments' words
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)  # later dates are cut to it, so that a year can be added
_LONGEST_WORD = 50
_NO_WORD = "none"  # in the place of a shipment whose status was never said

SAMPLE_CREATED = b'{"id": 10011, "return_url": "https://app.returnpilot.co/..."}'
"""The documented answer to a creation."""

OPEN_ENDED = frozenset({TrackingStatus.PENDING})
"""No shipment yet: the customer may use his link as long as it is open, which its own date ends."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shipment:
    """One shipment as the carrier describes it; `position` is ours and stays the same."""

    position: int
    word: str
    label_url: str | None
    info: PackageInfo


def read_created(reply: Reply) -> Created:
    """The answer to a creation, which is not wrapped in `data`; raises `Unintelligible` without a usable id."""
    body = reply.json_object()
    if read_id(body.get("id")) is None:
        raise Unintelligible(f"the answer has no usable id: {reply.excerpt()}", raw=reply.raw())
    return created(body)


def created(document: Document, *, adopted: bool = False) -> Created:
    """An order with a usable id as its creation is answered; `adopted`: it was found in the list."""
    update, url = TrackingUpdate(TrackingStatus.PENDING, None), _url(document.get("return_url"))
    number, raw = read_id(document.get("id")) or "", as_document(document)
    return Created(number, update, return_url=url, has_label=False, raw=raw, adopted=adopted)


def read_shown(reply: Reply) -> Document:
    """One order, wrapped in `data`; raises `Unintelligible`."""
    data = read_list(reply.json_object().get("data"))  # the page's text says array, its sample shows an object
    if data is None or len(data) != 1 or not isinstance(data[0], dict):
        raise Unintelligible(f"the answer has no order in data: {reply.excerpt()}", raw=reply.raw())
    return data[0]


def read_listed(reply: Reply, number: int) -> tuple[list[Any], bool]:
    """Page `number` of the list, the newest first, and whether it is the last; raises `Unintelligible`.

    Only `links.next` tells the end: `links.last` is always null. A page that says that it is another one answers
    another question: taken for the first, the last one would look as if there were nothing.
    """
    body = reply.json_object()
    data, links = read_list(body.get("data")), body.get("links")
    if data is None or not isinstance(links, dict) or "next" not in links:
        raise Unintelligible(f"the answer is no page of a list: {reply.excerpt()}", raw=reply.raw())
    meta = body.get("meta")
    said = read_id(meta.get("current_page")) if isinstance(meta, dict) else None
    if said not in (None, str(number)):
        raise Unintelligible(f"page {number} of the list was asked for, and page {said} came", raw=reply.raw())
    return data, not data or links["next"] is None


def own_order(order: ReturnOrder, document: Any) -> Document:
    """The document, if it is about `order`; raises `Unintelligible`.

    A late answer, a cache on the way, or a slip must not make one return's news, or label, another's.
    """
    if not isinstance(document, dict):
        raise Unintelligible("the answer is no order")
    if read_id(document.get("id")) != order.carrier_ref:
        raise Unintelligible("the answer is about another order", raw=as_document(document))
    return document


def read_order(
    order: ReturnOrder, document: Any, statuses: StatusMap, link_grace: timedelta, now: datetime | None
) -> Tracked:
    """Where `order` is, by what the carrier shows of it; raises `Unintelligible`. `now` None: no link has run out."""
    document = own_order(order, document)
    shipments = read_shipments(order, document)
    link = _link_end(document)
    link_over = link is not None and now is not None and now >= link + link_grace
    found = [_meaning(shipment.word, statuses) for shipment in shipments]
    status = order_status(found, all_returned=_all_returned(document), link_over=link_over)
    said = _JOINT.join(shipment.word for shipment in shipments)[:_MOST_SAID]
    moved = [moment for part in _parts(document) if (moment := carrier_moment(part.get("updated_at")))]
    reason = None
    if link_over and status in (TrackingStatus.EXPIRED, TrackingStatus.CANCELLED):
        reason = f"the customer's link ran out at {link:%Y-%m-%d %H:%M} UTC with nothing under way"
    word, raw = said if words(said) else None, as_document(document)
    update = TrackingUpdate(status, word, max(moved, default=None), raw, reason, link_over)
    labels = frozenset(label_urls(shipments, statuses))
    infos, url = tuple(shipment.info for shipment in shipments), _url(document.get("return_url"))
    return Tracked(update, infos, labels, url)


def words(carrier_status: str) -> Sequence[str]:
    """The words of its shipments; what was cut off at the end is left out."""
    return [word for word in _words_by_place(carrier_status) if word not in ("", _NO_WORD)]


def meanings(carrier_status: str, statuses: StatusMap) -> frozenset[TrackingStatus]:
    """Every status that these words of its shipments may come to: they do not say whether more shipments may come."""
    if len(carrier_status) >= _MOST_SAID:
        return frozenset(TrackingStatus)
    found = [_meaning(word, statuses) for word in _words_by_place(carrier_status)]
    ends = ((all_returned, link_over) for all_returned in (False, True) for link_over in (False, True))
    return frozenset(order_status(found, all_returned=every, link_over=over) for every, over in ends)


def read_shipments(order: ReturnOrder, document: Document) -> list[Shipment]:
    """The order's shipments by position: one recorded before keeps its own, new ones follow by their number."""
    numbered: dict[str, Document] = {}
    for part in _parts(document):
        number = read_id(part.get("id")) if isinstance(part, dict) else None
        if number is None:
            raise Unintelligible("a shipment of the order has no usable id", raw=as_document(document))
        numbered[number] = part
    positions = {package.label_code: package.position for package in order.packages if package.label_code}
    following = max(positions.values(), default=0)
    for number in sorted(numbered, key=int):
        if number not in positions:
            following += 1
            positions[number] = following
    before = _said_before(order)
    shipments = [_shipment(positions[number], number, part, before) for number, part in numbered.items()]
    return sorted(shipments, key=lambda shipment: shipment.position)


def label_urls(shipments: Iterable[Shipment], statuses: StatusMap) -> dict[int, str]:
    """Where the labels are that may be needed, by position; a shipment that was refunded has a void one."""
    void = TrackingStatus.CANCELLED
    return {each.position: each.label_url for each in shipments if each.label_url and statuses.read(each.word) != void}


def _parts(document: Document) -> list[Any]:
    """What stands for the order's shipments; an order without has none, or null, or an empty object."""
    parts = read_list(document.get("shipments") or [])
    if parts is None or len(parts) > _MOST_SHIPMENTS:
        raise Unintelligible("the order's shipments are no list", raw=as_document(document))
    return parts


def _words_by_place(carrier_status: str) -> Sequence[str]:
    parts = carrier_status.split(_JOINT) if carrier_status else []  # one empty word would be an unknown one
    return parts[:-1] if len(carrier_status) >= _MOST_SAID else parts


def _said_before(order: ReturnOrder) -> Mapping[int, str]:
    """What was recorded of each shipment, by its position; nothing where it does not show which word is whose."""
    said, positions = _words_by_place(order.carrier_status or ""), sorted(each.position for each in order.packages)
    return dict(zip(positions, said, strict=True)) if len(positions) == len(said) else {}


def _meaning(word: str, statuses: StatusMap) -> TrackingStatus:
    """A shipment of which nothing was said yet has not set out, unless the shop maps that otherwise."""
    return TrackingStatus.PRE_TRANSIT if word == _NO_WORD and not statuses.maps(word) else statuses.read(word)


def _shipment(position: int, number: str, part: Document, before: Mapping[int, str]) -> Shipment:
    """A shipment; where the carrier says no status, it has the one that was recorded last."""
    status = part.get("status")
    word = read_id(status) or read_word(status, _LONGEST_WORD, part) or before.get(position, _NO_WORD)
    info = PackageInfo(
        position,
        label_code=number,
        description=_text(part.get("package")),
        tracking_number=_text(part.get("tracking_number")),
        tracking_url=_url(part.get("tracking_url")),
    )
    url = part.get("label_url")
    return Shipment(position, word, url if isinstance(url, str) and url.strip() else None, info)


def _all_returned(document: Document) -> bool:
    """Whether each item that may be returned has a reason, which is null as long as it is not returned."""
    items = read_list(document.get("line_items"))
    if not items or not all(isinstance(item, dict) for item in items):
        return False
    return all(item.get("reason") is not None for item in items if _is_returnable(item))


def _is_returnable(item: Document) -> bool:
    product = item.get("product")
    return not isinstance(product, dict) or product.get("returnable") is not False


def _link_end(document: Document) -> datetime | None:
    """When the customer's link runs out (here a timestamp, in the request a number of days); at most a year on."""
    end, made = carrier_moment(document.get("link_expires_at")), carrier_moment(document.get("created_at"))
    if end is not None:
        return min(end, _LATEST)
    return None if made is None else min(made, _LATEST) + _LONGEST_LINK


def _text(value: Any) -> str | None:
    return clean_text(str(value), 200) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _url(value: Any) -> str | None:
    """An address to show to a person; anything else than http(s) is left out."""
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        return None
    is_whole = value.isprintable() and " " not in value and "\ufffd" not in value
    return value if is_whole and len(value) <= 2000 else None
