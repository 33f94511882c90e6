"""Returns that are at the carrier already are brought in: asked about first, all or none, and never created."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.process.running import CONFIG, KEY, PAYLOAD, TOKEN
from tests.process.shop import Shop
from worker.carriers.registry import CARRIERS
from worker.domain.by_hand import Person
from worker.settings import Settings, load
from worker.simulator import Simulator
from worker.simulator.faults import reply
from worker.store.accounts import register_accounts
from worker.store.database import Database
from worker.store.holds import hold_by_hand
from worker.usecases import adopt
from worker.usecases.adopt import Brought, bring_in
from worker.usecases.adoptable import Existing
from worker.usecases.not_done import NotDone

ANNA = Person("anna", "moved here")


@pytest.fixture
async def carrier() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY, stage_seconds=1000, token=TOKEN, rate_limit=0) as simulator:
        yield simulator


@pytest.fixture
def settings(tmp_path: Path, migrated_url: str, carrier: Simulator) -> Settings:
    (tmp_path / "izipack.key").write_text(KEY)
    (tmp_path / "pilot.key").write_text(TOKEN)
    file = tmp_path / "worker.toml"
    text = CONFIG.format(database_url=migrated_url, carrier_url=carrier.url, folder=tmp_path)
    file.write_text(text + text[text.index("[accounts.pilot]") : text.index("[polling]")].replace("pilot]", "second]"))
    return load(file, need_keys=True, carriers=CARRIERS)


@pytest.fixture
def orders(migrated_url: str) -> Shop:
    return Shop(migrated_url)


Bring = Callable[..., Any]


@pytest.fixture
def bring(settings: Settings, database: Database) -> Bring:
    async def bring_them(*existing: Existing, unasked: bool = False) -> Brought:
        return await bring_in(
            settings, database, existing, ANNA, "command:test", unasked=unasked, tell=lambda done, total: None
        )

    return bring_them


async def made(carrier: Simulator) -> str:
    """An order at Izipack that another system created; what went over the wire for it is forgotten."""
    body = {
        "sender": _party(PAYLOAD["customer"]),
        "receiver": _party(PAYLOAD["customer"]),
        "packages": [{"dimensions": dict.fromkeys(("height", "width", "depth", "weight"), 1)}],
    }
    request = Request(
        f"{carrier.url}/shipment/retour",
        json.dumps(body).encode(),
        {"x-api-key": KEY, "Content-Type": "application/json"},
    )
    answer = await asyncio.to_thread(lambda: urlopen(request).read())
    carrier.ledger.clear()
    return str(json.loads(answer)["orderNumber"])


def _party(customer: dict[str, Any]) -> dict[str, Any]:
    address = customer["address"]
    return {
        "name": customer["name"],
        "address": {
            "country": "NL",
            "street": address["street"],
            "housenumber": address["house_number"],
            "zipCode": address["postal_code"],
            "city": address["city"],
        },
    }


def one(reference: str, number: str, account: str = "default", **more: Any) -> Existing:
    return Existing(reference, account, reference, number, **more)


async def test_what_each_carrier_says_is_recorded_as_a_first_poll_is_and_nothing_is_created(
    bring: Bring, carrier: Simulator, orders: Shop
) -> None:
    number, pilot = await made(carrier), carrier.add_pilot_order("OLD-2")
    brought = await bring(one("OLD-1", number), one("OLD-2", str(pilot.id), "pilot", payload={"description": "shoes"}))
    assert (len(brought.adopted), len(brought.problems)) == (2, 0)
    first, second = await orders.order("OLD-1"), await orders.order("OLD-2")
    assert (first["state"], first["carrier_ref"], first["tracking_status"], first["carrier_status"]) == (
        *("tracking", number, "pre_transit", "Created"),
    )
    assert (second["state"], second["tracking_status"]) == ("tracking", "pending")
    assert second["return_url"].startswith("http")
    assert json.loads(second["payload"]) == {"description": "shoes"}
    assert (first["lease_owner"], first["adopt_carrier_ref"]) == (None, number)
    line, news = await orders.history("OLD-1")
    assert (line["old_value"], line["new_value"]) == ("pending", "tracking")
    assert line["reason"] == (
        f"it is at the carrier already, as {number}: adopted, and not created; by anna: moved here"
    )
    assert (news["field"], news["new_value"]) == ("tracking_status", "pre_transit")
    (package,) = await orders.execute("SELECT tracking_number FROM package")
    assert package["tracking_number"].startswith("7RET")
    assert {request.method for request in carrier.ledger} == {"GET"}


async def test_a_number_that_is_believed_is_asked_about_by_nobody_yet(
    bring: Bring, carrier: Simulator, orders: Shop
) -> None:
    assert (await bring(one("OLD-1", "9RET1"), unasked=True)).problems == ()
    row = await orders.order("OLD-1")
    assert (row["state"], row["carrier_ref"], row["tracking_status"]) == ("tracking", "9RET1", None)
    assert row["due_at"] is not None
    (line,) = await orders.history("OLD-1")
    assert "adopted unasked" in line["reason"]
    assert not carrier.ledger


async def test_of_a_file_with_one_number_that_the_carrier_does_not_know_nothing_goes_in(
    bring: Bring, carrier: Simulator, orders: Shop
) -> None:
    number = await made(carrier)
    brought = await bring(one("OLD-1", "9RET404"), one("OLD-2", number), one("OLD-3", "9RET405"))
    assert [problem.split(": ")[:2] for problem in brought.problems] == [["OLD-1", "9RET404"], ["OLD-3", "9RET405"]]
    assert await orders.execute("SELECT 1 FROM return_order") == []
    assert len(carrier.requests("status")) == 3


@pytest.mark.parametrize("unasked", [False, True], ids=["asked", "unasked"])
async def test_what_is_there_already_is_said_with_the_way_out_and_nothing_is_asked(
    bring: Bring, carrier: Simulator, orders: Shop, unasked: bool
) -> None:
    insert = (
        "INSERT INTO return_order (account, reference, payload, state, next_step, carrier_ref, error_code, due_at)"
        " VALUES (?1, ?2, '{}', ?3, ?4, ?5, ?6, NULL)"
    )
    await orders.execute(insert, "default", "DOUBT", "needs_attention", "create", None, "create_outcome_unknown")
    await orders.execute(insert, "default", "-x `id`", "rejected", "create", None, None)
    await orders.execute(insert, "second", "KIN", "completed", "track", "77", None)
    await orders.execute(
        "INSERT INTO return_order (reference, payload, adopt_carrier_ref) VALUES ('SQL', '{}', '9RET5')"
    )
    await orders.execute(
        "INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, document)"
        " VALUES (99, 'default', 'GONE', '9RET9', '2025-01-01 00:00:00', '{}')"
    )
    brought = await bring(
        one("DOUBT", "9RET1"),
        one("-x `id`", "9RET4"),
        one("SQL", "9RET2"),
        one("GONE", "9RET3"),
        one("NEW-1", "9RET9"),
        one("NEW-2", "77", "pilot"),
        unasked=unasked,
    )
    doubt, hostile, sql, gone, *numbers = brought.problems
    assert "it is rejected; `returns-worker resolve REFERENCE --carrier-ref 9RET4`" in hostile, "it may be pasted"
    assert "its creation in doubt; `returns-worker resolve DOUBT --carrier-ref 9RET1`" in doubt
    assert "it is pending, to be adopted as 9RET5" in sql
    assert "GONE is there already: it is archived" in gone
    assert sorted(numbers) == [
        "NEW-1: 9RET9 is GONE of account default already",
        "NEW-2: 77 is KIN of account second already",
    ]
    assert not carrier.ledger
    assert len(await orders.execute("SELECT 1 FROM return_order")) == 4
    again = await bring(one("KIN", "77", "second"), unasked=unasked)
    assert again.problems == ["KIN: KIN is there already: it is completed, as 77"]


async def test_what_is_wrong_with_a_line_is_said_by_its_place(bring: Bring, carrier: Simulator) -> None:
    brought = await bring(
        one("A", "../0"), one("B", "9RET1", "nobody"), one(" ", "9RET1"), one("D", "\udcff"), one("E\x00", "9RET1")
    )
    assert brought.problems == [
        "A: carrier_ref: '../0' is no number of izipack's",
        "B: account nobody is not configured here",
        " : reference: must not be empty",
        "D: it holds a character that no database can keep",
        "E\x00: it holds a character that no database can keep",
    ]
    twice = await bring(one("A", "9RET1"), Existing("f:3", "default", "A", "9RET2"), one("C", "9RET1"))
    assert twice.problems == ["f:3: the same reference as A", "C: the same number as A"]
    kin = await bring(one("A", "77", "pilot"), one("B", "77", "second"))
    assert kin.problems == ["B: the same number as A"]
    assert not carrier.ledger


async def test_an_account_that_cannot_be_asked_is_refused_with_the_way(
    bring: Bring, carrier: Simulator, database: Database, orders: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopt, "_AGAIN_AFTER", (0.0,))
    number = await made(carrier)
    carrier.inject("status", reply(500), 2)
    with pytest.raises(NotDone, match=r"account default: .*500.*nothing was adopted; `--unasked` believes"):
        await bring(one("OLD-1", number))
    assert len(carrier.requests("status")) == 2
    carrier.inject("status", reply(401), 1)
    with pytest.raises(NotDone, match=r"401.*--unasked"):
        await bring(one("OLD-1", number))
    with pytest.raises(NotDone, match=r"accounts release default.*--unasked"):  # the key is known to be refused now
        await bring(one("OLD-1", number))
    await register_accounts(database, ["pilot"])
    await hold_by_hand(database, "pilot", None, "by anna")
    with pytest.raises(NotDone, match=r"accounts release pilot.*--unasked"):
        await bring(one("OLD-1", "77", "pilot"))
    assert await orders.execute("SELECT 1 FROM return_order") == []
    assert len((await bring(one("OLD-1", number), unasked=True)).adopted) == 1
