"""ReturnPilot's orders API as its documentation shows it, kept in memory.

Where the documentation is silent (error bodies, prices, when a customer schedules), the simulator had to choose; a
client should not rely on those choices.
"""

import json
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import ClassVar

from worker.simulator.answers import ANSWER_WORDS
from worker.simulator.carrier import UNKNOWN_OPERATION, Call
from worker.simulator.changes import in_words
from worker.simulator.delivery import Cut, Delivery, Reply, json_reply
from worker.simulator.faults import refused_by_words
from worker.simulator.journeys import magic_words, stages_passed
from worker.simulator.labels import as_worded, stripes_png, text_zpl
from worker.simulator.links import LABELS, LINK_WORDS, MOVED, SIGNED, is_good, signed_target
from worker.simulator.pdf import text_pdf
from worker.simulator.returnpilot_order import (
    LONG_ID,
    PilotOrder,
    order_document,
    order_errors,
    return_url,
    shipment_id,
)
from worker.simulator.throttle import Throttle

PREFIX = "/api/v1"
_ORDERS = f"{PREFIX}/orders"
_ORDER_PATH = re.compile(rf"{_ORDERS}/(\d{{1,19}})")
_LABEL_PATH = re.compile(rf"(?:{LABELS}|{SIGNED}|{MOVED})((\d{{1,19}})/(\d{{1,19}}))")
_DEFAULT_DAYS = 30
_DEFAULT_LIMIT, _LARGEST_LIMIT = 20, 50
_LONG_SINCE = timedelta(days=2)  # how long ago a link has run out that is to have run out

_AT_THE_END = 1000  # a stage after the last of every journey

# The status of a shipment from one stage to the next, from stage 1 on.
_STATUSES = (1, 2, 3)
_OTHER_STATUSES = {"sim:unknown-status": (1, 9, 2, 3), "sim:cancelled": (1, 4)}


