"""How many requests a return costs its carrier over its whole life, counted on the wire."""

from collections import Counter
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.engine.scripted import Loop, make_loop
from tests.process.running import KEY, PAYLOAD, PILOT_PAYLOAD, TOKEN
from worker.carriers import open_carrier
from worker.carriers.port import Carrier
from worker.carriers.registry import AccountConfig
from worker.domain.tracking import TrackingStatus
from worker.engine.meter import Meter
from worker.simulator import Simulator
from worker.store.database import Database
from worker.store.upkeep.intake import NewReturn, insert_returns

RECEIVER = {
    "name": "Webshop",
    "address": {
        "street": "Dokter de Grootlaan",
        "house_number": "3",
        "postal_code": "2071TG",
        "city": "Santpoort",
        "country": "NL",
    },
}
WORDS = {"PickedUp": "in_transit", "InTransit": "in_transit", "Delivered": "delivered"}
POLLS = 3  # the simulator's journeys have four stages; the creation says the first


async def _turn(loop: Loop) -> None:
    """A turn at which whatever is next is due."""
    await loop.execute("UPDATE return_order SET due_at = '2020-01-01 00:00:00' WHERE due_at IS NOT NULL")
    await loop.turn()


@on_sqlite  # what is asked does not depend on it
@pytest.mark.parametrize(
    ("carrier", "payload", "expected"),
    [
        ("izipack", PAYLOAD, {"create": 1, "label": 1, "status": POLLS}),
        # The link is shown at once, and its label comes with the shipment, at the address that the poll showed.
        ("returnpilot", PILOT_PAYLOAD, {"rp_create": 1, "rp_label": 1, "rp_order": POLLS}),
    ],
)
async def test_a_return_costs_a_creation_its_label_and_a_poll_for_each_look(
    database: Database, tmp_path: Path, carrier: str, payload: dict[str, object], expected: dict[str, int]
) -> None:
    now = [1000.0]
    async with Simulator(api_key=KEY, token=TOKEN, stage_seconds=10, rate_limit=0, clock=lambda: now[0]) as simulator:

        def open_with(meter: Meter) -> Carrier:
            izipack = carrier == "izipack"
            config = AccountConfig(
                carrier=carrier,
                key=lambda: KEY if izipack else TOKEN,
                base_url=simulator.url if izipack else simulator.returnpilot_url,
                receiver=RECEIVER,
                status_map={word: TrackingStatus(status) for word, status in WORDS.items()} if izipack else {},
            )
            return open_carrier(config, lambda operation, outcome, seconds: None, None, meter)

        loop = await make_loop(database, tmp_path, {"default": open_with})
        await insert_returns(database, [NewReturn("default", "R-1", payload)])
        for _ in range(10):  # some of them after its end
            await _turn(loop)
            (row,) = await loop.rows()
            if row["next_step"] == "track":
                now[0] += 10  # the parcel moves on before it is looked at again
        await loop.accounts["default"].carrier.close()
        asked = Counter(request.operation for request in simulator.ledger)
    assert (row["state"], row["tracking_status"]) == ("completed", "delivered")
    assert asked == expected
