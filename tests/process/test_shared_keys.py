"""Two accounts that send with one key, as shops have for two receivers or maps: one pace, and nothing mixed up."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.process.running import PILOT_PAYLOAD, RunningWorker, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import cut

Start = Callable[..., RunningWorker]


@pytest.fixture
def shared(config: Path) -> Path:
    """The settings with an account `second` that has the key of `pilot`."""
    text = config.read_text()
    begin = text.index("[accounts.pilot]")
    pilot = text[begin : text.index("[polling]")]
    second = pilot.replace("accounts.pilot", "accounts.second").replace("pilot.key", "second.key")
    config.write_text(text[:begin] + second + text[begin:])
    shutil.copy(config.parent / "pilot.key", config.parent / "second.key")
    return config


async def insert(shop: Shop, reference: str, account: str, email: str) -> None:
    customer = {**PILOT_PAYLOAD["customer"], "email": email, "name": email}
    await shop.insert(reference, {**PILOT_PAYLOAD, "customer": customer}, account=account)


async def test_an_order_of_another_account_with_the_same_key_is_never_adopted(
    start: Start, shop: Shop, carrier: Simulator, shared: Path
) -> None:
    worker = await start().ready()
    said = worker.saw("accounts_share_key")
    assert said is not None
    assert "pilot, second" in said["warning"]
    await insert(shop, "sim:stuck-1", "pilot", "first@example.com")
    await until(lambda: shop.is_in("sim:stuck-1", "tracking"), 10, lambda: worker.log_text)
    carrier.inject("rp_create", cut())
    await insert(shop, "sim:stuck-1", "second", "second@example.com")
    held = "SELECT * FROM return_order WHERE account = 'second' AND state <> 'pending'"
    await until(lambda: shop.execute(held), 20, lambda: worker.log_text)
    (order,) = await shop.execute(held)
    assert (order["state"], order["error_code"]) == ("needs_attention", "reference_not_unique")
    assert "of account pilot" in order["error_message"]
    assert len(carrier.requests("rp_create")) == 2


@on_sqlite
async def test_accounts_with_one_key_keep_one_pace_at_the_carrier_and_neither_starves_the_other(
    start: Start, shop: Shop, carrier: Simulator, shared: Path
) -> None:
    paced = re.sub(
        r'(carrier = "returnpilot"(?:\n.*)*?\nrate_per_minute = )0', r"\g<1>120", shared.read_text(), count=2
    )
    assert paced.count("rate_per_minute = 120") == 2
    shared.write_text(paced)
    worker = await start().ready()
    for number in range(8):
        for account in ("pilot", "second"):
            await insert(shop, f"sim:stuck-{account}-{number}", account, f"{number}@example.com")
    await until(lambda: len(carrier.pilot_orders) == 16, 30, lambda: worker.log_text)
    at = [request.at for request in carrier.ledger if request.operation.startswith("rp_")]
    interval = 65.065 / (120 - 12 + 1)
    for first in range(len(at)):
        for last in range(first, len(at)):
            allowed = 12 + (at[last] - at[first] + 0.5) / interval
            assert last - first + 1 <= allowed, f"{last - first + 1} requests in {at[last] - at[first]:.1f} s"
    spent = await shop.execute("SELECT name FROM carrier_account WHERE spent_until IS NOT NULL")
    assert [row["name"] for row in spent] == ["pilot"]
