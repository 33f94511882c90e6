"""One ReturnPilot account: its requests, and what each answer means to the worker."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from worker.carriers.edge import HttpEdge
from worker.carriers.port import (
    Creation,
    LabelDocument,
    LabelNotReady,
    LabelUnreachable,
    OutcomeUnknown,
    Page,
    Refused,
    Unintelligible,
)
from worker.carriers.returnpilot.answers import (
    label_urls,
    own_order,
    read_created,
    read_listed,
    read_order,
    read_shipments,
    read_shown,
)
from worker.carriers.returnpilot.links import Link, ShownLinks, next_link
from worker.carriers.returnpilot.request import build_request
from worker.carriers.returnpilot.search import Search
from worker.carriers.shapes import read_id
from worker.domain.outcomes import Created, Tracked
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import StatusMap, TrackingStatus

T = TypeVar("T")

BASE_URL = "https://app.returnpilot.co/api/v1"
OPERATIONS = ("create", "lookup", "label", "track", "sweep", "cancel")
# Page guide/enums/shipment-statuses since 2025-07-20: Pending, Transit, Arrived, Refunded. The numbers have been given
# new meanings three times, so they are data, and `status_map` overrides them.
BUILT_IN_STATUSES = StatusMap(
    {
        "1": TrackingStatus.PRE_TRANSIT,
        "2": TrackingStatus.IN_TRANSIT,
        "3": TrackingStatus.DELIVERED,
        "4": TrackingStatus.CANCELLED,
    }
)
PAGE_SIZE = 50  # the most it gives (page guide/concepts/pagination)

_LABELS = ("application/pdf", "image/png", "application/zpl")  # nothing documents which of them it is
_MOST_PAGES = 200  # of a look-up: 10,000 orders in the time of one creation are not the list we know
_LISTED_BYTES = 10_000_000  # 50 orders of 100 items each


@dataclass(frozen=True, slots=True)
class ReturnPilot:
    """One organisation's account."""

    edge: HttpEdge
    statuses: StatusMap
    label_hosts: tuple[str, ...]  # hosts of labels that need not be public
    max_label_bytes: int
    link_grace: timedelta  # how long after its end a customer's link may still have been used
    clock: Callable[[], datetime | None]  # None while it is not to be believed: then no link has run out
    shown: ShownLinks = field(default_factory=ShownLinks)

    def prepare(self, order: ReturnOrder) -> Creation:
        """Check the payload and build the request; raises `InvalidPayload`."""
        return Creation(build_request(order.payload or "", order.reference))

    async def create(self, creation: Creation) -> Created:
        """Create the order, which mails the customer; an answer that leaves room for doubt is `OutcomeUnknown`."""
        try:
            # A gateway may say 503 after it has passed the request on; looking costs little, and sends no mail.
            return await self.edge.create("create", "/orders", creation.body, read_created, trust_503=False)
        except Refused as error:
            if _is_about_the_reference(error.raw):
                # Nothing says whether references must be unique: it may be there from an attempt before.
                raise OutcomeUnknown(error.message, raw=error.raw) from error
            raise

    async def look_up(self, order: ReturnOrder) -> Search:
        """Read the list back to the first attempt."""
        search = Search(order)
        for number in range(1, _MOST_PAGES + 1):
            # A page does not say what was asked for: an older one would show that what is there is not.
            documents, is_last = await self._list("lookup", number, fresh=True)
            if search.look_at(documents, is_last=is_last):
                return search
        raise Unintelligible(f"{_MOST_PAGES} pages of the list go back less far than the creation looked for")

    async def track(self, order: ReturnOrder) -> Tracked:
        """Ask for one order."""
        return await self._show(order, "track", lambda document: self.read(order, document))

    async def page(self, number: int) -> Page:
        """A page of the list, whole orders."""
        documents, is_last = await self._list("sweep", number)
        numbered = ((read_id(each.get("id")), each) for each in documents if isinstance(each, dict))
        return Page({number: each for number, each in numbered if number is not None}, is_last)

    def place(self, carrier_ref: str) -> int | None:
        """Its id: the list has the newest order first."""
        number = read_id(carrier_ref)
        return None if number is None else int(number)

    def read(self, order: ReturnOrder, sighting: Any) -> Tracked:
        """Where `order` is, by what the carrier shows of it; its label can be fetched without asking once more."""
        seen = read_order(order, sighting, self.statuses, self.link_grace, self.clock())
        if not seen.labels <= order.labels:
            self.shown.keep(order, self._label_urls(order, sighting))
        return seen

    async def label(self, order: ReturnOrder) -> LabelDocument:
        """Fetch one of the labels that are missing, by an address that was just shown, else the order is asked for."""
        if (link := self.shown.take(order)) is not None:
            with suppress(LabelUnreachable):  # its time may be over: then the order says which is good now
                return await self._fetch(order, link)
        urls = await self._show(order, "label", lambda document: self._label_urls(order, document), fresh=True)
        if (link := next_link(order, urls)) is None:
            raise LabelNotReady("no shipment has a label that is not stored")
        return await self._fetch(order, link)

    async def cancel(self, order: ReturnOrder) -> None:
        """Delete the order; the carrier refuses that once the customer has scheduled a return."""
        await self.edge.delete("cancel", _path(order))

    async def ping(self) -> None:
        """Ask for one order of the list."""
        await self.edge.ask("ping", "/orders?page=1&limit=1", lambda reply: read_listed(reply, 1))

    @property
    def warnings(self) -> Sequence[str]:
        """Whether a shipment's arrival can be read at all, since numbers can be mapped away, and by their names."""
        lines = []
        if not self.statuses.has_terminal:
            lines.append("status_map leaves no terminal word: returns are polled until polling.max_age and then expire")
        if names := [word for word in self.statuses.words if not word.isdecimal()]:
            lines.append(
                f"status_map has {', '.join(names)}: the documented words are numbers (1 to 4), so these may never"
                " come; see returns-worker statuses"
            )
        return tuple(lines)

    async def close(self) -> None:
        """Close its connections."""
        await self.edge.close()

    def _label_urls(self, order: ReturnOrder, document: Mapping[str, Any]) -> Mapping[int, str]:
        return label_urls(read_shipments(order, document), self.statuses)

    async def _fetch(self, order: ReturnOrder, link: Link) -> LabelDocument:
        reply = await self.edge.fetch_link(
            "label",
            link.url,
            named_at=_path(order),
            accept=", ".join(_LABELS),
            max_bytes=self.max_label_bytes,
            trusted_hosts=self.label_hosts,
        )
        return LabelDocument(link.position, reply.content, None, _LABELS, more=link.more)

    async def _show(
        self, order: ReturnOrder, operation: str, read: Callable[[Mapping[str, Any]], T], *, fresh: bool = False
    ) -> T:
        """Ask for the order, and `read` it as a part of the request: what makes no sense is counted so."""
        return await self.edge.ask(
            operation, _path(order), lambda reply: read(own_order(order, read_shown(reply))), fresh=fresh
        )

    async def _list(self, operation: str, number: int, *, fresh: bool = False) -> tuple[list[Any], bool]:
        path = f"/orders?page={number}&limit={PAGE_SIZE}"  # `links.next` does not carry the limit on
        return await self.edge.ask(
            operation, path, lambda reply: read_listed(reply, number), max_bytes=_LISTED_BYTES, fresh=fresh
        )


def authorization(key: str) -> Mapping[str, str]:
    """The header that carries the key (page guide/concepts/requests)."""
    return {"Authorization": f"Bearer {key}"}


def is_number(text: str) -> bool:
    """Whether it could be an order's id."""
    return read_id(text) == text


def _path(order: ReturnOrder) -> str:
    return f"/orders/{quote(order.carrier_ref or '', safe='')}"


def _is_about_the_reference(raw: str | None) -> bool:
    """Whether a refusal names the reference, as Laravel's `errors` or `message` would; its shape is not documented."""
    try:
        answer = json.loads(raw or "")
    except ValueError:
        return False
    if not isinstance(answer, dict):
        return False
    errors = answer.get("errors")
    named = [*(errors if isinstance(errors, dict) else ()), answer.get("message"), answer.get("text")]
    return any("reference" in str(part).casefold() for part in named)
