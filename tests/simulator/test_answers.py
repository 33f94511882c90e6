"""True answers in odd JSON: by a fault for the next requests, by a magic word for one return."""

import pytest

from worker.simulator.faults import changed_answer, html, reply


async def pilot(client, path):
    answer = await client.call("GET", path, key=None, headers={"Authorization": "Bearer RP-simulator"})
    assert answer.status == 200
    return answer.json


async def order(client, sim, reference, **options):
    return (await pilot(client, f"/api/v1/orders/{sim.add_pilot_order(reference, stage=1, **options).id}"))["data"]


@pytest.mark.parametrize(("change", "there"), [("null-status", True), ("no-status", False)])
async def test_a_status_can_be_null_or_missing(client, sim, change, there):
    by_word = (await client.status(await client.created(f"sim:{change}"))).json
    sim.inject("status", changed_answer(change))
    by_fault = (await client.status(await client.created())).json
    for document in (by_word, by_fault):
        assert ("status" in document, document.get("status")) == (there, None)
        assert len(document["packages"]) == 2
    (shipment,) = (await order(client, sim, f"sim:{change}"))["shipments"]
    assert ("status" in shipment, shipment.get("status")) == (there, None)


async def test_a_list_can_come_as_an_object(client, sim):
    created = (await client.create("sim:object-lists")).json["packages"]
    assert list(created) == ["1", "2"]
    assert created["2"]["description"] == "package 2"
    assert list((await order(client, sim, "sim:object-lists"))["shipments"]) == ["1"]
    sim.inject("rp_orders", changed_answer("object-lists"))
    listed = await pilot(client, "/api/v1/orders")
    assert listed["data"]["1"]["reference"] == "sim:object-lists"
    assert listed["links"]["last"] is None


async def test_a_list_of_none_stays_one(client, sim):
    sim.inject("rp_orders", changed_answer("object-lists"))
    assert (await pilot(client, "/api/v1/orders"))["data"] == []


async def test_a_list_of_one_can_come_as_the_one_itself(client, sim, request_body):
    one = request_body["packages"][:1]
    number = await client.created("sim:bare-items", packages=one)
    assert (await client.status(number)).json["packages"].keys() == {"labelCode"}
    assert len((await client.create("sim:bare-items")).json["packages"]) == 2
    assert (await order(client, sim, "sim:bare-items"))["shipments"]["status"] == 1
    sim.inject("rp_orders", changed_answer("bare-items"))
    assert (await pilot(client, "/api/v1/orders"))["data"]["reference"] == "sim:bare-items"


async def test_ids_can_come_with_a_fraction(client, sim):
    shown = await order(client, sim, "sim:float-ids")
    assert isinstance(shown["id"], float)
    assert int(shown["id"]) in sim.pilot_orders
    assert isinstance(shown["shipments"][0]["id"], float)
    assert shown["shipments"][0]["status"] == 1
    sim.inject("rp_order", changed_answer("float-ids"))
    assert isinstance((await order(client, sim, "plain"))["id"], float)


async def test_ids_can_have_19_digits_and_lead_back_to_their_order_and_label(client, sim):
    number = sim.add_pilot_order("sim:long-ids", stage=1).id
    (shipment,) = (await order(client, sim, "sim:long-ids"))["shipments"]
    assert (len(str(number)), len(str(shipment["id"]))) == (19, 19)
    assert number < shipment["id"] < 2**63
    key = {"Authorization": "Bearer RP-simulator"}
    path = shipment["label_url"].removeprefix(sim.url)
    assert (await client.call("GET", path, key=None, headers=key)).body.startswith(b"%PDF-")
    plain = sim.add_pilot_order("plain", stage=1)
    assert (await pilot(client, f"/api/v1/orders/{plain.id}"))["data"]["shipments"][0]["id"] == plain.id * 10 + 1


async def test_a_status_word_can_be_spelt_so_that_only_the_eye_knows_it(client, sim):
    word = (await client.status(await client.created("sim:odd-spelling"))).json["status"]
    assert word == "Ｃ\u200bｒｅａｔｅｄ"
    sim.inject("status", changed_answer("odd-spelling"))
    assert (await client.status(await client.created())).json["status"] == word


async def test_an_error_keeps_its_status(client, sim):
    sim.inject("status", changed_answer("null-status"))
    assert (await client.status("9RET1")).json["status"] == 404


async def test_what_is_no_json_stays_as_it_is(client, sim):
    sim.inject("label", changed_answer("object-lists"))
    assert (await client.label(await client.created())).body.startswith(b"%PDF-")


@pytest.mark.parametrize("status", [200, 503])
async def test_maintenance_can_be_a_page_or_nothing_with_any_status(client, sim, status):
    sim.inject("status", html(status))
    sim.inject("status", reply(status))
    page, nothing = await client.status("9RET1"), await client.status("9RET1")
    assert (page.status, page.headers["Content-Type"], b"<html>" in page.body) == (
        status,
        "text/html; charset=utf-8",
        True,
    )
    assert (nothing.status, nothing.body) == (status, b"")
