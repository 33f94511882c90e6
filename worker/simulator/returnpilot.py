"""ReturnPilot's orders API as its documentation shows it, kept in memory.

Where the documentation is silent (error bodies, prices, when a customer schedules), the simulator had to choose; a
client should not rely on those choices.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from worker.simulator.carrier import UNKNOWN_OPERATION, Call
from worker.simulator.delivery import Cut, Delivery, Reply, json_reply
from worker.simulator.faults import busy, server_error
from worker.simulator.journeys import magic_words
from worker.simulator.pdf import text_pdf
from worker.simulator.pictures import stripes_png, text_zpl
from worker.simulator.returnpilot_request import order_errors

PREFIX = "/api/v1"
_ORDERS = f"{PREFIX}/orders"
_ORDER_PATH = re.compile(rf"{_ORDERS}/(\d{{1,18}})")
_LABEL_PATH = re.compile(r"/labels/(\d{1,18})/(\d{1,18})")
_WINDOW = 60.0  # seconds of the rate limit
_DEFAULT_DAYS = 30
_DEFAULT_LIMIT, _LARGEST_LIMIT = 20, 50
_LONG_SINCE = timedelta(days=2)  # how long ago a link has run out that is to have run out

# The status of a shipment from one stage to the next, from stage 1 on.
_STATUSES = (1, 2, 3)
_OTHER_STATUSES = {"sim:unknown-status": (1, 9, 2, 3), "sim:cancelled": (1, 4)}


@dataclass(slots=True)
class PilotOrder:
    """One order; `stage` pins how far it is, else that follows from the clock.

    `created_at` is in seconds of the simulator's clock, `created_utc` and `link_expires_at` are real time.
    """

    id: int
    reference: str
    body: dict[str, object]
    words: frozenset[str]
    created_at: float
    created_utc: datetime
    link_expires_at: datetime
    stage: int | None = None
    reads: int = 0


class ReturnPilot:
    """The carrier: create, show, list and delete orders, and their labels at `/labels/{order}/{shipment}`.

    An order has no shipment for `stage_seconds` of `clock`; then it has one, which moves on from stage to stage. At
    most `rate_limit` requests are answered in each window of a minute; 0: no limit.
    """

    operations: Sequence[str] = ("rp_create", "rp_order", "rp_orders", "rp_delete", "rp_label")

    def __init__(
        self,
        token: str,
        stage_seconds: float = 2.0,
        rate_limit: int = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.orders: dict[int, PilotOrder] = {}
        self._token = token
        self._stage_seconds = stage_seconds
        self._rate_limit = rate_limit
        self._clock = clock
        self._last_id = 10_000
        self._window, self._seen = -1, 0
        self._turned_away: set[str] = set()  # references with sim:busy that have had their 503

    def operation(self, method: str, path: str) -> str:
        """Which operation a request asks for, else unknown."""
        if path == _ORDERS:
            return {"POST": "rp_create", "GET": "rp_orders"}.get(method, UNKNOWN_OPERATION)
        if _ORDER_PATH.fullmatch(path):
            return {"GET": "rp_order", "DELETE": "rp_delete"}.get(method, UNKNOWN_OPERATION)
        return "rp_label" if method == "GET" and _LABEL_PATH.fullmatch(path) else UNKNOWN_OPERATION

    def answer(self, call: Call) -> Delivery:
        """Do what `call` asks and say what to send for it."""
        left = self._requests_left()
        if left is None:
            return self._answer(call)
        headers = {"X-RateLimit-Limit": str(self._rate_limit), "X-RateLimit-Remaining": str(max(left, 0))}
        if left < 0:
            wait = int(_WINDOW - self._clock() % _WINDOW) + 1
            headers |= {"Retry-After": str(wait), "X-RateLimit-Reset": str(int(time.time()) + wait)}
            return _with(_message(429, "Too Many Attempts."), headers)
        return _with(self._answer(call), headers)

    def add(self, reference: str, body: dict[str, object] | None = None) -> PilotOrder:
        """Make an order, without any check."""
        self._last_id += 1
        body = {"line_items": [{"product_id": 1}], **(body or {}), "reference": reference}
        words = magic_words(f"{reference} {body.get('name', '')}")
        now, days = datetime.now(UTC).replace(microsecond=0), body.get("link_expires_at")
        end = now + timedelta(days=days if isinstance(days, int) else _DEFAULT_DAYS)
        if words & {"sim:expired-link", "sim:cancelled"}:
            end = now - _LONG_SINCE
        order = PilotOrder(self._last_id, reference, body, words, self._clock(), now, end)
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
        self._turned_away.clear()
        self._window = -1

    def _requests_left(self) -> int | None:
        if not self._rate_limit:
            return None
        window = int(self._clock() // _WINDOW)
        if window != self._window:
            self._window, self._seen = window, 0
        self._seen += 1
        return self._rate_limit - self._seen

    def _stage(self, order: PilotOrder) -> int:
        if order.stage is not None:
            return order.stage
        if self._stage_seconds <= 0:
            return 1000
        return int(max(self._clock() - order.created_at, 0.0) / self._stage_seconds)

    def _answer(self, call: Call) -> Delivery:
        if call.headers.get("Authorization") != f"Bearer {self._token}":
            return _message(401, "Unauthenticated.")
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

    def _create(self, call: Call) -> Delivery:
        if call.body is None:
            return _message(422, "The body must be a JSON object.")
        if errors := order_errors(call.body):
            return json_reply({"message": "The given data was invalid.", "errors": errors}, 422)
        reference = str(call.body["reference"])
        words = magic_words(f"{reference} {call.body.get('name', '')}")
        if "sim:busy" in words and reference not in self._turned_away:
            self._turned_away.add(reference)
            return busy(retry_after=1).delivery
        if "sim:refuse" in words:
            return json_reply({"message": "sim:refuse", "errors": {"region": ["refused: sim:refuse"]}}, 422)
        if "sim:server-error" in words:
            return server_error().delivery
        order = self.add(reference, call.body)
        if "sim:lost-answer" in words:
            return Cut()
        document: dict[str, object] = {"id": order.id, "return_url": _return_url(order, call.headers.get("Host", ""))}
        if "sim:no-number" in words:
            del document["id"]
        return json_reply(document, 201)

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
        order = self.orders.get(int(found[1])) if found else None
        if order is None or "sim:dead-label" in order.words:
            return _message(404, "Not Found")
        text = f"RETURNPILOT (simulated) order {order.id} shipment {found[2] if found else ''}"
        if "sim:png" in order.words:
            return Reply(200, stripes_png(), {"Content-Type": "image/png"})
        if "sim:zpl" in order.words:
            return Reply(200, text_zpl(text), {"Content-Type": "application/zpl"})
        return Reply(200, text_pdf([[text, order.reference]]), {"Content-Type": "application/pdf"})

    def _document(self, order: PilotOrder, host: str) -> dict[str, object]:
        statuses = self.statuses(order)
        if statuses:
            order.reads += 1
        has_label = "sim:slow-label" not in order.words or order.reads > 2
        shipments = [_shipment(order, index, status, host, has_label) for index, status in enumerate(statuses, start=1)]
        body, created = order.body, _timestamp(order.created_utc)
        address = {name: body.get(name) for name in ("name", "email", "phone", "line_1", "line_2", "city", "region")}
        origin = {"id": 1, **address, "post_code": body.get("post_code"), "country": body.get("country")}
        times = {"created_at": created, "updated_at": created}
        return {
            "id": order.id,
            "origin_address": {**origin, **times},
            "destination_address": {**origin, "id": 2, "name": "Webshop", **times},
            "line_items": _line_items(body.get("line_items"), returned=bool(statuses), times=times),
            "shipments": shipments,
            "reference": order.reference,
            "price": 22.75 if statuses else None,
            "carrier": "FedEx" if statuses else None,
            "return_url": _return_url(order, host),
            "link_expires_at": _timestamp(order.link_expires_at),
            **times,
        }


def _shipment(order: PilotOrder, index: int, status: int, host: str, has_label: bool) -> dict[str, object]:
    number, now = order.id * 10 + index, _timestamp(datetime.now(UTC))
    return {
        "id": number,
        "status": status,
        "package": "Large Box",
        "length": 6,
        "width": 11,
        "height": 3,
        "weight": 2,
        "tracking_number": f"EX{number}",
        "tracking_url": f"https://provider.example/track/EX{number}",
        "label_url": f"http://{host}/labels/{order.id}/{number}" if has_label else None,
        "created_at": now,
        "updated_at": now,
    }


def _line_items(items: object, *, returned: bool, times: dict[str, str]) -> list[dict[str, object]]:
    found = items if isinstance(items, list) else []
    return [
        {"id": index, "product": _product(item, times), "reason": 10 if returned else None, **times}
        for index, item in enumerate(found, start=1)
    ]


def _product(item: dict[str, object], times: dict[str, str]) -> dict[str, object]:
    product = item.get("product")
    own = product if isinstance(product, dict) else {"sku": "1356284", "description": "Red Shirt", "returnable": True}
    return {"id": item.get("product_id", 1), **own, **times}


def _return_url(order: PilotOrder, host: str) -> str:
    return f"http://{host}/return/{order.id}"


def _timestamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= 1 else None


def _message(status: int, text: str) -> Reply:
    return json_reply({"message": text}, status)


def _with(delivery: Delivery, headers: dict[str, str]) -> Delivery:
    if isinstance(delivery, Reply):
        return Reply(delivery.status, delivery.body, {**delivery.headers, **headers})
    return delivery
