"""A return that the shop says is at the carrier already is asked about, and never created."""

from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import text

from tests.engine.scripted import Loop, ScriptedCarrier, make_loop
from tests.store.rows import now
from worker.carriers.port import Creation, NotFound, NotSent
from worker.domain.by_hand import Person, found, retry
from worker.domain.circuits import Circuit, Health
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.store.database import Database
from worker.store.dialect import POSTGRESQL
from worker.store.holds import change_health
from worker.store.restores import declare_restored
from worker.store.upkeep.choice import Choice, choose
from worker.usecases.desk import Desk

ROW = "state, carrier_ref, tracking_status, carrier_status, error_code, error_message, create_started_at"


class NothingIsCreated(ScriptedCarrier):
    def prepare(self, order: Any) -> Creation:
        raise AssertionError("a creation was prepared")


async def insert(loop: Loop, reference: str, number: str) -> None:
    cast = "CAST('{}' AS jsonb)" if loop.database.dialect == POSTGRESQL else "'{}'"
    statement = text(
        f"INSERT INTO return_order (reference, payload, adopt_carrier_ref) VALUES (:reference, {cast}, :ref)"
    )
    values = {"reference": reference, "ref": number}
    await loop.database.transaction(lambda connection: connection.execute(statement, values))


async def history(loop: Loop) -> list[tuple[Any, ...]]:
    lines = text("SELECT field, old_value, new_value, reason FROM status_transition ORDER BY id")
    rows = await loop.database.reading(lambda connection: connection.execute(lines).all())
    return [tuple(row) for row in rows]


def unknown(_: str) -> NoReturn:
    raise NotFound("the carrier answered 404")


@pytest.fixture
def carrier() -> ScriptedCarrier:
    return NothingIsCreated()


@pytest.fixture
async def loop(database: Database, tmp_path: Path, carrier: ScriptedCarrier) -> Loop:
    return await make_loop(database, tmp_path, {"default": carrier})


async def test_it_is_asked_about_by_its_number_and_followed(loop: Loop, carrier: ScriptedCarrier) -> None:
    carrier.codes = lambda _: ["7RET1"]
    await insert(loop, "R-1", "9RET1")
    await loop.turn()
    assert carrier.calls == [("track", "R-1")]
    (row,) = await loop.rows(ROW)
    assert (row["state"], row["carrier_ref"], row["tracking_status"], row["carrier_status"], row["error_code"]) == (
        *("tracking", "9RET1", "in_transit", "OnItsWay", None),
    )
    assert await history(loop) == [
        ("state", "pending", "tracking", "it is at the carrier already, as 9RET1: adopted, and not created"),
        ("tracking_status", None, "in_transit", None),
    ]
    packages = await loop.database.reading(
        lambda c: c.execute(text("SELECT tracking_number FROM package")).scalars().all()
    )
    assert packages == ["7RET1"]
    await loop.turn()
    assert carrier.calls[1:] == [("label", "R-1")]


async def test_one_that_is_delivered_already_comes_to_its_end(loop: Loop, carrier: ScriptedCarrier) -> None:
    carrier.on_track = lambda _: TrackingUpdate(TrackingStatus.DELIVERED, "Bezorgd")
    await insert(loop, "R-1", "9RET1")
    for _ in range(3):
        await loop.turn()
    (row,) = await loop.rows(ROW)
    assert (row["state"], row["tracking_status"]) == ("completed", "delivered")
    states = [(old, new) for field, old, new, _ in await history(loop) if field == "state"]
    assert states == [("pending", "tracking"), ("tracking", "completed")]


@pytest.mark.parametrize("number", ["9RET1", "../../0"])
async def test_a_number_that_the_carrier_does_not_know_is_a_persons_and_retry_asks_again(
    loop: Loop, carrier: ScriptedCarrier, number: str
) -> None:
    carrier.on_track = unknown
    await insert(loop, "R-1", number)
    await loop.turn()
    (row,) = await loop.rows(ROW)
    assert (row["state"], row["error_code"]) == ("needs_attention", "carrier_lost_it")
    assert f"does not know {number}" in row["error_message"]
    assert len(carrier.calls) == number.isalnum(), "what is no number of the carrier's is part of no request's path"
    desk = Desk(loop.database, Person("anna"), lambda _: loop.accounts["default"].policy, "command:test")
    await desk.settle(await choose(loop.database, Choice()), retry)
    await loop.turn()
    assert (await loop.rows("state"))[0]["state"] == "needs_attention"
    await desk.settle(await choose(loop.database, Choice()), found("9RET7"))
    assert (await loop.rows("state, carrier_ref"))[0] == {"state": "tracking", "carrier_ref": "9RET7"}


async def test_a_number_that_another_return_has_is_a_persons_and_is_not_asked_about(
    loop: Loop, carrier: ScriptedCarrier
) -> None:
    await loop.insert("9RET1", state="tracking")
    await loop.execute("UPDATE return_order SET due_at = '2036-01-01 00:00:00'")
    await insert(loop, "R-1", "9RET1")
    await loop.turn()
    _, row = await loop.rows(ROW)
    assert (row["state"], row["error_code"], row["create_started_at"]) == ("needs_attention", "carrier_ref_taken", None)
    assert carrier.calls == []


async def test_a_failure_that_passes_is_tried_again_and_nothing_is_in_doubt(
    loop: Loop, carrier: ScriptedCarrier
) -> None:
    def away(_: str) -> NoReturn:
        raise NotSent("no connection")

    carrier.on_track = away
    await insert(loop, "R-1", "9RET1")
    await loop.turn()
    (row,) = await loop.rows(ROW)
    assert (row["state"], row["error_code"], row["create_started_at"]) == ("pending", "carrier_unreachable", None)


async def test_a_restore_puts_nothing_in_doubt_that_was_never_to_be_sent(loop: Loop, carrier: ScriptedCarrier) -> None:
    await insert(loop, "R-1", "9RET1")
    await declare_restored(loop.database)
    await loop.turn()
    assert [(row["state"], row["carrier_ref"]) for row in await loop.rows(ROW)] == [("tracking", "9RET1")]


async def test_it_is_asked_about_while_no_creation_may_be_sent(loop: Loop, carrier: ScriptedCarrier) -> None:
    await change_health(loop.database, "default", lambda *_: Health(creations=Circuit(5, now(minutes=5))))
    await loop.insert("R-0")
    await insert(loop, "R-1", "9RET1")
    await loop.turn()
    assert carrier.calls == [("track", "R-1")]


@pytest.mark.parametrize(("answer", "reason"), [(unknown, "does not know it any more"), (None, "was not told")])
async def test_a_withdrawal_waits_until_the_carrier_was_asked(
    loop: Loop, carrier: ScriptedCarrier, answer: Any, reason: str
) -> None:
    carrier.on_track = answer or carrier.on_track
    await insert(loop, "R-1", "9RET1")
    await loop.execute("UPDATE return_order SET cancel_requested_at = created_at")
    await loop.turn()
    await loop.turn()
    assert (await loop.rows("state"))[0]["state"] == "cancelled"
    assert reason in (await history(loop))[-1][3]
    assert carrier.count("create") == 0
