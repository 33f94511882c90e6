"""Izipack's documented behaviour, over real HTTP."""

import io
import re

import pytest
from pypdf import PdfReader


async def test_a_create_is_answered_as_in_the_documentation(client, sim):
    answer = await client.create()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json) == {"orderNumber", "packages"}
    assert re.fullmatch(r"9RET\d{12}", answer.json["orderNumber"])
    first, second = answer.json["packages"]
    assert re.fullmatch(r"7RET\d{12}", first.pop("labelCode"))
    assert re.fullmatch(r"7RET\d{12}", second.pop("labelCode"))
    assert first == {
        "description": "package 1",
        "dimensions": {"height": 240, "width": 40, "depth": 40, "weight": 5000},
    }
    assert second == {
        "description": "package 2",
        "dimensions": {"height": 241, "width": 41, "depth": 41, "weight": 5001},
    }
    assert list(sim.orders) == [answer.json["orderNumber"]]


async def test_no_number_is_given_twice(client):
    numbers = [await client.created() for _ in range(20)]
    assert len(set(numbers)) == 20


@pytest.mark.parametrize("key", [None, "", "IZI-other"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/shipment/retour"), ("GET", "/shipment/9RET1"), ("GET", "/shipment/9RET1/label")],
)
async def test_without_the_right_key_nothing_is_done(client, sim, request_body, method, path, key):
    answer = await client.call(method, path, key=key, json=request_body)
    assert answer.status == 401
    assert sim.orders == {}


@pytest.mark.parametrize("party", ["sender", "receiver"])
@pytest.mark.parametrize("missing", [None, "", "  ", 7])
@pytest.mark.parametrize("field", ["street", "housenumber", "city", "country"])
async def test_each_bad_address_field_is_named(client, sim, request_body, party, field, missing):
    request_body[party]["address"][field] = missing
    answer = await client.create(**request_body)
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert list(answer.json["errors"]) == [f"{party}.address.{field}"]
    assert sim.orders == {}


async def test_all_problems_are_named_at_once(client):
    answer = await client.call("POST", "/shipment/retour", json={"sender": {"name": "A"}, "packages": []})
    assert set(answer.json["errors"]) == {"sender.address", "receiver", "packages"}


@pytest.mark.parametrize("value", [0, -1, 1.5, "", "0", "-3", "1.5", "abc", "٣", True, None, [], "9" * 5000])
async def test_a_dimension_must_be_a_positive_whole_number(client, request_body, value):
    request_body["packages"][1]["dimensions"]["width"] = value
    answer = await client.create(**request_body)
    assert answer.status == 400
    assert list(answer.json["errors"]) == ["packages[1].dimensions.width"]


@pytest.mark.parametrize("field", ["name", "zip"])
async def test_name_and_zip_code_are_required(client, request_body, field):
    if field == "zip":
        del request_body["sender"]["address"]["zipcode"]
    else:
        del request_body["sender"]["name"]
    answer = await client.create(**request_body)
    assert list(answer.json["errors"]) == ["sender.address.zipCode" if field == "zip" else "sender.name"]


@pytest.mark.parametrize("date", ["04-06-2023", "2023-02-30", "20230604", 5])
async def test_a_pick_up_date_that_is_none_is_refused(client, date):
    answer = await client.create(pickUpDate=date)
    assert list(answer.json["errors"]) == ["pickUpDate"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"packages": 1e'])
async def test_a_body_that_is_no_object_is_refused(client, sim, body):
    answer = await client.call("POST", "/shipment/retour", data=body)
    assert answer.status == 400
    assert "errors" in answer.json
    assert sim.ledger[-1].body is None


@pytest.mark.parametrize("packages", [5, {}, [1], [None], [{"dimensions": 3}], [{}]])
async def test_packages_of_a_wrong_shape_are_refused(client, packages):
    assert (await client.create(packages=packages)).status == 400


async def test_the_label_is_a_pdf_with_one_page_for_each_package(client):
    answer = await client.create()
    number = answer.json["orderNumber"]
    label = await client.label(number)
    assert (label.status, label.headers["Content-Type"]) == (200, "application/pdf")
    assert label.body.startswith(b"%PDF-")
    assert label.body.endswith(b"%%EOF\n")
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(label.body), strict=True).pages]
    assert len(pages) == 2
    for page, package in zip(pages, answer.json["packages"], strict=True):
        for text in (number, package["labelCode"], "Enkhuizen", "Webshop return - Internal ordernumber 345"):
            assert text in page


@pytest.mark.parametrize("description", ["(a) \\ b) é €", "日本 \ud800", "line\nbreak\x00", "x" * 2000, ""])
async def test_no_description_breaks_the_label(client, description):
    label = await client.label(await client.created(description))
    assert len(PdfReader(io.BytesIO(label.body), strict=True).pages) == 2


async def test_special_characters_reach_the_label(client):
    label = await client.label(await client.created("(a) \\ b) é €"))
    assert "(a) \\ b) é €" in PdfReader(io.BytesIO(label.body)).pages[0].extract_text()


async def test_a_status_is_shaped_as_in_the_documentation(client):
    created = await client.create()
    status = (await client.status(created.json["orderNumber"])).json
    assert list(status) == [
        *("status", "deliveryDateUtc", "description", "extraInstructions"),
        *("companyName", "toAttentionOf", "packages"),
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", status["deliveryDateUtc"])
    assert status["status"] == "Created"
    assert status["description"] == "Webshop return - Internal ordernumber 345"
    assert (status["companyName"], status["toAttentionOf"]) == ("webshop123.nl", "afdeling RMA")
    assert status["extraInstructions"] is None
    assert status["packages"] == [{"labelCode": p["labelCode"]} for p in created.json["packages"]]


@pytest.mark.parametrize("path", ["/shipment/9RET000000000000", "/shipment/9RET000000000000/label", "/elsewhere"])
async def test_an_unknown_order_or_path_is_404(client, path):
    assert (await client.call("GET", path)).status == 404


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/shipment/9RET1"), ("PUT", "/shipment/retour")])
async def test_a_method_that_is_not_documented_is_405(client, sim, method, path):
    assert (await client.call(method, path)).status == 405
    assert sim.ledger[-1].operation == "unknown"


async def test_a_status_can_name_the_codes_of_the_order_before_or_new_ones(client):
    first = (await client.create()).json
    mixed, new = await client.created("A sim:other-codes"), await client.created("B sim:new-codes")
    named = [package["labelCode"] for package in (await client.status(mixed)).json["packages"]]
    assert named == [package["labelCode"] for package in first["packages"]]
    made = [package["labelCode"] for package in (await client.status(new)).json["packages"]]
    assert all(re.fullmatch(r"7IZP\d{12}", code) for code in made)


async def test_the_first_order_has_no_codes_but_its_own_to_name(client):
    created = (await client.create("sim:other-codes")).json
    named = [package["labelCode"] for package in (await client.status(created["orderNumber"])).json["packages"]]
    assert named == [package["labelCode"] for package in created["packages"]]
