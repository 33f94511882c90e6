"""The payloads that the demo's shop inserts: made up, and the same each time."""

from typing import Any

Payload = dict[str, Any]

TWO_PACKAGES: Payload = {"packages": [{"height": "24", "width": "40", "depth": "40", "weight": "5000"}] * 2}
MISTAKES: Payload = {
    "packages": [{"height": 0, "width": "wide", "depth": 40, "weigth": 900}],
    "pickup_date": "next Tuesday",
}
"""Several at once, so that all of them can be named."""

_NAMES = ("Anouk van der Doos", "Bram Pakjes", "Chloë de Retour", "Daan Kartonnen", "Eefje ter Plakband")
_GOODS = ("a raincoat", "walking boots", "a teapot", "two cushions", "a desk lamp", "a kite", "a board game")


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
            "address": {  # a city that exists, and a street that does not: nobody's address
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
