"""An answer without sense is counted so in the metric of requests, whoever found out, and keeps nobody else waiting."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.carriers import pilot, wire
from tests.carriers.pilot import document, in_doubt, listed, piloting
from tests.engine.scripted import Loop, make_loop
from tests.engine.test_sweep import ListedCarrier, followed
from worker.carriers import open_carrier
from worker.carriers.port import Carrier
from worker.carriers.registry import AccountConfig
from worker.domain.kin import alone
from worker.domain.outcomes import Failed
from worker.engine.creation import look_up
from worker.engine.meter import Meter
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.holds import read_accounts

Observed = list[tuple[str, str]]


async def looped(
    database: Database, folder: Path, carrier: str, answer: Any, observed: Observed, **options: Any
) -> Loop:
    def open_with(meter: Meter) -> Carrier:
        return open_carrier(
            AccountConfig(carrier=carrier, key=lambda: "token", base_url="https://carrier.test"),
            lambda operation, outcome, seconds: observed.append((operation, str(outcome))),
            wire.answered_by(answer),
            meter,
        )

    return await make_loop(database, folder, {"default": open_with}, **options)


async def test_a_page_with_an_order_that_has_no_sense_is_counted_so(database: Database, tmp_path: Path) -> None:
    carrier, observed = ListedCarrier(range(1, 101)), Observed()
    carrier.orders[3]["shipments"] = "none"
    loop = await looped(database, tmp_path, "returnpilot", carrier, observed)
    await followed(loop, range(1, 101))
    await loop.turn()
    assert sorted(observed) == [("sweep", "ok"), ("sweep", "unintelligible")]


async def test_an_answer_that_our_own_records_give_away_is_counted_so(database: Database, tmp_path: Path) -> None:
    codes, observed = {"1": "7RET1", "2": "7RET1"}, Observed()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            number = json.loads(request.content)["description"].removeprefix("Return ")
            return httpx.Response(200, json={"orderNumber": number, "packages": [{"labelCode": f"7RET{number}"}]})
        number = request.url.path.rpartition("/")[2]
        return httpx.Response(200, json={"status": "Created", "packages": [{"labelCode": codes.get(number)}]})

    loop = await looped(database, tmp_path, "izipack", answer, observed)
    payload = json.dumps({**wire.PAYLOAD, "description": ""}).replace("'", "")
    await loop.insert("1", "2")
    await loop.execute(f"UPDATE return_order SET payload = '{payload}'")
    await loop.turn()
    assert observed == [("create", "ok")] * 2
    ago = "datetime('now', '-1 hour')" if database.dialect == "sqlite" else "now() - interval '1 hour'"
    await loop.execute(f"UPDATE return_order SET next_step = 'track', due_at = {ago}, track_due_at = {ago}")
    await loop.turn()
    assert sorted(observed[2:]) == [("track", "ok"), ("track", "unintelligible")]


async def test_a_look_up_that_proves_nothing_is_counted_so(database: Database) -> None:
    made = f"{pilot.NOW:%Y-%m-%d %H:%M:%S}"
    pages = (
        listed(document(id=5, reference="A", created_at=made), next_page=2),
        listed(document(id=4, reference=None, created_at=made)),
    )
    async with piloting(*pages, now=pilot.NOW) as account:
        outcome = await look_up(in_doubt(), account.carrier, database, alone("pilot"))
    assert isinstance(outcome, Failed)
    assert [(operation, str(ended)) for operation, ended in account.observed] == [
        ("lookup", "ok"),
        ("lookup", "unintelligible"),
    ]


async def test_returns_without_a_status_or_sense_hold_no_creation_back(database: Database, tmp_path: Path) -> None:
    """Eight returns whose status was null kept the account's creations waiting for 27 minutes."""
    observed = Observed()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"orderNumber": "9RET1"})
        return httpx.Response(200, json={"status": None if int(request.url.path[-1]) % 2 else {"name": "?"}})

    loop = await looped(database, tmp_path, "izipack", answer, observed, max_in_flight=20)
    await loop.insert_followed([f"N{number}" for number in range(16)], datetime.now(UTC) - timedelta(hours=1))
    await loop.turn()
    assert sorted(observed) == [("track", "ok")] * 8 + [("track", "unintelligible")] * 8
    state = (await read_accounts(database))["default"]
    assert not state.health.account.is_open(await database_now(database))
    rows = await loop.rows("reference, tracking_status, attempts, error_code, unchanged_polls")
    silent = [row for row in rows if int(row["reference"][-1]) % 2]
    assert {tuple(row.values())[1:] for row in silent} == {("pending", 0, None, 1)}
    await loop.insert("C")
    await loop.execute(f"UPDATE return_order SET payload = '{json.dumps(wire.PAYLOAD)}' WHERE reference = 'C'")
    await loop.turn()
    assert ("create", "ok") in observed
