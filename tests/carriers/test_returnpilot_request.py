"""What is sent to create an order at ReturnPilot, and what is refused before anything is."""

import copy
import json
from typing import Any

import pytest

from tests.carriers.pilot import PAYLOAD, PRODUCT
from worker.carriers.returnpilot.request import build_request, country_ids
from worker.domain.payload import InvalidPayload


def body(payload: dict[str, Any] = PAYLOAD, reference: str = "ORD-12345") -> dict[str, Any]:
    return build_request(json.dumps(payload), reference)


def problems(payload: dict[str, Any] = PAYLOAD, reference: str = "ORD-12345") -> list[str]:
    try:
        body(payload, reference)
    except InvalidPayload as error:
        return list(error.problems)
    return []


def changed(path: str, value: Any) -> dict[str, Any]:
    """The payload with one member set, or taken away when the value is None."""
    payload = copy.deepcopy(PAYLOAD)
    *parents, name = path.split(".")
    part = payload
    for parent in parents:
        part = part.setdefault(parent, {})
    part[name] = value
    if value is None:
        del part[name]
    return payload


def with_product(**changes: Any) -> dict[str, Any]:
    return {**PAYLOAD, "items": [{"product": {**PRODUCT, **changes}}]}


def test_the_documented_sample_is_sent_but_for_its_country() -> None:
    assert body() == {
        "reference": "ORD-12345",
        "link_expires_at": 30,
        "line_items": [{"product_id": 1}],
        "name": "Schaefer, Nolan and Wehner",
        "email": "dave45@gmail.com",
        "phone": "+12069536978",
        "line_1": "492 Quitzon Avenue Apt. 157",
        "line_2": "Apt. 027",
        "city": "Gustside",
        "region": "Massachusetts",
        "post_code": "17594-7013",
        "country": 230,
    }


def test_the_country_is_returnpilots_own_number_and_never_the_samples_1() -> None:
    assert {code: country_ids()[code] for code in ("US", "NL", "AU", "GB", "IE", "AF")} == {
        "US": 230,
        "NL": 152,
        "AU": 13,
        "GB": 228,
        "IE": 103,
        "AF": 1,
    }
    assert sorted(country_ids().values()) == sorted({*range(1, 244)} - {241})  # Zaire, which is no country any more


def test_what_the_shop_leaves_empty_is_left_out() -> None:
    payload = changed("customer.address.line_2", "")
    payload["customer"]["phone"] = ""
    del payload["link_expires_in_days"]
    assert body(payload).keys() == body().keys() - {"line_2", "phone", "link_expires_at"}


def test_a_house_number_belongs_to_the_first_line() -> None:
    payload = changed("customer.address.street", "Kooizandweg")
    payload["customer"]["address"]["house_number"] = "9"
    assert body(payload)["line_1"] == "Kooizandweg 9"


def test_inches_and_pounds_are_rounded_up_and_numbers_may_be_text() -> None:
    sizes = {"length": 4.01, "width": "10.5", "height": 0.2, "weight": "1"}
    assert body(with_product(**sizes, price="19.99"))["line_items"] == [
        {"product": {**PRODUCT, "length": 5, "width": 11, "height": 1, "weight": 1, "price": 19.99}}
    ]


def test_characters_are_counted_as_code_points() -> None:
    assert problems(changed("customer.name", "\U0001f4e6" * 50)) == []
    assert problems(changed("customer.name", "\U0001f4e6" * 51)) == [
        "customer.name: must be 2 to 50 characters, not 51"
    ]
    assert problems(reference="\u00e9" * 50) == []


@pytest.mark.parametrize("place", ["customer", "customer.address"])
def test_what_cannot_be_read_is_not_said_to_be_missing_too(place: str) -> None:
    assert problems(changed(place, "Jansen, Enkhuizen")) == [f"{place}: must be an object"]
    assert problems(changed(place, None))[0].endswith(": is required")


def test_a_list_of_nonsense_is_not_said_to_be_empty_too() -> None:
    assert problems(changed("items", [3])) == ["items[0]: must be an object"]


