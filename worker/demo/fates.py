"""What the demo promises: every kind of return it sends in, how each must end, and whether it did."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Payload = dict[str, Any]

CARRIERS = {"default": "Izipack", "pilot": "ReturnPilot"}
"""Account -> whose it is."""


class Ending(NamedTuple):
    """What a return came to: its row, the pages of its labels, and how often the carrier was asked to create it."""

    state: str
    tracking_status: str | None = None
    error_code: str | None = None
    label_pages: int = 0
    creations_sent: int = 1


class Fate(NamedTuple):
    """A kind of return: how many, what happens to them, and what is promised.

    `passes` is a value that the history must hold besides; `payload` wins over what is made up; `later` is the SQL by
    which the shop asks for something, as soon as it changes a row.
    """

    account: str
    returns: int
    happening: str
    promise: str
    ending: Ending
    magic_word: str = ""
    passes: str = ""
    payload: Payload = {}  # noqa: RUF012 - of a tuple, and never written to
    later: str = ""


_MEND = """UPDATE return_order SET retry_requested_at = strftime('%Y-%m-%d %H:%M:%f', 'now'),
  payload = json_set(json_remove(payload, '$.pickup_date'),
                     '$.packages', json('[{"height": 30, "width": 30, "depth": 40, "weight": 900}]'))
 WHERE reference = ? AND state = 'rejected'"""
_WITHDRAW = """UPDATE return_order SET cancel_requested_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
 WHERE reference = ? AND state = 'tracking'"""

_TWO_PACKAGES: Payload = {"packages": [{"height": "24", "width": "40", "depth": "40", "weight": "5000"}] * 2}
_MISTAKES: Payload = {  # several at once, so that all of them can be named
    "packages": [{"height": 0, "width": "wide", "depth": 40, "weigth": 900}],
    "pickup_date": "next Tuesday",
}
_NAMES = ("Anouk van der Doos", "Bram Pakjes", "Chloë de Retour", "Daan Kartonnen", "Eefje ter Plakband")
_GOODS = ("a raincoat", "walking boots", "a teapot", "two cushions", "a desk lamp", "a kite", "a board game")

_DELIVERED = Ending("completed", "delivered", label_pages=1)
_TWO_PAGES = Ending("completed", "delivered", label_pages=2)
_SENT_TWICE = Ending("completed", "delivered", label_pages=1, creations_sent=2)
_NO_LABEL = Ending("completed", "delivered", "label_unreachable")
_INVALID = Ending("rejected", error_code="invalid_payload", creations_sent=0)
_REFUSED = Ending("rejected", error_code="carrier_refused")
_IN_DOUBT = Ending("needs_attention", error_code="create_outcome_unknown")
_DELETED = Ending("cancelled", "pending")

# fmt: off
FATES: Sequence[Fate] = (
    # The first one is told from beginning to end.
    Fate("pilot", 1, "created, the answer was lost", "found again, not sent twice", _DELIVERED, "sim:lost-answer"),
    Fate("default", 1, "two packages", "delivered; a label of two pages", _TWO_PAGES, payload=_TWO_PACKAGES),
    Fate("default", 5, "nothing unusual", "delivered; label stored", _DELIVERED),
    Fate("default", 1, "label: 404, JSON, then the PDF", "delivered; label in the end", _DELIVERED, "sim:slow-label"),
    Fate("default", 1, "a status word nobody knows", "unknown for a while; delivered", _DELIVERED, "sim:unknown-status",
         passes="unknown"),
    Fate("default", 1, "503 and Retry-After at first", "waited, sent again, delivered", _SENT_TWICE, "sim:busy"),
    Fate("default", 1, "payload full of mistakes", "rejected unsent, all named", _INVALID, payload=_MISTAKES),
    Fate("default", 1, "the same, mended in SQL", "rejected, put back; delivered", _DELIVERED, passes="rejected",
         payload=_MISTAKES, later=_MEND),
    Fate("default", 1, "refused by the carrier", "rejected; nothing exists there", _REFUSED, "sim:refuse"),
    Fate("default", 1, "created, the answer was lost", "not sent again; a person decides", _IN_DOUBT,
         "sim:lost-answer"),
    Fate("pilot", 3, "a link; scheduled a while later", "pending at first; delivered", _DELIVERED, passes="pending"),
    Fate("pilot", 1, "two parcels, one after the other", "delivered; a label for each", _TWO_PAGES, "sim:two-parcels"),
    Fate("pilot", 1, "a label_url that is dead", "delivered; no label stored", _NO_LABEL, "sim:dead-label"),
    Fate("pilot", 1, "withdrawn by the shop in SQL", "deleted at the carrier", _DELETED, "sim:stuck",
         passes="tracking", later=_WITHDRAW),
)
# fmt: on


class SampleReturn(NamedTuple):
    """One return that the demo's shop will insert."""

    fate: Fate
    reference: str
    payload: Payload


def sample_returns() -> list[SampleReturn]:
    """Every return of the demo, in the order of insertion."""
    fates = [fate for fate in FATES for _ in range(fate.returns)]
    return [
        SampleReturn(fate, f"{CARRIERS[fate.account][0]}-{number}", made_up(number, fate.magic_word) | fate.payload)
        for number, fate in enumerate(fates, start=1001)
    ]


def made_up(number: int, magic_word: str = "") -> Payload:
    """A plausible return for either carrier, the same for the same number.

    `magic_word` tells the simulator what to do with it. Izipack's looks for it in the description, which ReturnPilot is
    not sent: there it is found in the name.
    """
    return {
        "customer": {
            "name": f"{_NAMES[number % len(_NAMES)]} {magic_word}".strip(),
            "email": f"customer{number}@post.example",
            "phone": "+31612345678",
            "address": {  # a city that exists, and a street that does not
                "street": "Retourlaan",
                "house_number": str(1 + number % 180),
                "postal_code": "8011 HJ",
                "city": "Zwolle",
                "region": "Overijssel",
                "country": "NL",
            },
        },
        "packages": [{"height": 10 + number % 30, "width": 30, "depth": 40, "weight": 500 + 37 * (number % 50)}],
        "items": [{"product_id": 1 + number % 9}],
        "description": f"Return of {_GOODS[number % len(_GOODS)]} {magic_word}".strip(),
    }


def broken_promises(observed: Mapping[str, tuple[Ending, Sequence[str]]]) -> dict[str, str]:
    """Reference -> what was promised and what happened instead, for each return where they differ.

    `observed`: reference -> what it came to, and every value that its history holds.
    """
    broken: dict[str, str] = {}
    for fate, reference, _ in sample_returns():
        ending, history = observed.get(reference, (None, ()))
        if ending != fate.ending:
            broken[reference] = f"promised {fate.ending}; happened: {ending or 'it was never inserted'}"
        elif fate.passes and fate.passes not in history:
            broken[reference] = f"promised to pass {fate.passes!r}, which its history does not hold"
    return broken
