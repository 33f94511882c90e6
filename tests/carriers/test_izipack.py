"""Izipack's literal requests and answers, as its documentation prints them."""

import copy
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.carriers.wire import KEY, PAYLOAD, answering, at_carrier, opened, order
from worker import __version__
from worker.carriers.izipack import receiver_problems
from worker.carriers.port import LabelNotReady, NotFound, OutcomeUnknown, Unavailable, Unintelligible
from worker.carriers.replies import MAX_RAW
from worker.domain.outcomes import PackageInfo
from worker.domain.payload import InvalidPayload
from worker.domain.tracking import TrackingStatus

REQUEST: dict[str, Any] = {
    "sender": {
        "name": "Sprookjeswonderland",
        "emailAddress": "info@izipack.nl",
        "phoneNumber": "0612345678",
        "address": {
            "country": "NL",
            "street": "Kooizandweg",
            "housenumber": "9",
            "zipCode": "1601 LK",
            "city": "Enkhuizen",
        },
    },
    "receiver": {
        "name": "Izipack",
        "emailAddress": "customersupport@izipack.nl",
        "address": {
            "street": "Dokter de Grootlaan",
            "housenumber": "3",
            "city": "Santpoort-Noord",
            "zipCode": "2071TG",
            "country": "NL",
        },
    },
    "pickUpDate": "2023-06-04",
    "description": "Webshop return - Internal ordernumber 345",
    "companyName": "webshop123.nl",
    "toAttentionOf": "afdeling RMA",
    "packages": [
        {"dimensions": {"height": 240, "width": 40, "depth": 40, "weight": 5000}, "description": "package 1"},
        {"dimensions": {"height": 241, "width": 41, "depth": 41, "weight": 5001}, "description": "package 2"},
    ],
}
CREATED = """{
  "orderNumber": "9RET326720205706",
  "packages": [
    {"labelCode": "7RET063502270276", "description": "package 1",
     "dimensions": {"height": 240, "width": 40, "depth": 40, "weight": 5000}},
    {"labelCode": "7RET350272270660", "description": "package 2",
     "dimensions": {"height": 241, "width": 41, "depth": 41, "weight": 5001}}
  ]
}"""
STATUS = """{
  "status": "Created",
  "deliveryDateUtc": "2023-01-24T13:08:25.482314",
  "description": null, "extraInstructions": null, "companyName": null, "toAttentionOf": null,
  "packages": [{"labelCode": "7IZP25F79D8C432A4F7490F4DA8704843CD4"},
               {"labelCode": "7IZP3C12767E8D1341889DE82988644EA04D"}]
}"""


def changed(**changes: Any) -> dict[str, Any]:
    """The sample payload with members set by their dotted paths."""
    payload = copy.deepcopy(PAYLOAD)
    for path, value in changes.items():
        *parents, name = path.split("__")
        target = payload
        for parent in parents:
            target = target[parent]
        target[name] = value
    return payload


async def body_of(payload: dict[str, Any], reference: str = "345", **config: Any) -> dict[str, Any]:
    async with answering(httpx.Response(500), **config) as account:
        return dict(account.carrier.prepare(order(payload, reference=reference)).body)


async def problems_of(payload: dict[str, Any], **config: Any) -> list[str]:
    with pytest.raises(InvalidPayload) as caught:
        await body_of(payload, **config)
    return list(caught.value.problems)


async def test_the_documented_request_goes_out_as_documented() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, text=CREATED)

    async with answering(answer) as account:
        created = await account.create()
    (request,) = sent
    assert (request.method, request.url.path) == ("POST", "/shipment/retour")
    assert json.loads(request.content) == REQUEST
    assert all(
        type(size) is int
        for package in json.loads(request.content)["packages"]
        for size in package["dimensions"].values()
    )
    assert b"zipcode" not in request.content
    assert request.headers["x-api-key"] == KEY
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"] == f"returns-worker/{__version__}"
    assert (created.carrier_ref, created.update, created.return_url) == ("9RET326720205706", None, None)
    assert created.packages == (
        PackageInfo(1, "7RET063502270276", "package 1"),
        PackageInfo(2, "7RET350272270660", "package 2"),
    )
    assert json.loads(created.raw) == json.loads(CREATED)


