"""Injected faults, as a client meets them."""

import aiohttp
import pytest

from worker.simulator import FAULTS, Simulator
from worker.simulator.faults import (
    busy,
    cut,
    garbage,
    hang,
    html,
    huge,
    redirect,
    reply,
    server_error,
    throttled,
    trickle,
    truncated,
)


async def test_a_fault_hits_as_often_as_asked_and_then_no_more(client, sim):
    sim.inject("create", busy(3), times=2)
    answers = [await client.create() for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "3"
    assert len(sim.orders) == 1


async def test_faults_of_one_operation_queue_and_leave_the_others_alone(client, sim):
    number = await client.created()
    sim.inject("status", throttled(None))
    sim.inject("status", server_error())
    assert (await client.label(number)).status == 200
    first = await client.status(number)
    assert first.status == 429
    assert "Retry-After" not in first.headers
    assert [(await client.status(number)).status for _ in range(2)] == [500, 200]


async def test_a_lasting_fault_ends_when_cleared(client, sim):
    sim.inject("create", busy(), times=None)
    assert {(await client.create()).status for _ in range(5)} == {503}
    sim.clear_faults("create")
    assert (await client.create()).status == 200


async def test_any_reply_can_be_given(client, sim):
    sim.inject("create", reply(418, {"X-Tea": "pot", "content-type": "text/tea"}, b"\x00\xff"))
    answer = await client.create()
    assert (answer.status, answer.body) == (418, b"\x00\xff")
    assert (answer.headers["X-Tea"], answer.headers["Content-Type"]) == ("pot", "text/tea")
    sim.inject("create", reply(body={"a": 1}))
    assert (await client.create()).json == {"a": 1}


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("fault", [cut, garbage, html, server_error, huge, hang])
async def test_the_request_is_carried_out_only_if_the_fault_says_so(client, sim, request_body, fault, process):
    sim.inject("create", fault(process=process) if fault is not huge else huge(10, process=process))
    if fault is cut:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.create()
    elif fault is hang:
        with pytest.raises(TimeoutError):
            await client.call(
                "POST",
                "/shipment/retour",
                json=request_body,
                timeout=aiohttp.ClientTimeout(total=0.2),
            )
    else:
        await client.create()
    assert len(sim.orders) == int(process)


async def test_garbage_is_announced_as_json_and_is_none(client, sim):
    sim.inject("status", garbage())
    answer = await client.status("9RET1")
    assert answer.headers["Content-Type"] == "application/json"
    with pytest.raises(ValueError):
        _ = answer.json


async def test_html_comes_with_200(client, sim):
    sim.inject("label", html())
    answer = await client.label("9RET1")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


async def test_a_huge_body_has_the_asked_size_and_no_announced_length(client, sim):
    sim.inject("label", huge(1_000_001))
    answer = await client.label("9RET1")
    assert len(answer.body) == 1_000_001
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("operation", ["create", "label", "status"])
async def test_a_truncated_body_ends_before_its_announced_length(client, sim, operation):
    number = await client.created()
    sim.inject(operation, truncated())
    with pytest.raises(aiohttp.ClientPayloadError):
        await (client.create() if operation == "create" else getattr(client, operation)(number))
    assert sim.ledger[-1].reply_status == 200
    assert len(sim.orders) == (2 if operation == "create" else 1)


async def test_a_redirect_names_the_url_it_was_given(client, sim):
    sim.inject("label", redirect("http://other.example/label", 302))
    answer = await client.label("9RET1")
    assert (answer.status, answer.headers["Location"]) == (302, "http://other.example/label")


async def test_a_trickled_answer_is_the_true_one(client, sim):
    number = await client.created()
    true = await client.label(number)
    sim.inject("label", trickle(0))
    assert (await client.label(number)).body == true.body


async def test_a_connection_the_carrier_cuts_itself_stays_cut_under_a_spoiling_fault(client, sim):
    sim.inject("create", trickle(0))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.create("sim:lost-answer")


@pytest.mark.parametrize("status", [99, 199, 600])
def test_a_status_that_is_none_is_refused(status):
    with pytest.raises(ValueError, match="status"):
        reply(status)


@pytest.mark.parametrize("headers", [{"Content-Length": "5"}, {"X": "a\r\nB: c"}, {"": "x"}, {"X": 5}])
def test_headers_that_would_break_the_answer_are_refused(headers):
    with pytest.raises(ValueError, match="headers"):
        reply(headers=headers)


@pytest.mark.parametrize(("operation", "times"), [("delete", 1), ("create", 0), ("create", -1)])
def test_an_injection_that_makes_no_sense_is_refused(operation, times):
    with pytest.raises(ValueError, match="must be"):
        Simulator().inject(operation, busy(), times)


def test_every_fault_is_explained_in_one_line():
    assert len(FAULTS) == 15
    assert all(text.endswith(".") for text in FAULTS.values())
