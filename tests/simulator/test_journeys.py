"""Time and magic words: what a return goes through."""

import io

import aiohttp
import pytest
from pypdf import PdfReader

from worker.simulator import DEFAULT_JOURNEY, MAGIC_WORDS, Simulator
from worker.simulator.journeys import magic_words, stage_at


async def walk(client, clock, number, steps=6):
    seen = []
    for _ in range(steps):
        seen.append((await client.status(number)).json["status"])
        clock.forward(10)
    return seen


async def test_the_status_moves_one_word_each_stage(client, clock):
    seen = await walk(client, clock, await client.created())
    assert seen == ["Created", "PickedUp", "InTransit", "Delivered", "Delivered", "Delivered"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sim:stuck", ["Created"] * 6),
        ("sim:cancelled", ["Created"] + ["Cancelled"] * 5),
        ("sim:unknown-status", ["Created", "PickedUp", "AtDepot7", "InTransit", "Delivered", "Delivered"]),
    ],
)
async def test_a_magic_word_chooses_the_journey(client, clock, word, expected):
    assert await walk(client, clock, await client.created(f"return {word}-17")) == expected


async def test_a_slow_label_is_404_then_json_then_the_pdf(client):
    number = await client.created("sim:slow-label")
    first, second, third = [await client.label(number) for _ in range(3)]
    assert first.status == 404
    assert (second.status, second.headers["Content-Type"]) == (200, "application/json")
    assert third.body.startswith(b"%PDF-")


async def test_a_bad_label_is_html_for_ever(client):
    number = await client.created("sim:bad-label")
    for _ in range(4):
        label = await client.label(number)
        assert label.status == 200
        assert b"<html>" in label.body
        assert not label.body.startswith(b"%PDF-")


async def test_a_label_is_404_until_its_time(client, clock):
    async with Simulator(label_seconds=30, clock=clock) as slow:
        client.simulator = slow
        number = await client.created()
        assert (await client.label(number)).status == 404
        clock.forward(30)
        assert len(PdfReader(io.BytesIO((await client.label(number)).body)).pages) == 2


async def test_busy_turns_away_the_first_create_of_each_return(client, sim):
    first = await client.create("sim:busy-1")
    assert (first.status, first.headers["Retry-After"]) == (503, "1")
    assert sim.orders == {}
    assert (await client.create("sim:busy-1")).status == 200
    assert (await client.create("sim:busy-2")).status == 503


@pytest.mark.parametrize(("word", "status"), [("sim:refuse", 400), ("sim:server-error", 500)])
async def test_a_refused_create_makes_nothing(client, sim, word, status):
    for _ in range(2):
        assert (await client.create(word)).status == status
    assert sim.orders == {}


async def test_a_lost_answer_leaves_an_order_behind(client, sim):
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.create("sim:lost-answer")
    (order,) = sim.orders.values()
    assert order.description == "sim:lost-answer"
    assert [(entry.operation, entry.reply_status) for entry in sim.ledger] == [("create", None)]


async def test_no_number_is_a_success_without_one(client, sim):
    answer = await client.create("sim:no-number")
    assert answer.status == 200
    assert "orderNumber" not in answer.json
    assert len(sim.orders) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("order 7 sim:busy", {"sim:busy"}),
        ("SIM:Busy2", {"sim:busy"}),
        ("sim:stuck,sim:bad-label", {"sim:stuck", "sim:bad-label"}),
        ("sim:busybody sim:other", set()),
        ("", set()),
    ],
)
def test_a_magic_word_is_found_wherever_it_stands(text, words):
    assert magic_words(text) == words


def test_no_magic_word_is_taken_for_another():
    assert all(magic_words(f"{word}-1") == {word} for word in MAGIC_WORDS)


def test_every_magic_word_is_explained_in_one_line():
    assert all(word.startswith("sim:") and text and "\n" not in text for word, text in MAGIC_WORDS.items())


@pytest.mark.parametrize(
    ("elapsed", "stage_seconds", "expected"),
    [
        (-5, 1, "Created"),
        (0.99, 1, "Created"),
        (1, 1, "PickedUp"),
        (1e300, 1e-300, "Delivered"),
        (0, 0, "Delivered"),
        (5, float("inf"), "Created"),
    ],
)
def test_a_stage_is_a_matter_of_time_alone(elapsed, stage_seconds, expected):
    assert stage_at(DEFAULT_JOURNEY, elapsed, stage_seconds) == expected


async def test_a_test_may_script_the_journey_of_a_running_order(client, sim):
    number = await client.created()
    sim.orders[number].journey = ("Lost",)
    assert (await client.status(number)).json["status"] == "Lost"
