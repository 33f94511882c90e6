"""True answers in odd JSON, as libraries of other languages and hasty programs write it, and lists without the truth.

A list may show references that were changed, or not the newest orders, or none.
"""

import html
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from worker.simulator.changes import Change, by_word, chosen, in_json, in_objects
from worker.simulator.delivery import Reply

Object = dict[str, object]

_KEPT = 10  # characters of a reference that is cut
_ZERO_WIDTH_SPACE = "\u200b"
_TO_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}  # Unicode: Halfwidth and Fullwidth Forms


def _null_status(each: Object) -> Object:
    return {**each, "status": None} if "status" in each else each


def _no_status(each: Object) -> Object:
    return {name: value for name, value in each.items() if name != "status"}


def _object_lists(each: Object) -> Object:
    return {name: _numbered(value) for name, value in each.items()}


def _numbered(value: object) -> object:
    # PHP writes an array so whose keys do not begin at 0, and an empty one as a list all the same.
    return {str(number): item for number, item in enumerate(value, 1)} if value and isinstance(value, list) else value


def _bare_items(each: Object) -> Object:
    # XML knows no lists: what translates it cannot tell one element from a list of one.
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in each.items()}


def _float_ids(each: Object) -> Object:
    return {name: float(value) if name == "id" and isinstance(value, int) else value for name, value in each.items()}


def _odd_spelling(each: Object) -> Object:
    word = each.get("status")
    if not isinstance(word, str):
        return each
    wide = word.translate(_TO_FULL_WIDTH)
    return {**each, "status": wide[:1] + _ZERO_WIDTH_SPACE + wide[1:]}


ANSWER_CHANGES: Mapping[str, Change[object]] = {
    "null-status": Change("each status is null", in_objects(_null_status)),
    "no-status": Change("there is no status", in_objects(_no_status)),
    "object-lists": Change('lists come as objects, {"1": {...}, "2": {...}}', in_objects(_object_lists)),
    "bare-items": Change("instead of a list of one comes the one itself", in_objects(_bare_items)),
    "float-ids": Change("ReturnPilot: ids come as 3.0", in_objects(_float_ids)),
    "odd-spelling": Change(
        "Izipack: the status word is in full-width letters, a zero-width space among them",
        in_objects(_odd_spelling),
    ),
}
"""What may become of the JSON of an answer, by name; the magic word is `sim:NAME`."""

ANSWER_WORDS = by_word(ANSWER_CHANGES, "sim:{}")

REFERENCE_CHANGES: Mapping[str, Callable[[str], object]] = {
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
    made_of_it = chosen(REFERENCE_CHANGES, change)
    return _in_orders(lambda orders: [{**each, "reference": made_of_it(str(each.get("reference")))} for each in orders])


def without_newest(seconds: float) -> Callable[[Reply], Reply]:
    """An answer without the orders that were made less than `seconds` ago."""

    def lagging(orders: list[Object]) -> list[Object]:
        limit = f"{datetime.now(UTC) - timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"
        return [order for order in orders if str(order["created_at"]) <= limit]

    return _in_orders(lagging)


def _in_orders(change: Callable[[list[Object]], list[Object]], *, is_last: bool = False) -> Callable[[Reply], Reply]:
    """An answer with its list of orders changed; any other answer is left as it is."""

    def changed(document: object) -> object:
        if not isinstance(document, dict) or not isinstance(document.get("data"), list):
            return document
        end = {"links": {**document.get("links", {}), "next": None}} if is_last else {}
        return {**document, **end, "data": change(document["data"])}

    return in_json(changed)


without_any = _in_orders(lambda orders: [], is_last=True)
"""A page on which nothing is, and after which nothing comes."""
