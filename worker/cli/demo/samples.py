"""The payloads the demo's shop inserts: Izipack's documented sample, and made-up ones that are always the same."""

from typing import Any

Payload = dict[str, Any]

SAMPLE_REFERENCE = "345"

# "Returning packages" of Izipack's documentation (2023-06-02), in this project's payload.
_SAMPLE: Payload = {
    "customer": {
        "name": "Sprookjeswonderland",
        "email": "info@izipack.nl",
        "phone": "0612345678",
        "address": {
            "street": "Kooizandweg",
            "house_number": "9",
            "postal_code": "1601 LK",
            "city": "Enkhuizen",
            "country": "NL",
        },
    },
    "receiver": {
        "name": "Izipack",
        "email": "customersupport@izipack.nl",
        "address": {
            "street": "Dokter de Grootlaan",
            "house_number": "3",
            "postal_code": "2071TG",
            "city": "Santpoort-Noord",
            "country": "NL",
        },
    },
    "packages": [
        {"height": "240", "width": "40", "depth": "40", "weight": "5000", "description": "package 1"},
        {"height": "241", "width": "41", "depth": "41", "weight": "5001", "description": "package 2"},
    ],
    "pickup_date": "2023-06-04",
    "description": "Webshop return - Internal ordernumber 345",
    "company_name": "webshop123.nl",
    "attention_of": "afdeling RMA",
}

_FIRST_NAMES = ("Anouk", "Bram", "Chloë", "Daan", "Eefje", "Floris", "Guusje", "Hidde", "Iris", "Jort", "Kiki", "Luuk")
_LAST_NAMES = ("van der Doos", "Pakjes", "de Retour", "Kartonnen", "ter Plakband", "Zegelaar", "in 't Vakje")
# Cities that exist, in streets that do not: nobody's address.
_STREETS = ("Retourlaan", "Plakbandplein", "Kartonkade", "Doosjesdwarsstraat", "Bubbeltjesweg")
_CITIES = (
    ("Alkmaar", "1815"),
    ("'s-Hertogenbosch", "5211"),
    ("Leeuwarden", "8911"),
    ("Maastricht", "6211"),
    ("Utrecht", "3511"),
    ("Zwolle", "8011"),
    ("Goes", "4461"),
    ("Assen", "9401"),
)
_AMERICAN_CITIES = (
    ("Spokane", "Washington", "99201"),
    ("Duluth", "Minnesota", "55802"),
    ("Macon", "Georgia", "31201"),
    ("Tulsa", "Oklahoma", "74103"),
)
_GOODS = ("a raincoat", "walking boots", "a teapot", "two cushions", "a desk lamp", "a kite", "jeans", "a board game")


def sample() -> Payload:
    """Izipack's documented return: two packages, a receiver of its own, numbers as text."""
    return _SAMPLE


def made_up(number: int, magic_word: str = "") -> Payload:
    """A plausible return, the same for the same number; `magic_word` tells the simulator what to do with it."""
    first = _FIRST_NAMES[number % len(_FIRST_NAMES)]
    last = _LAST_NAMES[number % len(_LAST_NAMES)]
    city, district = _CITIES[number % len(_CITIES)]
    return {
        "customer": {
            "name": f"{first} {last}",
            "email": f"customer{number}@post.example",
            "phone": "0612345678",
            "address": {
                "street": _STREETS[number % len(_STREETS)],
                "house_number": str(1 + number * 13 % 180),
                "postal_code": f"{district} {'ABCDEFGH'[number % 8]}{'JKLMNPRT'[number % 8]}",
                "city": city,
                "country": "NL",
            },
        },
        "packages": [{"height": 10 + number % 30, "width": 30, "depth": 40, "weight": 500 + 37 * (number % 50)}],
        "description": f"Return of {_GOODS[number % len(_GOODS)]} {magic_word}".strip(),
    }


def made_up_pilot(number: int, magic_word: str = "") -> Payload:
    """A plausible return for ReturnPilot, whose customer gets a link; the same for the same number."""
    city, region, code = _AMERICAN_CITIES[number % len(_AMERICAN_CITIES)]
    name = f"{_FIRST_NAMES[number % len(_FIRST_NAMES)]} {_LAST_NAMES[number % len(_LAST_NAMES)]}"
    return {
        "customer": {
            "name": f"{name} {magic_word}".strip(),
            "email": f"customer{number}@post.example",
            "phone": f"+1206555{number % 10_000:04}",
            "address": {
                "street": f"{1 + number * 13 % 180} Cardboard Avenue",
                "postal_code": code,
                "city": city,
                "region": region,
                "country": "US",
            },
        },
        "items": [{"product_id": 1 + number % 9}],
        "link_expires_in_days": 30,
    }


def broken_pilot(number: int) -> Payload:
    """A return that breaks several of ReturnPilot's limits."""
    payload = made_up_pilot(number)
    payload["customer"] |= {"phone": "0612345678", "name": "X"}
    return payload | {"items": [{"product_id": 1, "product": {}}], "link_expires_in_days": 5}


def broken(number: int) -> Payload:
    """A return with several problems at once, so that all of them can be named."""
    payload = made_up(number)
    payload["customer"]["address"] |= {"postal_code": "", "country": "Nederland"}
    payload["packages"] = [{"height": 0, "width": "wide", "depth": 40, "weigth": 900}]
    payload["pickup_date"] = "next Tuesday"
    return payload
