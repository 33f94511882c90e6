"""A shop's payload: every problem is named by its path, and nothing in it can break the reader."""

import json
from datetime import date
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.payload import COUNTRIES, count_packages, read_payload
from worker.domain.returns import Address, Parcel, Party, ReturnRequest

GOOD: dict[str, Any] = {
    "customer": {
        "name": "Jo",
        "email": "jo@example.com",
        "phone": 612345678,
        "address": {"street": "Kooizandweg", "house_number": 9, "postal_code": "1601 LK", "city": "E", "country": "nl"},
    },
    "packages": [{"height": "240", "width": 40, "depth": 40.0, "weight": 5000, "description": "package 1"}],
    "items": [{"product_id": 1}],
    "pickup_date": "2023-06-04",
    "description": " x ",
    "link_expires_in_days": "30",
    "carrier_fields": {"extraInstructions": "ring twice", "price": 1.5, "deep": {"a": [1, None, True]}},
}


def problems_of(payload: Any) -> list[str]:
    return read_payload(payload if isinstance(payload, str) else json.dumps(payload))[1]


def test_a_good_payload_is_read_whole() -> None:
    request, problems = read_payload(json.dumps(GOOD))
    assert problems == []
    address = Address(street="Kooizandweg", house_number="9", postal_code="1601 LK", city="E", country="NL")
    assert request == ReturnRequest(
        customer=Party("Jo", "jo@example.com", "612345678", address),
        packages=(Parcel(Decimal(240), Decimal(40), Decimal("40.0"), Decimal(5000), "package 1"),),
        items=({"product_id": 1},),
        pickup_date=date(2023, 6, 4),
        description="x",
        link_expires_in_days=30,
        carrier_fields={"extraInstructions": "ring twice", "price": 1.5, "deep": {"a": [1, None, True]}},
    )


TEXT, NUMBER, OBJECT = "must be text", "must be a number", "must be an object"
CONTROL = "must not contain control characters"
ONE_LINE = "must be one line, without line breaks"
UNCLEAR = "may mean thousands or decimals; write a number such as 5000 or 5.5"
DAY = "must be a date such as 2026-06-04"
ISO = "must be an ISO 3166-1 alpha-2 code such as NL"
PARTY = ("name", "email", "phone")