async def test_the_documented_status_is_read_and_its_date_is_no_delivery() -> None:
    async with answering(httpx.Response(200, text=STATUS)) as account:
        update = await account.track()
    assert (update.status, update.carrier_status, update.carrier_time) == (TrackingStatus.PRE_TRANSIT, "Created", None)
    assert json.loads(update.raw) == json.loads(STATUS)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-01-24T13:08:25.482314", datetime(2023, 1, 24, 13, 8, 25, 482314, UTC)),
        ("2023-01-24T13:08:25.4823149", datetime(2023, 1, 24, 13, 8, 25, 482314, UTC)),
        ("2023-01-24T13:08:25Z", datetime(2023, 1, 24, 13, 8, 25, tzinfo=UTC)),
        ("2023-01-24T14:08:25+01:00", datetime(2023, 1, 24, 13, 8, 25, tzinfo=UTC)),
        *((nothing, None) for nothing in (None, "", 5, [], "soon", "0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00")),
        ("9999-12-31T23:59:59-14:00", None),
    ],
)
async def test_a_moment_without_a_zone_is_utc(text: Any, moment: datetime | None) -> None:
    answer = httpx.Response(200, json={"status": "Bezorgd", "deliveryDateUtc": text})
    async with answering(answer, status_map={"bezorgd": TrackingStatus.DELIVERED}) as account:
        update = await account.track()
    assert (update.status, update.carrier_time) == (TrackingStatus.DELIVERED, moment)
    assert update.carrier_time is None or update.carrier_time.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("description", "reference", "sent"),
    [
        ("", "R-9", "Return R-9"),
        ("Shoes", "R-9", "Shoes (R-9)"),
        ("Shoes of R-9", "R-9", "Shoes of R-9"),
        (None, "R-9", "Return R-9"),
        ("Webshop return 123", "12", "Webshop return 123 (12)"),
        ("Webshop return 123", "123", "Webshop return 123"),
        ("A-12 and A-1/2", "A-1", "A-12 and A-1/2 (A-1)"),
        ("A-1", "1", "A-1 (1)"),
        ("1-A", "1", "1-A (1)"),
        ("R_9 R9 XR-9 R-9x r-9 R\u20119", "R-9", "R_9 R9 XR-9 R-9x r-9 R\u20119 (R-9)"),
        ("Refund 12,50 or €12", "12", "Refund 12,50 or €12 (12)"),
        *((text, "R-9", text) for text in ("(R-9)", "Order #R-9.", "R-9, shoes", "say “R-9”!", "R-9\nshoes", "a\tR-9")),
        ("Return of R 9: shoes", "R 9", "Return of R 9: shoes"),
        ("12", ".*", "12 (.*)"),
    ],
)
async def test_a_person_finds_the_return_by_the_shops_reference(
    description: str | None, reference: str, sent: str
) -> None:
    assert (await body_of(changed(description=description), reference))["description"] == sent


async def test_what_the_shop_left_empty_is_not_sent() -> None:
    payload = changed(pickup_date=None, company_name="", attention_of=" ", customer__phone="", receiver__email=None)
    payload["packages"] = [{"height": 1, "width": 2, "depth": 3, "weight": 4}]
    body = await body_of(payload)
    assert body.keys() == {"sender", "receiver", "description", "packages"}
    assert "phoneNumber" not in body["sender"]
    assert "emailAddress" not in body["receiver"]
    assert body["packages"] == [{"dimensions": {"height": 1, "width": 2, "depth": 3, "weight": 4}}]


async def test_a_second_line_reaches_the_driver() -> None:
    body = await body_of(changed(customer__address__line_2="bis, 2nd floor"))
    assert body["sender"]["address"]["housenumber"] == "9 bis, 2nd floor"


async def test_the_customer_sends_and_the_accounts_receiver_receives() -> None:
    payload = changed(receiver=None)
    assert await problems_of(payload) == ["receiver: is required; or configure the account's receiver"]
    body = await body_of(payload, receiver=PAYLOAD["receiver"])
    assert (body["sender"]["name"], body["receiver"]["name"]) == ("Sprookjeswonderland", "Izipack")


