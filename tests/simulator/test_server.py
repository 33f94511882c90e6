"""Starting, stopping, the ledger, and the controls over HTTP."""

import asyncio
import io
import time

import aiohttp
import httpx
import pytest

from worker.simulator import Simulator
from worker.simulator.carrier import LEDGER_LENGTH
from worker.simulator.faults import hang, huge, trickle


async def open_requests(client, sim, until, operation, fault, count=3):
    number = await client.created()
    sim.inject(operation, fault, times=count)
    call = client.label if operation == "label" else client.status
    tasks = [asyncio.create_task(call(number)) for _ in range(count)]
    await until(lambda: len(sim.requests(operation)) == count)
    return tasks


@pytest.mark.parametrize("fault", [hang(), hang(process=True), huge(10**12), trickle(60)])
async def test_stopping_ends_every_open_request_at_once(client, sim, until, fault):
    tasks = await open_requests(client, sim, until, "label", fault)
    began = time.monotonic()
    await sim.stop()
    assert time.monotonic() - began < 0.9
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, aiohttp.ClientError) for result in results)


async def test_a_client_that_does_not_read_cannot_hold_up_the_stop(client, sim, until):
    sim.inject("label", huge(10**12))
    host, port = sim.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /shipment/9RET1/label HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: sim.ledger)
    began = time.monotonic()
    await sim.stop()
    assert time.monotonic() - began < 0.9
    writer.close()


async def test_a_client_that_gives_up_leaves_nothing_behind(client, sim, until):
    tasks = await open_requests(client, sim, until, "status", hang())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: not sim._open)


async def test_after_an_outage_it_is_back_on_its_port_with_its_orders(client, sim):
    url, number = sim.url, await client.created()
    await sim.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.status(number)
    await sim.start()
    assert sim.url == url
    assert (await client.status(number)).status == 200


async def test_starting_twice_is_an_error_and_stopping_twice_is_none(sim):
    with pytest.raises(RuntimeError, match="already"):
        await sim.start()
    await sim.stop()
    await sim.stop()


async def test_a_port_in_use_is_an_error_that_leaves_nothing_running(sim):
    other = Simulator(port=int(sim.url.rpartition(":")[2]))
    with pytest.raises(OSError, match="address already in use"):
        await other.start()
    await other.stop()


def test_there_is_no_url_before_the_start():
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = Simulator().url


async def test_the_ledger_tells_every_request_in_order_and_no_key(client, sim):
    number = await client.created("first")
    await client.label(number)
    await client.status(number)
    await client.call("GET", "/nowhere", headers={"Authorization": "Bearer secret"})
    assert [(r.operation, r.method, r.path, r.reply_status) for r in sim.ledger] == [
        ("create", "POST", "/shipment/retour", 200),
        ("label", "GET", f"/shipment/{number}/label", 200),
        ("status", "GET", f"/shipment/{number}", 200),
        ("unknown", "GET", "/nowhere", 404),
    ]
    assert sim.ledger[0].body["description"] == "first"
    assert sim.ledger[1].body is None
    assert sim.ledger[3].headers["authorization"] == "***"
    assert all(r.headers["x-api-key"] == "***" for r in sim.ledger)
    assert sorted(r.at for r in sim.ledger) == [r.at for r in sim.ledger]
    assert sim.ledger.maxlen == LEDGER_LENGTH


async def test_a_request_that_is_never_completed_is_in_the_ledger(sim, until):
    host, port = sim.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /shipment/retour HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await until(lambda: sim.ledger)
    assert [(r.operation, r.reply_status) for r in sim.ledger] == [("create", None)]


async def test_a_body_that_is_too_large_is_refused(client, sim):
    answer = await client.call("POST", "/shipment/retour", data=io.BytesIO(b" " * 2_000_000))
    assert answer.status == 413
    assert [(entry.operation, entry.reply_status) for entry in sim.ledger] == [("create", 413)]