BAD: list[tuple[Any, list[str]]] = [
    ("", ["payload: is not JSON"]),
    ("{", ["payload: is not JSON"]),
    ('{"a":NaN}', ["payload: is not JSON"]),
    ('{"a":-Infinity}', ["payload: is not JSON"]),
    ("[" * 100_000, ["payload: is not JSON"]),
    ('{"link_expires_in_days":' + "9" * 5000 + "}", ["payload: is not JSON"]),
    ("null", ["payload: must be a JSON object"]),
    ("[]", ["payload: must be a JSON object"]),
    ('"x"', ["payload: must be a JSON object"]),
    ({"customer": []}, [f"customer: {OBJECT}"]),
    ({"customer": "Jo"}, [f"customer: {OBJECT}"]),
    ({"customer": {"address": 1}}, [f"customer.address: {OBJECT}"]),
    ({"customer": {name: [] for name in PARTY}}, [f"customer.{name}: {TEXT}" for name in PARTY]),
    ({"customer": {"name": True, "email": 1.5}}, [f"customer.name: {TEXT}", f"customer.email: {TEXT}"]),
    ({"receiver": {"name": {}}}, [f"receiver.name: {TEXT}"]),
    ({"customer": {"name": "a\x00b"}}, [f"customer.name: {CONTROL}"]),
    ({"customer": {"name": "a\x1b[31mb"}}, [f"customer.name: {CONTROL}"]),
    ('{"description": "\\ud800"}', [f"description: {CONTROL}"]),
    *(
        ({"customer": {"name": f"Jo{mark}Smith"}}, [f"customer.name: {ONE_LINE}"])
        for mark in ("\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029")
    ),
    *(({"customer": {"name": f"Jo{mark}Smith"}}, [f"customer.name: {CONTROL}"]) for mark in ("\t", "\x7f", "\x9b")),
    *(
        ({"customer": {"address": {name: "a\nb"}}}, [f"customer.address.{name}: {ONE_LINE}"])
        for name in ("street", "house_number", "line_2", "postal_code", "city", "region")
    ),
    *(({name: "a\nb"}, [f"{name}: {ONE_LINE}"]) for name in ("company_name", "attention_of")),
    ({"receiver": {"email": "a\n@b", "phone": "1\n2"}}, [f"receiver.email: {ONE_LINE}", f"receiver.phone: {ONE_LINE}"]),
    *(({"description": f"a{mark}b"}, [f"description: {CONTROL}"]) for mark in ("\v", "\x85", "\u2028", "\u2029")),
    *(
        ({"customer": {"address": {"country": country}}}, [f"customer.address.country: {ISO}"])
        for country in ("NLD", "N", "528", "Nederland", "N1", "ÅÄ", "ß", "ﬁ", "ＮＬ", "Nı")
    ),
    *(
        (
            {"receiver": {"address": {"country": country}}},
            [f"receiver.address.country: must be an ISO 3166-1 alpha-2 code: {meant} is meant, not {country.upper()}"],
        )
        for country, meant in (("UK", "GB"), ("el", "GR"))
    ),
    ({"packages": {}}, ["packages: must be a list"]),
    ({"packages": "x"}, ["packages: must be a list"]),
    ({"packages": [1, {}, None]}, [f"packages[0]: {OBJECT}", f"packages[2]: {OBJECT}"]),
    *(
        (f'{{"packages": [{{"height": {value}}}]}}', [f"packages[0].height: {NUMBER}"])
        for value in (
            *('"x"', "true", "[]", "{}", '"NaN"', '"sNaN"', '"Infinity"', "1e400", "-1e400", '"1e400"', "1e1000000"),
            *(
                '"1e1000000"',
                "1e99999999999999999999",
                "1e-99999999999999999999",
                "1" * 400,
                '"1e99999999999999999999"',
            ),
            *('"1e3"', '"+5"', '"0x10"', '"1_000"', '"٤٠"', '"４０"', '"½"', '"5."', '"--5"', '"."', '"-"', '" "'),
        )
    ),
    *(
        (f'{{"packages": [{{"height": "{text}"}}]}}', [f"packages[0].height: {UNCLEAR}"])
        for text in ("5.000", "1,000", "5,5", "5,000.00", "1.000.000", "5 000", "5\u00a0000", "5'000", " 12.500 ")
    ),
    ({"link_expires_in_days": 1.5}, ["link_expires_in_days: must be a whole number"]),
    ('{"link_expires_in_days": 1e-1000000}', ["link_expires_in_days: must be a whole number"]),
    *(
        ({"pickup_date": value}, [f"pickup_date: {DAY}"])
        for value in (
            *("2023-6-4", "20230604", "2023-02-30", "2023-06-04T00:00:00", "tomorrow", 20230604, True, []),
            *("0000-01-01", "2023-06-04\n", "２０２３-０６-０４", " 2023-06-04"),
        )
    ),
    ({"items": [3]}, [f"items[0]: {OBJECT}"]),
    ({"items": "x"}, ["items: must be a list"]),
    ({"carrier_fields": []}, [f"carrier_fields: {OBJECT}"]),
    ('{"carrier_fields": {"a": {"b": 1e400}}}', ["carrier_fields.a.b: must be a number that fits"]),
    ('{"carrier_fields": {"a": [1e99999999999999999999]}}', ["carrier_fields.a[0]: must be a number that fits"]),
    ('{"carrier_fields": {"a": "\\ud800"}}', [f"carrier_fields.a: {CONTROL}"]),
    ('{"carrier_fields": {"\\ud800": 1}}', [f"carrier_fields.\ufffd: {CONTROL}"]),
    ('{"carrier_fields": {"a": {"\\u0000": 1}}}', [f"carrier_fields.a: {CONTROL}"]),
    ({"customar": {}}, ["customar: is not known here; did you mean customer?"]),
    ({"customer": {"adress": {}}}, ["customer.adress: is not known here; did you mean address?"]),
    (
        {"customer": {"address": {"zipcode": "1"}}},
        ["customer.address.zipcode: is not known here"],
    ),
    (
        {"packages": [{"heigth": 1}]},
        ["packages[0].heigth: is not known here; did you mean height?"],
    ),
    ({"zzz": 1, "yyy": 2, "xxx": 3}, [f"{name}: is not known here" for name in ("zzz", "yyy", "xxx")]),
    ({"x" * 500: 1}, ["x" * 60 + ": is not known here"]),
    ('{"a\\u0000\\ud800\\u001b[31m": 1}', ["a\ufffd\ufffd\ufffd[31m: is not known here"]),
]


@pytest.mark.parametrize(("payload", "expected"), BAD, ids=[str(row[0])[:60] for row in BAD])
def test_each_problem_is_named_by_its_path(payload: Any, expected: list[str]) -> None:
    problems = problems_of(payload)
    assert problems == expected
    "; ".join(problems).encode()  # and can be stored


def test_all_problems_are_named_at_once() -> None:
    found = problems_of({"customer": {"name": []}, "packages": [{"weight": "x"}], "pickup_date": "?", "foo": 1})
    assert [problem.partition(":")[0] for problem in found] == [
        "customer.name",
        "packages[0].weight",
        "pickup_date",
        "foo",
    ]


@pytest.mark.parametrize("value", ["0e999999999", "-0.0", '"-0"', "0"])
def test_a_zero_of_any_length_is_zero(value: str) -> None:
    request, problems = read_payload(f'{{"link_expires_in_days": {value}}}')
    assert (request.link_expires_in_days, problems) == (0, [])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("5.000", "5"), ("5000", "5000"), ("4e1", "40"), ("1.125", "1.125"), ('"5000"', "5000"), ('" 40 "', "40")),
        *(('"5.0"', "5"), ('"5.25"', "5.25"), ('"5.2500"', "5.25"), ('"0040"', "40"), ('".5"', "0.5"), ('"-1"', "-1")),
    ],
)
def test_a_number_that_can_mean_one_thing_only_is_read(written: str, meant: str) -> None:
    request, problems = read_payload(f'{{"packages": [{{"height": {written}}}]}}')
    assert problems == []
    assert request.packages[0].height == Decimal(meant)