@pytest.mark.parametrize(
    ("payload", "problems"),
    [
        (
            {},
            [
                "customer: is required",
                "receiver: is required; or configure the account's receiver",
                "packages: at least one is required",
            ],
        ),
        *((changed(customer__name=name), ["customer.name: is required"]) for name in (" ", "\u200b\u200d")),
        (
            changed(customer__address={}),
            [
                f"customer.address.{name}: is required"
                for name in ("street", "house_number", "postal_code", "city", "country")
            ],
        ),
        (changed(receiver__address__house_number=""), ["receiver.address.house_number: is required"]),
        (changed(packages=[]), ["packages: at least one is required"]),
        *(
            (
                changed(packages=[{"height": size, "width": 1, "depth": 1, "weight": 1}]),
                ["packages[0].height: must be a whole number above 0"],
            )
            for size in (0, -1, "0", 1.5, "1.5", None, "")
        ),
        (
            changed(packages=[{"height": "x", "width": 1, "depth": 1, "weight": 1}]),
            ["packages[0].height: must be a number"],
        ),
    ],
)
async def test_an_invalid_payload_is_refused_with_every_problem(payload: dict[str, Any], problems: list[str]) -> None:
    assert await problems_of(payload) == problems


@pytest.mark.parametrize("reference", ["R\u200b9", "R\n9", "R-9\u2028", " R-9", "R-9\ufffd"])
async def test_a_reference_by_which_nobody_would_find_the_return_is_refused(reference: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        await body_of(PAYLOAD, reference)
    assert {problem.split(":")[0] for problem in caught.value.problems} == {"reference"}


async def test_a_thousand_packages_are_sent_and_more_are_refused() -> None:
    """Of a carrier's answer a thousand are read: the label of one more would have nobody to belong to."""
    package = {"height": 1, "width": 2, "depth": 3, "weight": 4}
    assert len((await body_of(changed(packages=[package] * 1000)))["packages"]) == 1000
    for packages in ([package] * 1001, [{}] * 1001):
        assert await problems_of(changed(packages=packages)) == ["packages: 1001 are too many: at most 1000 are read"]


@pytest.mark.parametrize("country", ["ZZ", "XK", "EU", "AN", "AA"])
@pytest.mark.parametrize("party", ["customer", "receiver"])
async def test_a_country_is_one_that_iso_assigned(country: str, party: str) -> None:
    assert await problems_of(changed(**{f"{party}__address__country": country})) == [
        f"{party}.address.country: {country} is not officially assigned in ISO 3166-1"
    ]
    extra = {"carrier_fields": {"sender": {"address": {"country": country}}}}
    assert len(await problems_of(changed(**extra))) == 1  # and there is no way around it


async def test_what_cannot_be_read_is_not_called_missing_as_well() -> None:
    package = {"height": 0, "width": 2, "depth": 3, "weight": 4}
    payload = changed(customer__name="a\nb", receiver__name=[], receiver__address=5, packages=[1, package])
    assert [problem.split(":")[0] for problem in await problems_of(payload)] == [
        *("customer.name", "receiver.address", "receiver.name", "packages[0]", "packages[1].height"),
    ]
    assert [problem.split(":")[0] for problem in await problems_of(changed(packages={}))] == ["packages"]


@pytest.mark.parametrize("size", [40, "40", 40.0, "40.0", " 40 "])
async def test_a_size_may_be_a_number_or_numeric_text_and_goes_out_as_an_integer(size: Any) -> None:
    body = await body_of(changed(packages=[{"height": size, "width": 1, "depth": 1, "weight": 1}]))
    assert json.dumps(body["packages"][0]["dimensions"]["height"]) == "40"


@pytest.mark.parametrize("refuse", [True, False])
async def test_a_past_pick_up_day_is_refused_only_on_request(refuse: bool) -> None:
    if refuse:
        (problem,) = await problems_of(PAYLOAD, reject_past_pickup=True)
        assert problem.startswith("pickup_date: lies before today")
    else:
        assert (await body_of(PAYLOAD))["pickUpDate"] == "2023-06-04"


async def test_carrier_fields_are_merged_deeply() -> None:
    extra = {"extraInstructions": "ring", "price": 1.5, "sender": {"vat": "NL1", "address": {"floor": 2}}}
    body = await body_of(changed(carrier_fields=extra))
    assert (body["extraInstructions"], body["price"]) == ("ring", 1.5)
    assert body["sender"]["vat"] == "NL1"
    assert body["sender"]["address"] == REQUEST["sender"]["address"] | {"floor": 2}


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({"description": "x"}, "description"),
        ({"packages": []}, "packages"),
        ({"sender": "x"}, "sender"),
        ({"sender": {"address": {"zipCode": "x"}}}, "sender.address.zipCode"),
        ({"sender": {"address": {"zipcode": "x"}}}, "sender.address.zipcode"),
        ({"receiver": {"phoneNumber": "1"}}, "receiver.phoneNumber"),
        ({"PickupDate": "2020-01-01"}, "PickupDate"),
        ({"Sender": {"name": "x"}}, "Sender"),
    ],
)
async def test_carrier_fields_never_override_what_the_payload_has(extra: dict[str, Any], path: str) -> None:
    (problem,) = await problems_of(changed(carrier_fields=extra))
    assert problem == f"carrier_fields.{path}: is set by the payload itself and cannot be overridden"


