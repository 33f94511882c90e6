"""What a list may show in place of the truth: references that were changed, or not the newest orders, or none."""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from worker.simulator.changes import chosen
from worker.simulator.delivery import Reply

Orders = list[dict[str, object]]

_KEPT = 10  # characters of a reference that is cut


CHANGES: Mapping[str, Callable[[str], object]] = {
    "number": lambda reference: int(reference) if reference.isascii() and reference.isdigit() else reference,
    "entities": html.escape,
    "separator": lambda reference: re.sub(r"[^\w]|_", "-", reference),
    "cut": lambda reference: reference[:_KEPT],
    "dropped": lambda reference: re.sub(r"[^A-Za-z0-9-]", "", reference),
    "replaced": lambda reference: f"RMA-{sum(reference.encode()):08}",
}
"""What may become of a reference, by name: `00123` 123, `A&B` `A&amp;B`, `A/1` `A-1`, its beginning, only what is plain
ASCII of it, another one altogether."""


def with_references_changed(change: str) -> Callable[[Reply], Reply]:
    """An answer whose orders bear their references as `change` leaves them; raises ValueError for an unknown one."""
    made_of_it = chosen(CHANGES, change)
    return lambda reply: _with_orders(
        reply, lambda orders: [{**each, "reference": made_of_it(str(each.get("reference")))} for each in orders]
    )


def without_newest(seconds: float) -> Callable[[Reply], Reply]:
    """An answer without the orders that were made less than `seconds` ago."""

    def lagging(orders: Orders) -> Orders:
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        return [order for order in orders if _made_at(order) <= limit]

    return lambda reply: _with_orders(reply, lagging)


def without_any(reply: Reply) -> Reply:
    """A page on which nothing is, and after which nothing comes."""
    return _with_orders(reply, lambda orders: [], is_last=True)


def _made_at(order: dict[str, object]) -> datetime:
    return datetime.fromisoformat(str(order["created_at"])).replace(tzinfo=UTC)


def _with_orders(reply: Reply, change: Callable[[Orders], Orders], *, is_last: bool = False) -> Reply:
    """The answer with its list of orders changed; any other answer is left as it is."""
    try:
        document = json.loads(reply.body)
    except ValueError:
        return reply
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        return reply
    document["data"] = change(document["data"])
    if is_last:
        document["links"] = {**document.get("links", {}), "next": None}
    return replace(reply, body=json.dumps(document).encode())
