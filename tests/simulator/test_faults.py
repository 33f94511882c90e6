"""Injected faults, as a client meets them."""

import asyncio
import gzip
import inspect
import json
import re
from pathlib import Path

import aiohttp
import pytest

from worker.simulator import FAULTS, Simulator, faults
from worker.simulator.answers import ANSWER_CHANGES
from worker.simulator.faults import (
    busy,
    changed_answer,
    changed_label,
    changed_links,
    charset,
    cut,
    encoding,
    garbage,
    hang,
    html,
    huge,
    long_headers,
    not_found,
    redirect,
    reply,
    server_error,
    throttled,
    trickle,
    truncated,
    twice,
)
from worker.simulator.izipack import Izipack
from worker.simulator.labels import LABEL_CHANGES
from worker.simulator.links import LINK_CHANGES
from worker.simulator.returnpilot import ReturnPilot


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


@pytest.mark.parametrize("status", [404, 405, 410, 499])
async def test_an_error_can_be_answered_after_all_was_done(client, sim, status):
    sim.inject("create", not_found(status))
    assert (await client.create()).status == status
    assert len(sim.orders) == 1
    sim.inject("create", not_found(status, process=False))
    assert (await client.create()).status == status
    assert len(sim.orders) == 1


@pytest.mark.parametrize("pause", [0, 0.01])
async def test_each_answer_can_be_sent_twice(client, sim, pause):
    number = await client.created()
    true = await client.label(number)
    sim.inject("label", twice(pause), times=2)
    reader, writer = await asyncio.open_connection(*sim.url.removeprefix("http://").split(":"))
    request = f"GET /shipment/{number}/label HTTP/1.1\r\nHost: x\r\nx-api-key: IZI-simulator\r\n\r\n".encode()
    for _ in range(2):
        writer.write(request)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nContent-Type: application/pdf\r\n" in head
            assert await reader.readexactly(len(true.body)) == true.body
    writer.close()
    assert [entry.reply_status for entry in sim.requests("label")] == [200, 200, 200]
    assert (await client.label(number)).body == true.body


@pytest.mark.parametrize(("byte_count", "lines"), [(12_000, 1), (3_000, 150), (70_000, 1)])
async def test_headers_can_be_as_long_as_asked_around_the_true_answer(client, sim, byte_count, lines):
    number = await client.created()
    sim.inject("status", long_headers(byte_count, lines))
    path = f"/shipment/{number}"
    answer = await client.call("GET", path, max_field_size=100_000, max_headers=1000)
    assert answer.json["status"] == "Created"
    added = [value for value in answer.headers.values() if value.startswith("xx")]
    assert (len(added), sum(map(len, added))) == (lines, byte_count)


async def test_an_encoding_can_be_said_and_not_done_or_done(client, sim):
    number = await client.created()
    plain = await client.status(number)
    sim.inject("status", encoding())
    sim.inject("status", encoding("br"))
    sim.inject("status", encoding("gzip", applied=True))
    path = f"/shipment/{number}"
    answers = [await client.call("GET", path, auto_decompress=False) for _ in range(3)]
    assert [answer.headers["Content-Encoding"] for answer in answers] == ["gzip", "br", "gzip"]
    assert answers[0].body == answers[1].body == plain.body
    assert gzip.decompress(answers[2].body) == plain.body


async def test_a_text_can_come_in_another_charset_named_or_not(client, sim):
    number = await client.created("Käse")
    sim.inject("status", charset())
    sim.inject("status", charset("utf-16", declared=False))
    first, second = await client.status(number), await client.status(number)
    assert first.headers["Content-Type"] == "application/json; charset=iso-8859-1"
    assert "Käse".encode("latin-1") in first.body
    assert second.headers["Content-Type"] == "application/json"
    assert json.loads(second.body.decode("utf-16"))["description"] == "Käse"
    sim.inject("label", charset())
    assert (await client.label(number)).body.startswith(b"%PDF-")


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        (twice, {"pause_seconds": -1}),
        (long_headers, {"lines": 0}),
        (long_headers, {"byte_count": 1, "lines": 2}),
        (encoding, {"coding": "a\r\nb"}),
        (encoding, {"coding": "br", "applied": True}),
        (charset, {"name": "klingon"}),
        (charset, {"name": "hex"}),
        (not_found, {"status": 99}),
        (html, {"status": 99}),
        (changed_label, {"change": "eaten"}),
        (changed_answer, {"change": "eaten"}),
        (changed_links, {"change": "eaten"}),
        (changed_links, {"seconds": -1}),
    ],
)
def test_what_a_fault_cannot_do_is_refused_by_the_parameter_s_name(fault, parameters):
    with pytest.raises(ValueError, match="|".join(parameters)):
        fault(**parameters)


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
    assert len(FAULTS) == 23
    assert all(text.endswith(".") for text in FAULTS.values())


def test_the_page_lists_every_operation_and_every_fault_as_they_are():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "simulator.md").read_text(encoding="utf-8")
    for name, text in FAULTS.items():
        signature = inspect.signature(getattr(faults, name)).parameters.values()
        each = (
            f"`{parameter.name}`"
            if parameter.default is parameter.empty
            else f"`{parameter.name}` {json.dumps(parameter.default)}"
            for parameter in signature
        )
        assert f"| `{name}` | {', '.join(each) or 'none'} | {text} |\n" in page
    for changes, word in ((LABEL_CHANGES, "sim:{}-label"), (LINK_CHANGES, "sim:{}-label"), (ANSWER_CHANGES, "sim:{}")):
        for name, change in changes.items():
            assert f"| `{name}` | `{word.format(name)}` | {change.meaning} |\n" in page
    assert page.count("\n| `") == len(FAULTS) + len(LABEL_CHANGES) + len(LINK_CHANGES) + len(ANSWER_CHANGES)
    assert all(f"`{operation}`" in page for operation in (*Izipack.operations, *ReturnPilot.operations))


async def test_each_fault_that_the_page_orders_is_taken(client):
    page = (Path(__file__).parents[2] / "docs" / "reference" / "simulator.md").read_text(encoding="utf-8")
    orders = re.findall(r"-d '(.+?)'", page)
    assert len(orders) == page.count("/simulator/faults")
    assert [(await client.call("POST", "/simulator/faults", data=wish.encode())).status for wish in orders] == [201] * 6
