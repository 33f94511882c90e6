"""A label that is refused is told, and a person leads it out: looks at what came, and takes it as it is."""

import re
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.databases import on_sqlite
from tests.process.running import KEY, PILOT_PAYLOAD, TOKEN, RunningWorker, typed, until
from tests.process.shop import Shop
from worker.simulator import Simulator
from worker.simulator.faults import reply
from worker.simulator.pdf import text_pdf

Start = Callable[..., RunningWorker]

SINCE = 'returns_worker_oldest_missing_label_timestamp_seconds{account="default"}'
THREE_PAGES = text_pdf([["a page for the parcel"], ["a page for the shop"], ["how to pack"]])
REFUSED = "the PDF has 3 page(s) where 2 were expected"


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
async def carrier(clock: list[float]) -> AsyncIterator[Simulator]:
    """As time passes at the carrier only when a test says so, no return is completed before a person has acted."""
    async with Simulator(api_key=KEY, stage_seconds=1, token=TOKEN, rate_limit=0, clock=lambda: clock[0]) as simulator:
        yield simulator


async def refused(worker: RunningWorker, shop: Shop, reference: str) -> None:
    async def is_refused() -> bool:
        return (await shop.order(reference))["label_error_code"] == "label_unusable"

    await until(is_refused, 15, lambda: worker.log_text)


async def labels(shop: Shop) -> list[dict[str, object]]:
    return await shop.execute("SELECT position, location, media_type, byte_count, page_count FROM label ORDER BY id")


@on_sqlite
async def test_a_refused_label_is_told_and_a_person_looks_at_it_and_takes_it(
    start: Start, shop: Shop, carrier: Simulator, config: Path, tmp_path: Path
) -> None:
    worker = await start().ready()
    carrier.inject("label", reply(200, {"Content-Type": "application/pdf"}, THREE_PAGES), None)
    await shop.insert("R-1 at noon")
    await refused(worker, shop, "R-1 at noon")
    number = (await shop.order("R-1 at noon"))["carrier_ref"]
    reference, file = "R-1 at noon", tmp_path / "came.pdf"

    told = [line for line in worker.events if line.get("step") == "label"]
    assert told[0]["why"].startswith(REFUSED)
    await until(lambda: is_missing(worker), 15, lambda: worker.log_text)

    code, out, _ = await typed(config, "show", reference)
    assert code == 0
    assert re.search(
        r"label missing +since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: label_unusable: the PDF has 3 page", out
    ), out
    assert "`returns-worker label 'R-1 at noon' --accept`" in out

    file.touch(0o644)
    code, out, said = await typed(config, "label", reference, "--refetch", "--unchecked", "-o", str(file))
    assert (code, out) == (0, "")
    assert REFUSED in said and f"written to {file}" in said and "--accept" in said
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (THREE_PAGES, 0o600)
    assert await labels(shop) == []
    code, _, said = await typed(config, "label", reference, "--refetch", "-o", str(file))
    assert (code, REFUSED in said, "--accept" in said) == (1, True, True)

    code, out, said = await typed(config, "label", reference, "--accept", "--by", "anna", "--reason", "it prints")
    assert (code, said) == (0, "1 return changed\n")
    accepted = f"label 1 taken as it is (application/pdf, {len(THREE_PAGES)} bytes); by anna: it prints"
    assert out == f"{reference}: tracking: {accepted}\n"
    (row,) = await labels(shop)
    assert (row["media_type"], row["byte_count"], row["page_count"]) == ("application/pdf", len(THREE_PAGES), 3)
    order = await shop.order(reference)
    assert (order["state"], order["label_due_at"], order["label_error_code"]) == ("tracking", None, None)
    assert accepted in [line["reason"] for line in await shop.history(reference)]
    code, _, _ = await typed(config, "label", reference, "-o", str(file))
    assert (code, file.read_bytes()) == (0, THREE_PAGES)
    await until(lambda: is_missing(worker, False), 15, lambda: worker.log_text)

    code, _, said = await typed(config, "label", reference, "--accept")
    assert code == 1
    assert f"nothing is kept aside of label 1 of {reference!r}" in said and "--refetch --unchecked -o FILE" in said
    assert [path.name for path in (tmp_path / "labels" / "refused-labels").rglob("*") if path.is_file()] == []
    assert "came.pdf" not in worker.log_text and number in worker.log_text


async def is_missing(worker: RunningWorker, missing: bool = True) -> bool:
    return ((await worker.metric(SINCE)) > 0) == missing


@on_sqlite
async def test_the_label_of_a_second_parcel_is_sought_on_after_the_first_was_taken_as_it_is(
    start: Start, shop: Shop, carrier: Simulator, clock: list[float], config: Path
) -> None:
    worker = await start().ready()
    reference = "P-1 sim:two-parcels"
    carrier.inject("rp_label", reply(200, None, "an unknown printer's language"), None)
    await shop.insert(reference, PILOT_PAYLOAD, "pilot")
    await until(lambda: shop.is_in(reference, "tracking"), 15, lambda: worker.log_text)
    clock[0] += 2.5  # both shipments are there
    await until(lambda: all_tried(shop, reference), 15, lambda: worker.log_text)
    code, _, said = await typed(config, "label", reference, "--accept", "--position", "2", "--by", "anna")
    assert (code, said) == (0, "1 return changed\n")
    (taken,) = await labels(shop)
    assert (taken["position"], taken["media_type"], taken["page_count"]) == (2, "application/octet-stream", None)
    assert str(taken["location"]).endswith(".bin")
    carrier.clear_faults("rp_label")
    await until(lambda: all_stored(shop, 2), 15, lambda: worker.log_text)
    assert [row["media_type"] for row in await labels(shop)] == ["application/octet-stream", "application/pdf"]


async def all_tried(shop: Shop, reference: str) -> bool:
    return int((await shop.order(reference))["label_attempts"]) > 2


async def all_stored(shop: Shop, count: int) -> bool:
    return len(await labels(shop)) == count