async def test_whatever_passed_the_checks_can_be_sent() -> None:
    """An intent is committed before the request is put into bytes: that must not fail any more."""
    payload = changed(carrier_fields={"a": 1.5, "b": {"c": [0.1, 2, None, True, "é€😀"]}}, description="é€😀")
    async with answering(httpx.Response(200, text=CREATED)) as account:
        await account.carrier.create(account.carrier.prepare(order(payload)))


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ('{"orderNumber": 326720205706}', "326720205706"),
        ('{"orderNumber": "9IZP576912483", "new": {"field": [1]}, "packages": null}', "9IZP576912483"),
        ('{"orderNumber": " 9RET1 "}', "9RET1"),
        ('{"orderNumber": "9RET1", "packages": "none"}', "9RET1"),
        ('{"orderNumber": "9RET1", "packages": [1, null, "x", {}]}', "9RET1"),
        ('{"orderNumber": "9RET1", "price": NaN, "weight": 1e400}', "9RET1"),
        ('{"orderNumber": "9RET1", "x": ' + "[" * 700 + "]" * 700 + "}", "9RET1"),
        ('\ufeff{"orderNumber": "9RET1"}', "9RET1"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
async def test_a_creation_is_read_leniently(answer: str, number: str, status: int) -> None:
    async with answering(httpx.Response(status, text=answer)) as account:
        created = await account.create()
    assert created.carrier_ref == number
    json.loads(created.raw, parse_constant=pytest.fail)


async def test_the_packages_of_an_answer_keep_their_places() -> None:
    answer = {"orderNumber": "9RET1", "packages": [{"labelCode": 7}, "?", {"labelCode": None, "description": "a\x00b"}]}
    async with answering(httpx.Response(200, json=answer)) as account:
        created = await account.create()
    assert created.packages == (PackageInfo(1, "7", None), PackageInfo(3, None, "ab"))


USELESS = [
    "",
    "null",
    "{}",
    "[]",
    "true",
    '"9RET1"',
    "<!DOCTYPE html><html><body>OK</body></html>",
    CREATED[: len(CREATED) // 2],
    "NaN",
    "[" * 100_000,
    '{"a":' * 100_000,
    "\x00\xff",
    *(
        '{"orderNumber": ' + number + "}"
        for number in (
            *('""', '" "', "null", "true", "false", "[]", "{}", "0", '"0"', '"000"', "-5", "1.5", "NaN", "9" * 5000),
            *(f'"{"9" * 300}"', '"9RET/1"', '"../x"', '".."', '"."', '"9RET 1"', '"9RET\\n1"', '"9RET1?x=1"', '"9%2F"'),
            *('"\\ud800"', '"9RET\\u0000"', '"９"', '"9RET1#"', '"-1"'),
        )
    ),
]


@pytest.mark.parametrize("answer", USELESS, ids=range(len(USELESS)))
async def test_a_success_without_a_usable_number_is_in_doubt(answer: str) -> None:
    async with answering(httpx.Response(200, content=answer.encode())) as account:
        error = await account.failure("create")
    assert type(error) is OutcomeUnknown
    assert len(error.message) < 1200
    error.message.encode()
    json.loads(error.raw or "")
    assert account.observed == [("create", "unintelligible")]


@pytest.mark.parametrize(
    "answer",
    [
        *("null", "{}", "[]", "true", '"9RET1"', "NaN", "[" * 100_000, '{"a":' * 100_000, '{"message": "not now"}'),
        *('{"status": ' + word + "}" for word in ("true", "[]", "{}", "1.5", "NaN", "1e300", "9" * 5000)),
    ],
    ids=range(16),
)
async def test_an_answer_that_says_nothing_of_a_return_has_no_sense(answer: str) -> None:
    async with answering(httpx.Response(200, content=answer.encode())) as account:
        error = await account.failure("track")
    assert type(error) is Unintelligible
    error.message.encode()
    json.loads(error.raw or "")
    assert account.observed == [("track", "unintelligible")]


@pytest.mark.parametrize("answer", ["", "<!DOCTYPE html><html>OK</html>", CREATED[:99], "\x00\xff"], ids=repr)
async def test_what_is_no_json_is_the_carriers_outage(answer: str) -> None:
    async with answering(httpx.Response(200, content=answer.encode())) as account:
        error = await account.failure("track")
    assert type(error) is Unavailable
    error.message.encode()
    json.loads(error.raw or "")
    assert account.observed == [("track", "server_error")]


@pytest.mark.parametrize(
    "answer",
    [
        *({"status": word} for word in (None, "", " ", "\x00")),
        {"packages": [{"labelCode": "7RET"}]},
        {"orderNumber": "9RET326720205706"},
        {"deliveryDateUtc": None, "status": None},
    ],
    ids=repr,
)
async def test_a_return_of_which_nothing_is_said_has_no_news(answer: dict[str, Any]) -> None:
    async with answering(httpx.Response(200, json=answer)) as account:
        assert await account.track() is None
    assert account.observed == [("track", "ok")]


async def test_another_order_without_a_status_is_still_another_order() -> None:
    async with answering(httpx.Response(200, json={"orderNumber": "9RET9", "status": None})) as account:
        assert "about another order" in (await account.failure("track")).message


@pytest.mark.parametrize("number", ["9007199254740993", "1234567890123456789", "1234567890123456789.0", "1.234567e18"])
async def test_a_number_keeps_all_its_digits(number: str) -> None:
    async with answering(httpx.Response(200, text=f'{{"orderNumber": {number}}}')) as account:
        assert (await account.create()).carrier_ref == str(int(Decimal(number)))
    async with answering(httpx.Response(200, text=f'{{"orderNumber": {number}, "status": "Created"}}')) as account:
        assert (await account.track(str(int(Decimal(number))))).carrier_status == "Created"


PACKAGES: list[Any] = [
    [{"labelCode": "A"}, {"labelCode": "B"}],
    {"1": {"labelCode": "A"}, "2": {"labelCode": "B"}},
    {"10": {"labelCode": "B"}, "9": {"labelCode": "A"}},
]


@pytest.mark.parametrize("packages", PACKAGES, ids=repr)
async def test_packages_are_read_however_the_list_is_written(packages: Any) -> None:
    async with answering(httpx.Response(200, json={"orderNumber": "9RET1", "packages": packages})) as account:
        assert (await account.create()).packages == (PackageInfo(1, "A"), PackageInfo(2, "B"))
    async with answering(httpx.Response(200, json={"status": "Created", "packages": packages})) as account:
        assert (await account.carrier.track(at_carrier())).codes == ((1, "A"), (2, "B"))


async def test_one_package_without_its_list_is_read() -> None:
    async with answering(httpx.Response(200, json={"orderNumber": "9RET1", "packages": {"labelCode": "A"}})) as account:
        assert (await account.create()).packages == (PackageInfo(1, "A"),)


@pytest.mark.parametrize(
    ("answer", "word", "status"),
    [
        ('{"status": "CREATED"}', "CREATED", TrackingStatus.PRE_TRANSIT),
        ('{"status": " created "}', "created", TrackingStatus.PRE_TRANSIT),
        ('{"status": "AtDepot7"}', "AtDepot7", TrackingStatus.UNKNOWN),
        ('{"status": 4}', "4", TrackingStatus.UNKNOWN),
        ('{"status": 4.0}', "4", TrackingStatus.UNKNOWN),
        ('{"status": "Delivered"}', "Delivered", TrackingStatus.UNKNOWN),
        ('{"status": "a\\u0000b\\ud800"}', "ab?", TrackingStatus.UNKNOWN),
        ('{"status": "' + "x" * 5000 + '"}', "x" * 200, TrackingStatus.UNKNOWN),
        ('{"status": "Created", "x": ' + "[" * 700 + "]" * 700 + "}", "Created", TrackingStatus.PRE_TRANSIT),
    ],
    ids=range(9),
)
async def test_an_unseen_word_is_kept_and_never_guessed(answer: str, word: str, status: TrackingStatus) -> None:
    async with answering(httpx.Response(200, text=answer)) as account:
        update = await account.track()
    assert (update.status, update.carrier_status) == (status, word)


async def test_a_long_answer_is_kept_in_part() -> None:
    async with answering(httpx.Response(200, json={"status": "Created", "x": "\x00é" * 100_000})) as account:
        update = await account.track()
    assert len(update.raw) <= 3 * MAX_RAW
    json.loads(update.raw)


@pytest.mark.parametrize("status", [202, 204, 206])
async def test_a_label_that_is_being_made_is_not_ready(status: int) -> None:
    async with answering(httpx.Response(status)) as account:
        with pytest.raises(LabelNotReady):
            await account.label()


@pytest.mark.parametrize("status", [404, 410])
async def test_a_label_the_carrier_does_not_know_is_not_ready(status: int) -> None:
    async with answering(httpx.Response(status)) as account:
        with pytest.raises(LabelNotReady):
            await account.label()


async def test_a_label_comes_with_the_number_of_pages_it_should_have() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, content=b"%PDF-1.4 ...")

    async with answering(answer) as account:
        document = await account.carrier.label(at_carrier())
    assert (document.position, document.content, document.pages) == (1, b"%PDF-1.4 ...", 2)
    assert (sent[0].url.path, sent[0].headers["accept"]) == ("/shipment/9RET326720205706/label", "application/pdf")


async def test_a_number_never_leaves_its_place_in_the_path() -> None:
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.raw_path.decode())
        return httpx.Response(200, text=STATUS)

    async with answering(answer) as account:
        await account.track("a/../b?c#d e")
    assert sent == ["/shipment/a%2F..%2Fb%3Fc%23d%20e"]


