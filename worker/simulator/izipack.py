"""Izipack's return API as its documentation shows it, kept in memory.

Where the documentation is silent (status codes, error bodies, every status word but `Created`), the simulator
had to choose; a client should not rely on those choices.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import ClassVar

from worker.simulator.answers import ANSWER_WORDS
from worker.simulator.carrier import UNKNOWN_OPERATION, Call, Order, Package
from worker.simulator.changes import in_words
from worker.simulator.delivery import Cut, Delivery, Reply, json_reply, problem
from worker.simulator.faults import refused_by_words
from worker.simulator.izipack_request import DIMENSIONS, request_errors, whole_number
from worker.simulator.journeys import DEFAULT_JOURNEY, journey_for, magic_words, stage_at
from worker.simulator.labels import as_worded
from worker.simulator.pdf import text_pdf
from worker.simulator.throttle import Throttle

_CREATE_PATH = "/shipment/retour"
_ORDER_PATH = re.compile(r"/shipment/([^/]+)(/label)?")


@dataclass(slots=True)
class Izipack:
    """The carrier: `POST /shipment/retour`, `GET /shipment/{orderNumber}` and `.../label`.

    The status moves through `journey`, one word every `stage_seconds` of `clock` after creation. Only `Created`
    is documented by Izipack; the other words are made up by the simulator. The label exists `label_seconds`
    after creation and is 404 before.
    """

    api_key: str
    stage_seconds: float = 2.0
    label_seconds: float = 0.0
    clock: Callable[[], float] = time.monotonic
    journey: Sequence[str] = DEFAULT_JOURNEY
    orders: dict[str, Order] = field(default_factory=dict)
    throttle: Throttle = field(default_factory=Throttle)  # Izipack documents no limit
    order_numbers: Iterator[str] = field(default_factory=lambda: _numbers("9RET"))
    label_codes: Iterator[str] = field(default_factory=lambda: _numbers("7RET"))
    turned_away: set[str] = field(default_factory=set)  # descriptions with sim:busy that have had their 503

    operations: ClassVar[Sequence[str]] = ("create", "label", "status")

    def operation(self, method: str, path: str) -> str:
        """Which operation a request asks for: create, label, status or unknown."""
        if method == "POST" and path == _CREATE_PATH:
            return "create"
        match = _ORDER_PATH.fullmatch(path) if method == "GET" else None
        if match is None:
            return UNKNOWN_OPERATION
        return "label" if match[2] else "status"

    def error(self, status: int, text: str) -> Reply:
        """An error that the server found, as a problem document."""
        return problem(status, text)

    def answer(self, call: Call) -> Delivery:
        """Do what `call` asks and say what to send for it."""
        if call.operation == UNKNOWN_OPERATION:
            known = call.path == _CREATE_PATH or _ORDER_PATH.fullmatch(call.path)
            return problem(405, "Method Not Allowed") if known else problem(404, "Not Found")
        if call.headers.get("x-api-key") != self.api_key:
            return problem(401, "Unauthorized: the header x-api-key is missing or wrong")
        if call.operation == "create":
            return self._create(call)
        match = _ORDER_PATH.fullmatch(call.path)
        order = self.orders.get(match[1]) if match else None
        if order is None:
            return problem(404, "Not Found: no such order number")
        return self._label(order) if call.operation == "label" else self._status(order)

    def status(self, order: Order) -> str:
        """The order's status word now."""
        return stage_at(order.journey, self.clock() - order.created_at, self.stage_seconds)

    def describe(self, limit: int) -> tuple[int, dict[str, object]]:
        """How many orders there are, and the newest ones by their number."""
        newest = list(islice(reversed(self.orders.values()), limit))
        return len(self.orders), {order.number: self._description(order) for order in reversed(newest)}

    def reset(self) -> None:
        """Forget all orders; numbers once given are not given again."""
        self.orders.clear()
        self.turned_away.clear()

    def _description(self, order: Order) -> dict[str, object]:
        return {
            "description": order.description,
            "status": self.status(order),
            "journey": list(order.journey),
            "created_at": order.created_at,
            "created_utc": order.created_utc.isoformat(),
            "label_requests": order.label_requests,
            "packages": _created_packages(order),
            "body": order.body,
        }

    def _create(self, call: Call) -> Delivery:
        if call.body is None:
            return problem(400, "One or more validation errors occurred.", {"$": ["must be a JSON object"]})
        if errors := request_errors(call.body):
            return problem(400, "One or more validation errors occurred.", errors)
        description = str(call.body.get("description") or "")
        words = magic_words(description)
        refusal = problem(400, "One or more validation errors occurred.", {"sender": ["refused: sim:refuse"]})
        if refused := refused_by_words(words, description, self.turned_away, refusal):
            return refused
        order = self._new_order(call.body, description, words)
        if "sim:lost-answer" in words:
            return Cut()
        document: dict[str, object] = {"orderNumber": order.number, "packages": _created_packages(order)}
        if "sim:no-number" in words:
            del document["orderNumber"]
        return json_reply(in_words(ANSWER_WORDS, words, document))

    def _new_order(self, body: dict[str, object], description: str, words: frozenset[str]) -> Order:
        packages = body["packages"]
        assert isinstance(packages, list)  # request_errors has seen to it
        order = Order(
            number=next(self.order_numbers),
            description=description,
            body=body,
            packages=tuple(
                Package(
                    label_code=next(self.label_codes),
                    description=package.get("description"),
                    dimensions={name: whole_number(package["dimensions"][name]) or 0 for name in DIMENSIONS},
                )
                for package in packages
            ),
            created_at=self.clock(),
            created_utc=datetime.now(UTC),
            words=words,
            journey=journey_for(words, self.journey),
        )
        self.orders[order.number] = order
        return order

    def _label(self, order: Order) -> Reply:
        order.label_requests += 1
        if self.clock() - order.created_at < self.label_seconds:
            return problem(404, "Not Found: the label is not ready yet")
        if "sim:slow-label" in order.words and order.label_requests == 1:
            return problem(404, "Not Found: sim:slow-label")
        if "sim:slow-label" in order.words and order.label_requests == 2:
            return json_reply({"message": "The label is being made: sim:slow-label"})
        return as_worded(Reply(200, _label_pdf(order), {"Content-Type": "application/pdf"}), order.words)

    def _status(self, order: Order) -> Reply:
        delivery = (order.created_utc + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.%f")
        document = {
            "status": self.status(order),
            "deliveryDateUtc": delivery,
            "description": order.description or None,
            "extraInstructions": order.body.get("extraInstructions"),
            "companyName": order.body.get("companyName"),
            "toAttentionOf": order.body.get("toAttentionOf"),
            "packages": [{"labelCode": code} for code in self._codes(order)],
        }
        return json_reply(in_words(ANSWER_WORDS, order.words, document))

    def _codes(self, order: Order) -> list[str]:
        codes = [package.label_code for package in order.packages]
        if "sim:new-codes" in order.words:  # as the documentation's own status has others than its return
            return [code.replace("7RET", "7IZP") for code in codes]
        if "sim:other-codes" in order.words:
            before = list(takewhile(lambda other: other is not order, self.orders.values()))
            return [package.label_code for package in before[-1].packages] if before else codes
        return codes


def _created_packages(order: Order) -> list[dict[str, object]]:
    return [
        {"labelCode": each.label_code, "description": each.description, "dimensions": dict(each.dimensions)}
        for each in order.packages
    ]


def _label_pdf(order: Order) -> bytes:
    sender = order.body["sender"]
    assert isinstance(sender, dict)  # request_errors has seen to it
    city = str(sender["address"]["city"])
    return text_pdf(
        [
            [
                "IZIPACK (simulated): no value as postage",
                f"Order {order.number}",
                f"Label {package.label_code}",
                f"From {city}",
                order.description,
                f"Package {position} of {len(order.packages)}",
            ]
            for position, package in enumerate(order.packages, start=1)
        ]
    )


def _numbers(prefix: str) -> Iterator[str]:
    """`prefix` and 12 digits, scattered, without end and never the same twice.

    A random start keeps a restarted simulator from repeating numbers that a database still holds; the stride is
    coprime to 10**12, so all numbers come before any comes again.
    """
    number = random.randrange(10**12)
    while True:
        yield f"{prefix}{number:012d}"
        number = (number + 618_033_988_751) % 10**12