RULES: list[tuple[str, Any, str]] = [
    ("customer.name", "x", "customer.name: must be 2 to 50 characters, not 1"),
    ("customer.name", None, "customer.name: is required"),
    ("customer.name", "\u200b" * 3, "customer.name: is required"),
    ("customer.name", "Jo\nSmith", "customer.name: must be one line, without line breaks"),
    ("customer.email", "a@b.c", "customer.email: must be 6 to 100 characters, not 5"),
    ("customer.email", "nobody.example", "customer.email: must be an e-mail address"),
    ("customer.email", "", "customer.email: is required"),
    ("customer.phone", "0612345678", "customer.phone: must be in E.164 form, such as +12069536978"),
    ("customer.phone", "+0612345678", "customer.phone: must be in E.164 form, such as +12069536978"),
    ("customer.phone", "+1 206 953 6978", "customer.phone: must be in E.164 form, such as +12069536978"),
    ("customer.phone", "+12345", "customer.phone: must be 7 to 30 characters, not 6"),
    ("customer.address.street", "x" * 36, "customer.address.street: must be 2 to 35 characters, not 36"),
    ("customer.address.line_2", "x", "customer.address.line_2: must be 2 to 35 characters, not 1"),
    ("customer.address.city", None, "customer.address.city: is required"),
    ("customer.address.region", None, "customer.address.region: is required"),
    ("customer.address.region", "x" * 31, "customer.address.region: must be 2 to 30 characters, not 31"),
    ("customer.address.postal_code", "1", "customer.address.postal_code: must be 2 to 16 characters, not 1"),
    ("customer.address.country", "XX", "customer.address.country: is not one that ReturnPilot knows"),
    ("customer.address.country", "UK", "customer.address.country: must be an ISO 3166-1 alpha-2 code: GB is meant"),
    ("customer.address.country", None, "customer.address.country: is required"),
    ("link_expires_in_days", 9, "link_expires_in_days: must be 10 to 365 days"),
    ("link_expires_in_days", 366, "link_expires_in_days: must be 10 to 365 days"),
    ("items", [], "items: 1 to 100 are required"),
    ("items", None, "items: 1 to 100 are required"),
    ("items", [{"product_id": 1}] * 101, "items: 101 are too many; 1 to 100 are allowed"),
    ("items", [{}], "items[0]: must have exactly one of product_id and product"),
    ("items", [{"product_id": 1, "product": PRODUCT}], "items[0]: must have exactly one of product_id and product"),
    ("items", [3], "items[0]: must be an object"),
    ("items", [{"product_id": "x"}], "items[0].product_id: must be a whole number above 0"),
    (
        "items",
        [{"product_id": "1.000"}],
        "items[0].product_id: may mean thousands or decimals; write a number such as 5000 or 5.5",
    ),
    ("items", [{"product_id": "1e3"}], "items[0].product_id: must be a whole number above 0"),
    ("items", [{"product_id": True}], "items[0].product_id: must be a whole number above 0"),
    ("items", [{"product_id": 1, "quantity": 2}], "items[0].quantity: is not known here"),
    ("items", [{"product": "shirt"}], "items[0].product: must be an object"),
    ("carrier_fields", {"city": "Elsewhere"}, "carrier_fields.city: is set by the payload itself and cannot be overr"),
    ("carrier_fields", {"line_2": "x"}, "carrier_fields.line_2: is set by the payload itself and cannot be overr"),
]


@pytest.mark.parametrize(("path", "value", "problem"), RULES, ids=[f"{row[0]} {str(row[1])[:20]}" for row in RULES])
def test_each_limit_is_checked_before_sending(path: str, value: Any, problem: str) -> None:
    found = problems(changed(path, value))
    assert len(found) == 1, found
    assert found[0].startswith(problem)


PRODUCT_RULES: list[tuple[str, Any, str]] = [
    ("sku", "x", "must be 2 to 30 characters, not 1"),
    ("description", "x" * 51, "must be 2 to 50 characters, not 51"),
    ("category", None, "must be 2 to 30 characters, not 0"),
    ("price", 0.99, "must be 1.00 to 999999999.99, with at most two decimals"),
    ("price", 1.005, "must be 1.00 to 999999999.99, with at most two decimals"),
    ("price", "NaN", "must be 1.00 to 999999999.99, with at most two decimals"),
    *(
        (name, text, "may mean thousands or decimals; write a number such as 5000 or 5.5")
        for name, text in (("price", "19,99"), ("price", "1.500"), ("weight", "5,5"), ("length", "10.000"))
    ),
    ("sku", "a\nb", "must be one line, without line breaks"),
    ("description", "\u200b\u200b", "must be 2 to 50 characters, not 0"),
    ("category", [], "must be text"),
    ("height", "+5", "must be 1 to 50 inches, rounded up"),
    ("height", "４０", "must be 1 to 50 inches, rounded up"),
    ("length", 3, "must be 4 to 50 inches, rounded up"),
    ("width", 50.1, "must be 4 to 50 inches, rounded up"),
    ("height", 0, "must be 1 to 50 inches, rounded up"),
    ("weight", 51, "must be 1 to 50 pounds, rounded up"),
    ("weight", True, "must be 1 to 50 pounds, rounded up"),
    ("returnable", "yes", "must be true or false"),
    ("colour", "red", "is not known here"),
]


@pytest.mark.parametrize(("name", "value", "problem"), PRODUCT_RULES, ids=[f"{r[0]} {r[1]}" for r in PRODUCT_RULES])
def test_each_limit_of_a_product_is_checked_before_sending(name: str, value: Any, problem: str) -> None:
    assert problems(with_product(**{name: value})) == [f"items[0].product.{name}: {problem}"]


@pytest.mark.parametrize("reference", ["x", "x" * 51, " ORD-1", "ORD-1\n", "OR\ufffd", "ORD\u200b"])
def test_a_reference_that_could_not_be_found_again_is_refused(reference: str) -> None:
    assert {problem.split(":")[0] for problem in problems(reference=reference)} == {"reference"}


def test_every_problem_is_named_at_once() -> None:
    payload = {"customer": {"name": "x", "address": {"country": "Atlantis"}}, "items": [{}], "link_expires_in_days": 1}
    named = {problem.split(":")[0] for problem in problems(payload, "x")}
    assert named == {
        "reference",
        "customer.name",
        "customer.email",
        *(f"customer.address.{name}" for name in ("street", "city", "region", "postal_code", "country")),
        "items[0]",
        "link_expires_in_days",
    }


def test_parts_that_have_no_place_here_are_not_sent() -> None:
    extra = {
        "receiver": PAYLOAD["customer"],
        "packages": [{"height": 1}],
        "description": "x",
        "pickup_date": "2026-01-01",
    }
    assert body({**PAYLOAD, **extra}) == body()


def test_returnpilots_countries_are_its_own() -> None:
    assert body(changed("customer.address.country", "XK"))["country"] == country_ids()["XK"]


def test_a_field_that_only_the_carrier_has_can_be_added() -> None:
    assert body({**PAYLOAD, "carrier_fields": {"note": {"a": 1}}})["note"] == {"a": 1}