async def test_a_body_that_cannot_be_read_ends_the_connection(client, sim, caplog):
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.call("POST", "/shipment/retour", data=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert [(entry.operation, entry.reply_status) for entry in sim.ledger] == [("create", None)]
    assert caplog.records == []


async def test_a_client_that_expects_100_continue_gets_it(client):
    answer = await client.call("POST", "/shipment/retour", data=b"{}", expect100=True)
    assert answer.status == 400


async def test_many_requests_at_once_are_all_answered(client, sim):
    answers = await asyncio.gather(*(client.create(f"return {n}") for n in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert len(sim.orders) == len(sim.requests("create")) == 200


async def test_httpx_gets_on_with_it_too(sim, request_body):
    async with httpx.AsyncClient(base_url=sim.url, headers={"x-api-key": "IZI-simulator"}) as client:
        created = await client.post("/shipment/retour", json=request_body)
        assert (await client.get(f"/shipment/{created.json()['orderNumber']}")).json()["status"] == "Created"


async def test_a_fault_can_be_injected_over_http_without_a_key(client, sim):
    answer = await client.inject(operation="create", fault="busy", times=2, retry_after=7)
    assert (answer.status, answer.json) == (201, {"operation": "create", "fault": "busy", "times": 2})
    answers = [await client.create() for _ in range(3)]
    assert [a.status for a in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"
    await client.inject(operation="create", fault="reply", status=202, body={"a": 1}, headers={"X-A": "b"})
    answer = await client.create()
    assert (answer.status, answer.json, answer.headers["X-A"]) == (202, {"a": 1}, "b")


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"fault": "busy"}, "operation must be one of create, label, status"),
        ({"operation": "create"}, "fault must be one of reply, busy"),
        ({"operation": "create", "fault": ["busy"]}, "fault must be one of"),
        ({"operation": "create", "fault": "busy", "times": 0}, "times must be"),
        ({"operation": "create", "fault": "busy", "times": "2"}, "times must be"),
        ({"operation": "create", "fault": "busy", "times": True}, "times must be"),
        ({"operation": "create", "fault": "busy", "wait": 1}, "busy has no parameter 'wait'"),
        ({"operation": "create", "fault": "busy", "retry_after": "1"}, "retry_after must be int or null"),
        ({"operation": "create", "fault": "reply", "status": True}, "status must be int"),
        ({"operation": "create", "fault": "reply", "status": 42}, "status must be 200 to 599"),
        ({"operation": "create", "fault": "reply", "headers": {"A": "b\n"}}, "headers: 'A'"),
        ({"operation": "create", "fault": "redirect"}, "redirect needs the parameter 'url'"),
        ({"operation": "create", "fault": "redirect", "url": "a\r\nb: c"}, "headers: 'Location'"),
        ({"operation": "create", "fault": "huge", "byte_count": 0}, "byte_count must be"),
        ({"operation": "create", "fault": "trickle", "seconds_per_byte": -1}, "seconds_per_byte must be"),
    ],
)
async def test_a_bad_wish_is_answered_with_what_is_wrong(client, wish, complaint):
    answer = await client.inject(**wish)
    assert answer.status == 400
    assert complaint in answer.json["error"]
    assert (await client.create()).status == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
async def test_a_wish_that_is_no_object_is_refused(client, body):
    answer = await client.call("POST", "/simulator/faults", data=body)
    assert (answer.status, answer.json) == (400, {"error": "the body must be a JSON object"})


async def test_requests_and_orders_can_be_read_over_http(client, sim):
    numbers = [await client.created(f"return {n}") for n in range(3)]
    await client.status(numbers[0])
    requests = (await client.call("GET", "/simulator/requests", key=None)).json
    assert requests["total"] == 4
    assert [r["operation"] for r in requests["requests"]] == ["create", "create", "create", "status"]
    assert requests["requests"][0]["headers"]["x-api-key"] == "***"
    newest = (await client.call("GET", "/simulator/requests?operation=create&limit=1", key=None)).json
    assert (newest["total"], newest["requests"][0]["body"]["description"]) == (3, "return 2")
    orders = (await client.call("GET", "/simulator/orders?limit=2", key=None)).json
    assert (orders["total"], list(orders["orders"])) == (3, numbers[1:])
    assert orders["orders"][numbers[2]]["status"] == "Created"
    assert len(sim.ledger) == 4  # the controls themselves are no requests to the carrier


@pytest.mark.parametrize("limit", ["0", "-1", "x", "10001", "²"])
async def test_a_limit_that_is_none_is_refused(client, limit):
    assert (await client.call("GET", f"/simulator/requests?limit={limit}")).status == 400


async def test_a_reset_forgets_everything(client, sim):
    await client.create("sim:busy")
    await client.created()
    sim.inject("create", hang(), times=None)
    assert (await client.call("POST", "/simulator/reset", key=None)).json == {"reset": True}
    assert (len(sim.ledger), sim.orders) == (0, {})
    assert (await client.create("sim:busy")).status == 503
    assert (await client.create("sim:busy")).status == 200


async def test_the_controls_explain_themselves(client):
    page = (await client.call("GET", "/simulator", key=None)).json
    assert "sim:busy" in page["magic_words"]
    assert "trickle" in page["faults"]
    assert (await client.call("GET", "/simulator/nothing", key=None)).status == 404


def test_stopping_ends_hanging_requests_at_once_on_uvloop_too():
    uvloop = pytest.importorskip("uvloop")

    async def stop_with_open_requests() -> float:
        async with Simulator() as sim, httpx.AsyncClient(base_url=sim.url) as client:
            sim.inject("label", hang(), times=None)
            tasks = [asyncio.create_task(client.get("/shipment/1/label")) for _ in range(5)]
            for _ in range(2000):
                if len(sim.ledger) == 5:
                    break
                await asyncio.sleep(0.002)
            began = time.monotonic()
            await sim.stop()
            took = time.monotonic() - began
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, httpx.TransportError) for result in results)
            return took

    assert uvloop.run(stop_with_open_requests()) < 0.9