@pytest.mark.parametrize(("status", "accepted"), [(404, True), (200, True), (401, False), (500, False)])
async def test_a_ping_tells_whether_host_and_key_are_right(status: int, accepted: bool) -> None:
    async with answering(httpx.Response(status)) as account:
        if accepted:
            await account.carrier.ping()
        else:
            with pytest.raises(Exception, match=str(status)):
                await account.carrier.ping()


async def test_a_map_without_a_terminal_word_is_warned_of() -> None:
    async with opened() as account:
        assert len(account.carrier.warnings) == 1
    async with opened(status_map={"Bezorgd": TrackingStatus.DELIVERED}) as account:
        assert account.carrier.warnings == ()


def test_an_accounts_receiver_is_refused_for_what_every_return_would_be_rejected_for() -> None:
    receiver = copy.deepcopy(PAYLOAD["receiver"])
    assert receiver_problems(receiver) == []
    receiver["address"] |= {"country": "XK", "city": "", "housenumber": "3"}
    assert receiver_problems(receiver) == [
        "receiver.address.housenumber: is not known here; did you mean house_number?",
        "receiver.address.city: is required",
        "receiver.address.country: XK is not officially assigned in ISO 3166-1",
    ]
    assert receiver_problems({"name": "Webshop", "address": 5}) == ["receiver.address: must be an object"]


async def test_a_404_on_a_poll_says_that_the_carrier_does_not_know_it() -> None:
    async with answering(httpx.Response(404)) as account:
        assert type(await account.failure("track")) is NotFound
