"""What `show` prints of one return: every number, address and link of it, whole, for a reader and for a pipe."""

import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.cli.calls import ACCOUNTS, called, configured
from tests.process.shop import Shop
from worker.cli.shown_return import print_return
from worker.domain.waits import WaitsFor
from worker.store.tables import LabelRow, PackageRow, ReturnOrderRow
from worker.store.upkeep.history import History
from worker.usecases.show import ShownReturn

TRACKING = "https://track.example/" + "7" * 150
LINK = "https://app.example/return/" + "x" * 150
LOCATION = "file:labels/ab/" + "9" * 150 + ".pdf"
CUSTOMER: dict[str, Any] = {
    "name": "Jo [bold]Smith[/bold]",
    "email": "jo@example.com",
    "phone": "+31612345678",
    "address": {
        "street": "Kooizandweg",
        "house_number": 9,
        "line_2": "bis",
        "postal_code": "1601 LK",
        "city": "Enkhuizen",
    },
}
PAYLOAD = {
    "customer": {**CUSTOMER, "address": {**CUSTOMER["address"], "region": "NH", "country": "NL"}},
    "pickup_date": "2026-12-01",
    "receiver": {"name": "Shop\x1b[2J\nof\u2028Jo", "address": {"street": "Dam 1", "country": "UK"}},
}
WHO = "Jo [bold]Smith[/bold], Kooizandweg 9, bis, 1601 LK Enkhuizen, NH, NL, jo@example.com, +31612345678"


def lines_of(text: str) -> dict[str, str]:
    return {line.partition(" ")[0]: line for line in text.splitlines()}


def test_a_return_is_shown_with_its_customer_and_every_number_and_link_on_a_line_of_its_own(
    folder: Path, filled_url: str
) -> None:
    configured(folder, f'database.url = "{filled_url}"\n{ACCOUNTS}')
    asyncio.run(_with_everything(Shop(filled_url)))
    done = called("show", "R-1")
    assert done.exit_code == 0, done.output
    shown = lines_of(done.stdout)
    assert shown["customer"].endswith(f" {WHO}")
    assert shown["receiver"].endswith(" Shop [2J of Jo, Dam 1, UK")
    assert shown["return_url"].endswith(f" {LINK}")
    assert shown["package"] == f"package 1    7RET1 shoes 3STRACK {TRACKING}"
    assert shown["label"] == f"label 1      {LOCATION} (application/pdf, 9 bytes, 2 pages)"
    assert shown["get"].split(maxsplit=3)[3] == "returns-worker label R-1 -o FILE"
    assert shown["pick-up"].endswith(" 2026-12-01")
    assert shown["waits"].split()[2] == "worker_absent:"
    assert "\n  returns-worker cancel R-1\n" in done.stdout
    assert "lease_token" not in done.stdout
    assert "next_step" in called("show", "R-1", "--all").stdout


async def _with_everything(shop: Shop) -> None:
    (row,) = await shop.execute(
        "INSERT INTO return_order (reference, payload, return_url) VALUES ('R-1', ?1, ?2) RETURNING id", PAYLOAD, LINK
    )
    await shop.execute(
        "INSERT INTO package (return_order_id, position, label_code, description, tracking_number, tracking_url)"
        " VALUES (?1, 1, '7RET1', 'shoes', '3STRACK', ?2)",
        row["id"],
        TRACKING,
    )
    await shop.execute(
        "INSERT INTO label"
        " (return_order_id, position, location, media_type, byte_count, page_count, sha256, fetched_at)"
        " VALUES (?1, 1, ?2, 'application/pdf', 9, 2, 'ab', '2026-06-01 00:00:00')",
        row["id"],
        LOCATION,
    )


def test_nothing_that_is_copied_is_cut_or_folded_on_a_narrow_terminal() -> None:
    order = ReturnOrderRow(id=1, account="default", reference="R-1", payload=PAYLOAD, return_url=LINK)
    package = PackageRow(return_order_id=1, position=1, tracking_number="3STRACK", tracking_url=TRACKING)
    label = LabelRow(return_order_id=1, position=1, location=LOCATION, media_type="image/png", byte_count=9)
    screen = io.StringIO()
    found = ShownReturn(History(order, [], [package], [label]))
    print_return(found, Console(file=screen, force_terminal=True, width=40, color_system=None))
    for whole in (WHO, LINK, f"3STRACK {TRACKING}", f"{LOCATION} (image/png, 9 bytes)"):
        assert whole in screen.getvalue()


def test_what_an_account_waits_for_is_said_of_a_return_that_waits_for_it() -> None:
    order = ReturnOrderRow(id=1, account="default", reference="R-1", payload={})
    label = LabelRow(
        return_order_id=1, position=1, location=LOCATION, media_type="application/pdf", byte_count=9, page_count=1
    )
    for waits_for in (None, WaitsFor.CARRIER_FAILING):
        screen = io.StringIO()
        found = ShownReturn(History(order, [], [], [label]), account_waits="left alone", waits_for=waits_for)
        print_return(found, Console(file=screen, width=200))
        assert ("left alone" in lines_of(screen.getvalue()).get("until", "")) == (waits_for is not None)
        assert "(application/pdf, 9 bytes, 1 page)" in screen.getvalue()


def test_a_payload_of_any_shape_is_shown_as_far_as_it_names_somebody() -> None:
    for payload in ({}, {"customer": 5, "receiver": None}, {"customer": {"name": []}}):
        order = ReturnOrderRow(id=1, account="default", reference="R-1", payload=payload)
        screen = io.StringIO()
        print_return(ShownReturn(History(order, [], [], [])), Console(file=screen, width=80))
        assert lines_of(screen.getvalue()).keys() & {"customer", "receiver"} == set()


@pytest.mark.parametrize(
    ("columns", "next_is"),
    [
        ({}, "it is created at"),
        ({"adopt_carrier_ref": "9RET1"}, "the carrier is asked about it, nothing is created, at"),
        ({"create_started_at": datetime(2026, 6, 1, tzinfo=UTC)}, "what became of its creation is asked at"),
    ],
)
def test_only_what_may_be_created_is_said_to_be_and_the_number_to_adopt_is_shown(
    columns: dict[str, Any], next_is: str
) -> None:
    due = datetime(2026, 6, 1, tzinfo=UTC)
    order = ReturnOrderRow(id=1, account="default", reference="R-1", payload={}, state="pending", due_at=due, **columns)
    screen = io.StringIO()
    print_return(ShownReturn(History(order, [], [], [])), Console(file=screen, width=120))
    shown = lines_of(screen.getvalue())
    assert shown["next"].split(maxsplit=1)[1] == f"{next_is} 2026-06-01 00:00:00 UTC"
    assert ("9RET1" in shown.get("adopt_carrier_ref", "")) is ("adopt_carrier_ref" in columns)
