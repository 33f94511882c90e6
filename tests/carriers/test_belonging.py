"""An answer belongs to its question: what can be checked of it is checked, on every way that answers come."""

import asyncio
import json
import random
from typing import Any

import httpx
import pytest

from tests.carriers.pilot import at_carrier, document, listed, piloting, shipment
from tests.carriers.wire import Wire, answering, http, raw_server, read_request
from tests.carriers.wire import at_carrier as at_izipack
from worker.carriers.port import Unintelligible
from worker.carriers.replies import MAX_DEPTH, as_document
from worker.domain.outcomes import PackageInfo
from worker.http.transport import AiohttpTransport

CREATED = '{"orderNumber": "9RET1", "packages": %s}'


@pytest.mark.parametrize(
    "number", ['"9RET000000000001"', "326720205707", '"9RET326720205706x"'], ids=["another", "a_number", "longer"]
)
async def test_a_status_that_names_another_order_is_not_this_returns(number: str) -> None:
    async with answering(httpx.Response(200, text=f'{{"status": "Created", "orderNumber": {number}}}')) as account:
        error = await account.failure("track")
    assert type(error) is Unintelligible
    assert "another order" in error.message
    assert account.observed == [("track", "unintelligible")]


@pytest.mark.parametrize(
    "number", ['"9RET326720205706"', '" 9ret326720205706 "', "null", '""', "0", '"000"', "{}", "true"]
)
async def test_a_status_that_names_its_own_order_or_none_is_read(number: str) -> None:
    async with answering(httpx.Response(200, text=f'{{"status": "Created", "orderNumber": {number}}}')) as account:
        assert (await account.track()).carrier_status == "Created"


async def test_a_number_that_lost_its_zeros_is_the_same() -> None:
    async with answering(httpx.Response(200, text='{"status": "Created", "orderNumber": 123}')) as account:
        assert (await account.track("00123")).carrier_status == "Created"


async def test_a_status_names_its_codes_each_in_its_packages_place() -> None:
    answer = {"status": "Created", "packages": [{"labelCode": " 7A "}, "?", {"labelCode": None}, {"labelCode": 12}]}
    async with answering(httpx.Response(200, json=answer)) as account:
        seen = await account.carrier.track(at_izipack())
    assert seen.codes == ((1, "7A"), (4, "12"))


@pytest.mark.parametrize("packages", [None, "none", {}, [], [{}], [None]], ids=repr)
async def test_a_status_without_codes_is_a_status(packages: Any) -> None:
    async with answering(httpx.Response(200, json={"status": "Created", "packages": packages})) as account:
        assert (await account.carrier.track(at_izipack())).codes == ()


async def test_a_label_code_that_no_index_takes_is_left_out_and_costs_no_number() -> None:
    long = "".join(map(chr, random.Random(16).sample(range(0x20000, 0x2A6D0), 1024)))
    answer = CREATED % json.dumps([{"labelCode": long, "description": "a"}, {"labelCode": "7" * 100}])
    async with answering(httpx.Response(200, text=answer)) as account:
        created = await account.create()
    assert created.packages == (PackageInfo(1, None, "a"), PackageInfo(2, "7" * 100))


@pytest.mark.parametrize("depth", [2, MAX_DEPTH, MAX_DEPTH + 1, 700])
async def test_an_answer_is_kept_only_as_deep_as_every_database_reads_it(depth: int) -> None:
    answer = '{"orderNumber": "9RET1", "x": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    async with answering(httpx.Response(200, text=answer)) as account:
        created = await account.create()
    assert created.carrier_ref == "9RET1"
    assert ("nested too deeply" in created.raw) is (depth > MAX_DEPTH)


def test_an_answer_that_is_wide_and_not_deep_is_kept() -> None:
    wide = {"packages": [{"a": [], "b": {}} for _ in range(200)]}
    assert json.loads(as_document(wide)) == wide


async def test_the_label_of_another_order_is_not_fetched() -> None:
    other = {"data": document(id=10012, shipments=[shipment(label_url="https://carrier.test/l.pdf")])}
    async with piloting(other) as pilot:
        error = await pilot.failure("label")
    assert type(error) is Unintelligible
    assert pilot.sent == ["GET /api/v1/orders/10011"]
    assert pilot.observed == [("label", "unintelligible")]


async def test_the_news_of_another_order_is_no_news() -> None:
    async with piloting({"data": document(id=10012)}) as pilot:
        assert type(await pilot.failure("track")) is Unintelligible
        with pytest.raises(Unintelligible):
            pilot.carrier.read(at_carrier(), document(id=10012))
    assert pilot.observed == [("track", "unintelligible")]


@pytest.mark.parametrize("operation", ["look_up", "page"])
async def test_a_page_that_is_not_the_one_asked_for_says_nothing(operation: str) -> None:
    """The last page of a sweep, taken for the first of a look-up, would be proof that nothing is there."""
    async with piloting(listed(page=7)) as pilot:
        with pytest.raises(Unintelligible, match="page 1 of the list was asked for, and page 7 came"):
            await (pilot.look_up() if operation == "look_up" else pilot.carrier.page(1))


@pytest.mark.parametrize("meta", [None, {}, [], {"current_page": "1"}, {"current_page": "one"}])
async def test_a_page_that_does_not_say_which_it_is_is_read(meta: Any) -> None:
    async with piloting(listed(document()) | {"meta": meta}) as pilot:
        assert (await pilot.carrier.page(1)).sightings.keys() == {"10011"}


async def test_a_deletion_goes_out_on_a_connection_of_its_own() -> None:
    """Its answer is a bare 204: on a used connection it might be another's, and nothing would tell."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire) -> None:
        while (head := await read_request(reader, wire)) is not None:
            shown = json.dumps({"data": document()}).encode()
            deleted = b"HTTP/1.1 204 No Content\r\n\r\n"
            writer.write(deleted if head.startswith(b"DELETE") else http(shown, "Content-Type: application/json"))
            await writer.drain()

    async with (
        raw_server(handler) as wire,
        piloting(transport=AiohttpTransport(timeout=5.0), base_url=f"{wire.url}/api/v1") as pilot,
    ):
        await pilot.track()
        await pilot.cancel()
        assert (wire.methods, wire.connections) == (["GET", "DELETE"], 2)
