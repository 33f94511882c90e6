"""A status that names another return's label code is not this return's news; codes that nobody knows are kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.engine.scripted import POLICY, Loop, ScriptedCarrier, make_loop
from worker.domain.by_hand import Person
from worker.domain.kin import Kin
from worker.domain.outcomes import Created
from worker.domain.returns import PackageInfo
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.engine.meter import Meter
from worker.store.database import Database
from worker.usecases.carrier import Opened
from worker.usecases.poll_now import Asker


async def _followed(database: Database, folder: Path, codes: dict[str, Sequence[str]], **carriers: Any) -> Loop:
    """Returns A, B and C, each created with a label code of its own, whose statuses are asked for now."""
    carrier = ScriptedCarrier()
    carrier.on_create = lambda reference: Created(
        f"N{reference}", None, (PackageInfo(1, f"7RET-{reference}"),), has_label=False
    )
    carrier.on_track = lambda reference: TrackingUpdate(
        TrackingStatus.DELIVERED, "Bezorgd", raw='{"status": "Bezorgd"}'
    )
    carrier.codes = lambda reference: codes.get(reference, ())
    loop = await make_loop(database, folder, {"default": carrier, **carriers}, max_in_flight=10)
    await loop.insert("A", "B", "C")
    await loop.turn()
    await _ask_now(loop)
    return loop


async def _ask_now(loop: Loop) -> None:
    await loop.execute(
        "UPDATE return_order SET due_at = created_at, track_due_at = created_at WHERE state = 'tracking'"
    )


async def _packages(loop: Loop) -> list[tuple[Any, ...]]:
    packages = text(
        "SELECT o.reference, p.position, p.label_code, p.tracking_number FROM package p"
        " JOIN return_order o ON o.id = p.return_order_id ORDER BY o.reference, p.position"
    )
    return [tuple(row) for row in await loop.database.reading(lambda connection: connection.execute(packages).all())]


async def test_a_status_that_names_another_returns_label_code_is_not_this_returns_news(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given two returns whose answers were mixed up, and one whose was not
    loop = await _followed(database, tmp_path, {"A": ["7RET-B"], "B": ["7RET-B", "7RET-A"], "C": ["7RET-C"]})
    capsys.readouterr()
    # When they are asked about
    await loop.turn()
    # Then only the one that was not is delivered; the others are asked about again, and say why
    rows = {row["reference"]: row for row in await loop.rows()}
    assert (rows["C"]["state"], rows["C"]["tracking_status"]) == ("completed", "delivered")
    for reference, other in (("A", "B"), ("B", "A")):
        row = rows[reference]
        assert (row["state"], row["tracking_status"], row["carrier_status"]) == ("tracking", "pre_transit", None)
        assert (row["error_code"], row["attempts"]) == ("unintelligible_answer", 1)
        assert f"label code 7RET-{other}, which is {other}'s" in row["error_message"]
    assert [number for *_, number in await _packages(loop)] == [None, None, None]
    assert "".join(capsys.readouterr()).count("answer_of_another_return") == 2
    assert loop.metrics.unknown_label_codes.labels("default")._value.get() == 0


async def test_a_code_of_a_return_of_another_account_of_the_carrier_is_another_returns_too(
    database: Database, tmp_path: Path
) -> None:
    other = ScriptedCarrier()
    loop = await _followed(database, tmp_path, {}, other=other)
    other.codes = lambda reference: ["7RET-A"]
    loop.accounts["other"].beside = lambda: Kin(("default", "other"), ("other",))
    await loop.insert("D", account="other", state="tracking")
    await loop.turn()
    (row,) = [row for row in await loop.rows() if row["reference"] == "D"]
    assert row["error_code"] == "unintelligible_answer"


async def test_codes_that_nobody_knows_are_kept_counted_and_warned_of_once(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing documents that a status repeats the codes of its creation: its sample has others."""
    loop = await _followed(database, tmp_path, {"A": ["7RET-A", "7IZP-2"], "B": ["7IZP-3"], "C": []})
    carrier = loop.accounts["default"].carrier
    assert isinstance(carrier, ScriptedCarrier)
    carrier.on_track = lambda reference: TrackingUpdate(TrackingStatus.IN_TRANSIT, "Onderweg")
    capsys.readouterr()
    for _ in range(3):
        await loop.turn()
        await _ask_now(loop)
    assert {row["tracking_status"] for row in await loop.rows()} == {"in_transit"}
    assert {row["error_code"] for row in await loop.rows()} == {None}
    assert await _packages(loop) == [
        ("A", 1, "7RET-A", None),
        ("A", 2, None, "7IZP-2"),
        ("B", 1, "7RET-B", "7IZP-3"),
        ("C", 1, "7RET-C", None),
    ]
    assert loop.metrics.unknown_label_codes.labels("default")._value.get() == 2
    assert "".join(capsys.readouterr()).count("unknown_label_codes") == 1


async def test_a_code_that_a_mere_status_named_is_nobodys(database: Database, tmp_path: Path) -> None:
    """Else one answer that was mixed up would keep its true owner's news away for ever."""
    loop = await _followed(database, tmp_path, {"A": ["7IZP-1"], "B": [], "C": []})
    carrier = loop.accounts["default"].carrier
    assert isinstance(carrier, ScriptedCarrier)
    carrier.on_track = lambda reference: TrackingUpdate(TrackingStatus.IN_TRANSIT, "Onderweg")
    await loop.turn()
    carrier.codes = lambda reference: ["7IZP-1"]
    await _ask_now(loop)
    await loop.turn()
    assert {row["error_code"] for row in await loop.rows()} == {None}


async def test_a_person_who_asks_is_not_told_of_another_return(database: Database, tmp_path: Path) -> None:
    loop = await _followed(database, tmp_path, {"A": ["7RET-B"]})
    opened = Opened(
        database=database,
        account="default",
        carrier=loop.accounts["default"].carrier,
        meter=Meter(database, "default", None, lambda: 0.0),
        policy=POLICY,
        timeout=20.0,
        key=lambda: "key",
        near=["default"],
    )
    asker = Asker(opened, owner="command", clock=lambda: 0.0, chance=lambda: 0.5)
    asked = await asker.ask((await loop.rows("id"))[0]["id"], Person("anna"))
    assert "is about another return" in json.dumps(getattr(asked.answer, "message", None))
    assert (await loop.rows("tracking_status"))[0] == {"tracking_status": "pre_transit"}