@dataclass(slots=True)
class ReturnPilot:
    """The carrier: create, show, list and delete orders, and their labels at `/labels/{order}/{shipment}`.

    An order has no shipment for `stage_seconds` of `clock`; then it has one, which moves on from stage to stage. At
    most `rate_limit` requests are answered in each window of a minute; 0: no limit.
    """

    token: str
    stage_seconds: float = 2.0
    rate_limit: int = 60
    clock: Callable[[], float] = time.monotonic
    orders: dict[int, PilotOrder] = field(default_factory=dict)
    throttle: Throttle = field(init=False)
    last_id: int = field(default_factory=lambda: random.randrange(10_000, 10**9))  # a restart repeats none
    turned_away: set[str] = field(default_factory=set)  # references with sim:busy that have had their 503

    operations: ClassVar[Sequence[str]] = ("rp_create", "rp_order", "rp_orders", "rp_delete", "rp_label")

    def __post_init__(self) -> None:
        self.throttle = Throttle(self.rate_limit, self.clock)

    def operation(self, method: str, path: str) -> str:
        """Which operation a request asks for, else unknown."""
        if path == _ORDERS:
            return {"POST": "rp_create", "GET": "rp_orders"}.get(method, UNKNOWN_OPERATION)
        if _ORDER_PATH.fullmatch(path):
            return {"GET": "rp_order", "DELETE": "rp_delete"}.get(method, UNKNOWN_OPERATION)
        return "rp_label" if method == "GET" and _LABEL_PATH.fullmatch(path) else UNKNOWN_OPERATION

    def error(self, status: int, text: str) -> Reply:
        """An error that the server found, as the API words its own."""
        return _message(status, text)

    def answer(self, call: Call) -> Delivery:
        """Do what `call` asks and say what to send for it."""
        if refusal := self._unauthorized(call):
            return refusal
        match call.operation:
            case "rp_create":
                return self._create(call)
            case "rp_orders":
                return self._list(call)
            case "rp_label":
                return self._label(call)
            case "rp_order" | "rp_delete":
                found = _ORDER_PATH.fullmatch(call.path)
                order = self.orders.get(int(found[1])) if found else None
                if order is None:
                    return _message(404, "Not Found")
                if call.operation == "rp_delete":
                    return self._delete(order)
                return json_reply({"data": self._document(order, call.headers.get("Host", ""))})
            case _:
                return _message(404, "Not Found")

    def add(self, reference: str, body: Mapping[str, object] | None = None) -> PilotOrder:
        """Make an order, without any check."""
        full: dict[str, object] = {"line_items": [{"product_id": 1}], **(body or {}), "reference": reference}
        words = _words(full)
        self.last_id += 1
        number = self.last_id + (LONG_ID if "sim:long-ids" in words else 0)
        now, days = datetime.now(UTC).replace(microsecond=0), full.get("link_expires_at")
        end = now + timedelta(days=days if isinstance(days, int) else _DEFAULT_DAYS)
        if words & {"sim:expired-link", "sim:cancelled"}:
            end = now - _LONG_SINCE
        order = PilotOrder(number, reference, full, words, self.clock(), now, end)
        self.orders[order.id] = order
        return order

    def statuses(self, order: PilotOrder) -> tuple[int, ...]:
        """The status of each of the order's shipments now; none before the customer has scheduled any."""
        if order.words & {"sim:stuck", "sim:expired-link"}:
            return ()
        walk = next((walk for word, walk in _OTHER_STATUSES.items() if word in order.words), _STATUSES)
        starts = (1, 2) if "sim:two-parcels" in order.words else (1,)
        stage = self._stage(order)
        return tuple(walk[min(stage - start, len(walk) - 1)] for start in starts if stage >= start)

    def describe(self, limit: int) -> tuple[int, dict[str, object]]:
        """How many orders there are, and the newest ones for a person."""
        newest = list(islice(reversed(self.orders.values()), limit))
        return len(self.orders), {
            str(order.id): {
                "reference": order.reference,
                "statuses": list(self.statuses(order)),
                "created_utc": order.created_utc.isoformat(),
                "link_expires_at": order.link_expires_at.isoformat(),
                "body": order.body,
            }
            for order in reversed(newest)
        }

    def reset(self) -> None:
        """Forget all orders; numbers once given are not given again."""
        self.orders.clear()
        self.turned_away.clear()
        self.throttle.reset()

    def _stage(self, order: PilotOrder) -> int:
        if order.stage is not None:
            return order.stage
        return stages_passed(self.clock() - order.created_at, self.stage_seconds, _AT_THE_END)

    def _unauthorized(self, call: Call) -> Reply | None:
        if call.path.startswith(SIGNED):  # the signature stands for the token
            return None if is_good(call.target) else _message(403, f"Not what was signed, or too late: {call.target}")
        is_known = call.headers.get("Authorization") == f"Bearer {self.token}"
        return None if is_known else _message(401, "Unauthenticated.")

    def _create(self, call: Call) -> Delivery:
        if call.body is None:
            return _message(422, "The body must be a JSON object.")
        if errors := order_errors(call.body):
            return json_reply({"message": "The given data was invalid.", "errors": errors}, 422)
        reference = str(call.body["reference"])
        words = _words(call.body)
        refusal = json_reply({"message": "sim:refuse", "errors": {"region": ["refused: sim:refuse"]}}, 422)
        if refused := refused_by_words(words, reference, self.turned_away, refusal):
            return refused
        order = self.add(reference, call.body)
        if "sim:lost-answer" in words:
            return Cut()
        document: dict[str, object] = {"id": order.id, "return_url": return_url(order, call.headers.get("Host", ""))}
        if "sim:no-number" in words:
            del document["id"]
        return json_reply(in_words(ANSWER_WORDS, words, document), 201)

    def _delete(self, order: PilotOrder) -> Delivery:
        if self.statuses(order):
            return _message(409, "Orders with returns cannot be deleted.")
        del self.orders[order.id]
        return Reply(204, b"")

    def _list(self, call: Call) -> Delivery:
        page, limit = _number(call.query.get("page", "1")), _number(call.query.get("limit", str(_DEFAULT_LIMIT)))
        if page is None or limit is None or limit > _LARGEST_LIMIT:
            return json_reply({"message": "invalid", "errors": {"limit": ["must be 1 to 50"]}}, 422)
        start, host = (page - 1) * limit, call.headers.get("Host", "")
        found = list(islice(reversed(self.orders.values()), start, start + limit + 1))
        shown, path = found[:limit], f"http://{host}{_ORDERS}"
        return json_reply(
            {
                "data": [self._document(order, host) for order in shown],
                "links": {
                    "first": f"{path}?page=1",
                    "last": None,
                    "prev": f"{path}?page={page - 1}" if page > 1 else None,
                    "next": f"{path}?page={page + 1}" if len(found) > limit else None,
                },
                "meta": {
                    "current_page": page,
                    "from": start + 1 if shown else None,
                    "path": path,
                    "per_page": limit,
                    "to": start + len(shown) if shown else None,
                },
            }
        )

    def _label(self, call: Call) -> Delivery:
        found = _LABEL_PATH.fullmatch(call.path)
        if found is not None and call.path.startswith(MOVED):
            seconds = _number(call.query.get("seconds", "")) or 0
            url = f"http://{call.headers.get('Host', '')}{signed_target(found[1], seconds)}"
            return Reply(302, b"", {"Location": url})
        order = self.orders.get(int(found[2])) if found else None
        if found is None or order is None or "sim:dead-label" in order.words:
            return _message(404, "Not Found")
        shipment, there = int(found[3]), len(self.statuses(order))
        if shipment not in {shipment_id(order, index) for index in range(1, there + 1)}:
            return _message(404, "Not Found")
        text = f"RETURNPILOT (simulated) order {order.id} shipment {shipment}"
        if "sim:png" in order.words:
            label = Reply(200, stripes_png(), {"Content-Type": "image/png"})
        elif "sim:zpl" in order.words:
            label = Reply(200, text_zpl(text), {"Content-Type": "application/zpl"})
        else:
            label = Reply(200, text_pdf([[text, order.reference]]), {"Content-Type": "application/pdf"})
        return as_worded(label, order.words)

    def _document(self, order: PilotOrder, host: str) -> object:
        statuses = self.statuses(order)
        if statuses:
            order.reads += 1
        has_label = "sim:slow-label" not in order.words or order.reads > 2
        document = order_document(order, statuses, host, has_label=has_label)
        return in_words(ANSWER_WORDS, order.words, in_words(LINK_WORDS, order.words, document))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1 else None


def _words(body: Mapping[str, object]) -> frozenset[str]:
    return magic_words(json.dumps(body))


def _message(status: int, text: str) -> Reply:
    return json_reply({"message": text}, status)
