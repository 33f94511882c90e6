"""Label addresses that are good for their very bytes alone, for a time, through a redirect, or relative."""

import asyncio
import json
from urllib.parse import urljoin

import pytest

from worker.simulator.faults import changed_links

KEY = {"Authorization": "Bearer RP-simulator"}


async def raw_get(sim, target, headers=""):
    """Ask for the target with these very bytes; no client library re-spells it."""
    reader, writer = await asyncio.open_connection(*sim.url.removeprefix("http://").split(":"))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {sim.url[7:]}\r\nConnection: close\r\n{headers}\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split(b" ")[1]), head.decode(), body


def target_of(sim, url):
    assert url.startswith(sim.url)
    return url.removeprefix(sim.url)


@pytest.fixture
async def link(client, sim):
    """The label's address in an order with that word, or in one that met that fault."""

    async def shown(word, fault=None):
        number = sim.add_pilot_order(word, stage=1).id
        if fault is not None:
            sim.inject("rp_order", fault)
        answer = await client.call("GET", f"/api/v1/orders/{number}", key=None, headers=KEY)
        return answer.json["data"]["shipments"][0]["label_url"]

    return shown


@pytest.mark.parametrize("fault", [None, changed_links()])
async def test_a_signed_link_gives_the_label_to_whoever_sends_its_very_bytes(sim, link, fault):
    target = target_of(sim, await link("sim:signed-label" if fault is None else "plain", fault))
    assert all(spelling in target for spelling in ("%2F", "%2f", "%40", "+"))
    status, _, body = await raw_get(sim, target)
    assert (status, body[:5]) == (200, b"%PDF-")
    assert (await raw_get(sim, target, "Authorization: Bearer RP-simulator\r\n"))[0] == 200


@pytest.mark.parametrize(
    ("there", "instead"),
    [("%2F", "/"), ("%2f", "%2F"), ("%40", "@"), ("+", "%20"), ("expires=", "expires=9"), ("signed/", "signed/1")],
)
async def test_a_signed_link_that_is_spelt_otherwise_is_403_and_says_what_came(sim, link, there, instead):
    target = target_of(sim, await link("sim:signed-label"))
    other = target.replace(there, instead, 1)
    assert other != target
    status, _, body = await raw_get(sim, other)
    assert status == 403
    assert other in json.loads(body)["message"]


async def test_a_signed_link_without_its_signature_is_403_with_the_key_too(sim, link):
    target = target_of(sim, await link("sim:signed-label"))
    for shorter in (target.partition("?")[0], target.rpartition("&")[0], target + "0"):
        assert (await raw_get(sim, shorter, "Authorization: Bearer RP-simulator\r\n"))[0] == 403


async def test_a_signed_link_runs_out(sim, link):
    assert (await raw_get(sim, target_of(sim, await link("plain", changed_links(seconds=0)))))[0] == 403
    assert (await raw_get(sim, target_of(sim, await link("plain", changed_links(seconds=60)))))[0] == 200


@pytest.mark.parametrize("fault", [None, changed_links("moved")])
async def test_a_moved_label_redirects_to_a_signed_link(sim, link, fault):
    target = target_of(sim, await link("sim:moved-label" if fault is None else "plain", fault))
    assert (await raw_get(sim, target))[0] == 401
    status, head, _ = await raw_get(sim, target, "Authorization: Bearer RP-simulator\r\n")
    assert status == 302
    location = next(line[10:] for line in head.splitlines() if line.startswith("Location: "))
    assert (await raw_get(sim, target_of(sim, location)))[0] == 200


async def test_what_a_moved_label_leads_to_runs_out_too(sim, link):
    target = target_of(sim, await link("plain", changed_links("moved", seconds=0)))
    for asked in (target, target.partition("?")[0], target + "x"):
        _, head, _ = await raw_get(sim, asked, "Authorization: Bearer RP-simulator\r\n")
        location = next(line[10:] for line in head.splitlines() if line.startswith("Location: "))
        assert (await raw_get(sim, target_of(sim, location)))[0] == 403


@pytest.mark.parametrize("fault", [None, changed_links("relative")])
async def test_a_relative_address_leads_to_the_label_from_the_api_s(sim, link, fault):
    url = await link("sim:relative-label" if fault is None else "plain", fault)
    assert url.startswith("/labels/")
    target = target_of(sim, urljoin(f"{sim.returnpilot_url}/orders/1", url))
    assert (await raw_get(sim, target, "Authorization: Bearer RP-simulator\r\n"))[0] == 200


async def test_each_order_of_a_page_has_its_link_changed_and_one_without_label_none(client, sim):
    sim.add_pilot_order("R-1", stage=1)
    sim.add_pilot_order("R-2 sim:slow-label", stage=1)
    sim.inject("rp_orders", changed_links("relative"))
    page = (await client.call("GET", "/api/v1/orders", key=None, headers=KEY)).json
    urls = [order["shipments"][0]["label_url"] for order in page["data"]]
    assert urls[0] is None
    assert urls[1].startswith("/labels/")


async def test_a_signed_link_to_what_is_not_there_is_404(sim, link):
    target = target_of(sim, await link("sim:signed-label sim:dead-label"))
    assert (await raw_get(sim, target))[0] == 404