def test_numbers_texts_and_lists_of_any_length_are_judged_in_no_time() -> None:
    digits = "1" * 1_000_000
    assert problems_of({"packages": [{"height": f"{digits}x"}]}) == [f"packages[0].height: {NUMBER}"]
    assert problems_of({"packages": [{"height": "1." * 500_000 + "x"}]}) == [f"packages[0].height: {NUMBER}"]
    assert problems_of({"customer": {"name": "\u200b" * 1_000_000}}) == []
    for name in ("packages", "items"):
        for part in ({}, 1, {"x": 1}):
            assert problems_of({name: [part] * 100_000}) == [f"{name}: 100000 are too many: at most 1000 are read"]


@pytest.mark.parametrize("nothing", ["\u200b", "\u200d\ufeff", "\u00ad \u2060", "\u3164", "\u2800", "\u0301", "\ufe0f"])
def test_a_text_of_which_nothing_can_be_seen_is_none(nothing: str) -> None:
    request, problems = read_payload(json.dumps({"customer": {"name": nothing}, "description": nothing}))
    assert (request.customer, request.description, problems) == (Party(), "", [])


@pytest.mark.parametrize("name", ["علی\u200cرضا", "👩\u200d🚀", "Zoe\u0308", "O\u00a0Hara", "李"])
def test_what_scripts_need_between_visible_letters_is_left_as_it_is(name: str) -> None:
    request, problems = read_payload(json.dumps({"customer": {"name": name}}))
    assert (request.customer, problems) == (Party(name), [])


def test_a_description_may_have_lines_as_people_write_them() -> None:
    text = "two shirts,\r\n\tone too small\nand a belt"
    payload = {"description": text, "packages": [{"description": text}]}
    request, problems = read_payload(json.dumps(payload))
    assert (request.description, request.packages[0].description, problems) == (text, text, [])


def test_a_customer_is_read_although_the_payload_is_refused() -> None:
    """A creation may have been sent by rules that were laxer; what it was sent for is what it is looked for by."""
    request, problems = read_payload(json.dumps({"customer": {"name": "Jo\nSmith", "address": {"country": "UK"}}}))
    assert len(problems) == 2
    assert request.customer == Party("Jo\nSmith", address=Address(country="UK"))


def test_the_list_of_countries_is_the_one_that_is_kept_up_with_iso() -> None:
    table = resources.files("tzdata.zoneinfo").joinpath("iso3166.tab").read_text("utf-8")
    assert {line[:2] for line in table.splitlines() if not line.startswith("#")} == COUNTRIES


@pytest.mark.parametrize("depth", [60, 400, 900, 100_000])
def test_fields_for_the_carrier_may_not_be_nested_without_end(depth: int) -> None:
    (problem,) = problems_of('{"carrier_fields": {"a": ' + "[" * depth + "]" * depth + "}}")
    assert problem.endswith(("is nested too deeply", "is not JSON"))


@pytest.mark.parametrize("empty", [{}, {"receiver": None}])
def test_the_accounts_receiver_steps_in_where_the_payload_names_none(empty: dict[str, Any]) -> None:
    request, problems = read_payload(json.dumps(empty), {"name": "Shop"})
    assert (request.receiver, problems) == (Party("Shop"), [])


def test_the_payloads_receiver_is_never_mixed_with_the_accounts() -> None:
    request, _ = read_payload('{"receiver": {"email": "a@b"}}', {"name": "Shop"})
    assert request.receiver == Party(email="a@b")


def test_null_is_as_good_as_absent() -> None:
    assert read_payload(json.dumps(dict.fromkeys(GOOD))) == (ReturnRequest(), [])


@pytest.mark.parametrize(("payload", "count"), [("{}", 0), ('{"packages": null}', 0), ('{"packages": [{}, {}]}', 2)])
def test_packages_are_counted(payload: str, count: int) -> None:
    assert count_packages(payload) == count


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=()), max_size=20),
        st.sampled_from(["1e1000000", "2023-06-04", "NL", "Infinity"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from([*GOOD, *GOOD["customer"], "receiver", "height"]), st.text(max_size=5)),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=15,
)


@given(st.one_of(json_values, st.dictionaries(st.sampled_from([*GOOD, "receiver"]), json_values, max_size=10)))
@settings(max_examples=80)
def test_whatever_a_shop_writes_is_read_or_named_but_never_breaks_the_reader(value: Any) -> None:
    request, problems = read_payload(json.dumps(value))
    "; ".join(problems).encode()
    if not problems:
        json.dumps({**request.carrier_fields}, ensure_ascii=False, allow_nan=False).encode()


@given(st.text(max_size=200))
def test_any_text_is_read_or_named(text: str) -> None:
    read_payload(text)
