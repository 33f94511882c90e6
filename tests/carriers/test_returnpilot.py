"""ReturnPilot's documented answers, literally, and every trap of its documentation."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import httpx
import pytest

from tests.carriers.pilot import NOW, ORDER, TOKEN, at_carrier, document, listed, piloting, shipment
from worker.carriers.port import (
    LabelNotReady,
    NotFound,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorized,
    Unavailable,
    Unintelligible,
)
from worker.carriers.returnpilot import adapter, answers
from worker.domain.outcomes import Absent, Ambiguous, Created
from worker.domain.returns import PackageInfo
from worker.domain.tracking import TrackingStatus

S = TrackingStatus
CREATED = {"id": 10011, "return_url": "https://app.returnpilot.co/r/10011"}


def created(status: int = 201, **changes: Any) -> httpx.Response:
    return httpx.Response(status, json={**CREATED, **changes})


def shown(**changes: Any) -> dict[str, Any]:
    return {"data": document(**changes)}


# --- creating


async def test_a_creation_is_one_post_with_the_bearer_token_and_its_answer_is_not_wrapped() -> None:
    async with piloting(created()) as pilot:
        result = await pilot.create()
    (request,) = pilot.requests
    assert pilot.sent == ["POST /api/v1/orders"]
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["content-type"] == request.headers["accept"] == "application/json"
    assert json.loads(request.content)["country"] == 230
    assert (result.carrier_ref, result.return_url, result.has_label) == ("10011", CREATED["return_url"], False)
    assert (result.update.status, result.update.carrier_status) == (S.PENDING, None)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201, json={"data": CREATED}),
        httpx.Response(201, json={"return_url": "https://x"}),
        httpx.Response(201, json={"id": None}),
        httpx.Response(201, json={"id": 0}),
        httpx.Response(201, json={"id": True}),
        httpx.Response(201, json={"id": "10 011"}),
        httpx.Response(201, content=b"<html>"),
        httpx.Response(201, json=[CREATED]),
        httpx.Response(500),
        httpx.Response(409, json={"message": "exists"}),
        httpx.Response(422, json={"message": "x", "errors": {"reference": ["The reference has been taken."]}}),
        httpx.Response(422, json={"message": "The reference has already been taken."}),
        httpx.Response(307, headers={"Location": "https://elsewhere.test/"}),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.text[:40]}",
)
async def test_whatever_leaves_a_creation_in_doubt_is_looked_up_and_not_repeated(answer: httpx.Response) -> None:
    async with piloting(answer) as pilot:
        assert isinstance(await pilot.failure("create"), OutcomeUnknown)
    assert len(pilot.requests) == 1


async def test_a_refusal_that_is_not_about_the_reference_is_a_refusal() -> None:
    answer = httpx.Response(422, json={"message": "The region is invalid.", "errors": {"region": ["is invalid"]}})
    async with piloting(answer) as pilot:
        error = await pilot.failure("create")
    assert isinstance(error, Refused)
    assert "region" in error.message


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://x", "https://x y", 7, None, "https://" + "x" * 3000])
async def test_a_link_that_is_none_is_not_shown_to_a_customer(url: Any) -> None:
    async with piloting(created(return_url=url)) as pilot:
        assert (await pilot.create()).return_url is None


# --- turned away


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "17", "X-RateLimit-Reset": "1734696060"}, timedelta(seconds=17)),
        ({"X-RateLimit-Reset": "1734696060"}, timedelta(seconds=60)),
        ({"X-RateLimit-Reset": "60"}, None),  # no time of these years
        ({"X-RateLimit-Reset": "soon"}, None),
        ({}, None),  # then a minute, which is the policy's
    ],
)
async def test_429_waits_by_retry_after_else_until_the_reset_else_as_the_policy_says(
    headers: dict[str, str], wait: timedelta | None
) -> None:
    answer = httpx.Response(429, headers={"Date": "Fri, 20 Dec 2024 12:00:00 GMT", **headers})
    async with piloting(answer) as pilot:
        error = await pilot.failure("track")
    assert isinstance(error, Throttled)
    assert error.retry_after == wait


async def test_a_missing_token_is_the_accounts_trouble() -> None:
    async with piloting(httpx.Response(401, json={"message": "Unauthenticated."})) as pilot:
        assert isinstance(await pilot.failure("track"), Unauthorized)


# --- following


async def test_the_documented_order_is_read_from_its_envelope() -> None:
    async with piloting(shown()) as pilot:
        seen = await pilot.track()
    assert pilot.sent == ["GET /api/v1/orders/10011"]
    assert (seen.update.status, seen.update.carrier_status) == (S.IN_TRANSIT, "2")
    assert seen.update.carrier_time == datetime(2024, 12, 9, 22, 49, 57, tzinfo=UTC)  # no T, no zone: UTC
    url = "https://provider.com/track/EX18472"
    assert seen.packages == (PackageInfo(1, "1", "Large Box", "EX18472", url),)
    assert seen.labels == {1}


@pytest.mark.parametrize(
    ("number", "status"),
    [
        *((1, S.PRE_TRANSIT), (2, S.IN_TRANSIT), ("3", S.DELIVERED), (3.0, S.DELIVERED), ("2.0", S.IN_TRANSIT)),
        *((9, S.UNKNOWN), (0, S.UNKNOWN), ("Arrived", S.UNKNOWN)),
    ],
)
async def test_a_status_number_means_what_the_table_says_and_an_unknown_one_nothing(
    number: Any, status: TrackingStatus
) -> None:
    async with piloting(shown(shipments=[shipment(status=number)])) as pilot:
        assert (await pilot.track()).update.status is status


async def test_the_numbers_are_data_that_a_shop_can_change() -> None:
    async with piloting(shown(shipments=[shipment(status=4)]), status_map={"4": S.IN_TRANSIT}) as pilot:
        assert (await pilot.track()).update.status is S.IN_TRANSIT


@pytest.mark.parametrize("none", [None, []])
async def test_an_order_without_shipments_waits_for_the_customer(none: Any) -> None:
    async with piloting(shown(shipments=none)) as pilot:
        seen = await pilot.track()
    assert (seen.update.status, seen.update.carrier_status, seen.packages) == (S.PENDING, None, ())


async def test_shipments_may_be_left_out_altogether() -> None:
    without = document()
    del without["shipments"]
    async with piloting({"data": without}) as pilot:
        assert (await pilot.track()).update.status is S.PENDING


END = datetime(2025, 1, 8, 15, 39, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (END - timedelta(seconds=1), S.PENDING),
        (END + timedelta(hours=23), S.PENDING),
        (END + timedelta(hours=24), S.EXPIRED),
    ],
)
async def test_a_link_that_ran_out_with_nothing_under_way_expires_after_its_grace(
    now: datetime, status: TrackingStatus
) -> None:
    async with piloting(shown(shipments=[]), now=now) as pilot:
        update = (await pilot.track()).update
    assert update.status is status
    assert (update.reason is not None) == (status is S.EXPIRED)


async def test_the_grace_is_a_setting() -> None:
    async with piloting(shown(shipments=[]), now=END, link_grace=timedelta(0)) as pilot:
        assert (await pilot.track()).update.status is S.EXPIRED


async def test_a_link_without_an_end_ends_after_a_year() -> None:
    for now, status in ((END, S.PENDING), (END + timedelta(days=340), S.EXPIRED)):
        async with piloting(shown(shipments=[], link_expires_at=None), now=now) as pilot:
            assert (await pilot.track()).update.status is status


def item(reason: int | None, *, returnable: bool = True) -> dict[str, Any]:
    line = json.loads(json.dumps(ORDER["line_items"][0]))
    return {**line, "reason": reason, "product": {**line["product"], "returnable": returnable}}


@pytest.mark.parametrize(
    ("items", "statuses", "status"),
    [
        ([item(1)], [3], S.DELIVERED),
        ([item(1), item(None)], [3], S.PENDING),  # an item has not been returned yet: another parcel may come
        ([item(1), item(None, returnable=False)], [3], S.DELIVERED),
        ([item(1)], [3, 4], S.DELIVERED),
        ([item(1)], [4, 4], S.PENDING),  # refunded labels: the customer may schedule it anew
        ([item(1)], [3, 1], S.IN_TRANSIT),
        ([item(1)], [3, 9], S.UNKNOWN),
        ([], [3], S.PENDING),
        ("nonsense", [3], S.PENDING),
    ],
)
async def test_an_order_is_complete_only_when_no_more_can_come(
    items: Any, statuses: list[int], status: TrackingStatus
) -> None:
    shipments = [shipment(number, each) for number, each in enumerate(statuses, start=1)]
    async with piloting(shown(line_items=items, shipments=shipments)) as pilot:
        assert (await pilot.track()).update.status is status
    over = END + timedelta(days=2)
    async with piloting(shown(line_items=items, shipments=shipments), now=over) as pilot:
        ended = (await pilot.track()).update.status
    assert ended.is_terminal == (9 not in statuses and 1 not in statuses)


class Silent(NamedTuple):
    """What was recorded of the shipments, and the status that each has now, or none: what the order then is."""

    recorded: str | None
    statuses: list[int | None]
    words: str | None
    status: TrackingStatus


SILENT = [
    Silent("2, 1", [2, None], words="2, 1", status=S.IN_TRANSIT),
    Silent("3, 3", [None, None], words="3, 3", status=S.DELIVERED),
    Silent("3, 2", [None, 3], words="3, 3", status=S.DELIVERED),
    Silent("2", [2, None], words="2, none", status=S.IN_TRANSIT),  # the second is new: nothing was said of it yet
    Silent(None, [None], words=None, status=S.PRE_TRANSIT),
    Silent("9", [None], words="9", status=S.UNKNOWN),
]


@pytest.mark.parametrize("silent", SILENT, ids=lambda silent: f"{silent.recorded}: {silent.statuses}")
async def test_a_shipment_of_which_nothing_is_said_stays_what_it_was(silent: Silent) -> None:
    places = range(1, len((silent.recorded or "").split(", ")) + 1)
    known = tuple(PackageInfo(place, str(place)) for place in places) if silent.recorded else ()
    shipments = [shipment(number, each) for number, each in enumerate(silent.statuses, start=1)]
    async with piloting(shown(shipments=shipments)) as pilot:
        update = (await pilot.track(carrier_status=silent.recorded, packages=known)).update
    assert (update.carrier_status, update.status) == (silent.words, silent.status)


@pytest.mark.parametrize("count", [1, 2])
async def test_shipments_of_which_nothing_was_ever_said_stay_before_their_way(count: int) -> None:
    async with piloting(shown(shipments=[shipment(number, None) for number in range(1, count + 1)])) as pilot:
        first = await pilot.track()
        again = await pilot.track(packages=first.packages, carrier_status=first.update.carrier_status)
    assert (again.update.carrier_status, again.update.status) == (None, S.PRE_TRANSIT)


def as_object(each: list[Any]) -> dict[str, Any]:
    """A list as PHP writes one whose keys begin with 1; its members stand in any order."""
    return {str(place): member for place, member in reversed([*enumerate(each, start=1)])}


async def test_lists_are_read_however_they_are_written() -> None:
    two, items = [shipment(7, 3), shipment(8, 2)], [item(1), item(1)]
    whole = document(shipments=as_object(two), line_items=as_object(items))
    for data in (whole, [whole], {"0": whole}, {"1": whole}):
        async with piloting({"data": data}) as pilot:
            seen = await pilot.track()
        assert [package.label_code for package in seen.packages] == ["7", "8"]
        assert (seen.update.status, seen.update.carrier_status) == (S.IN_TRANSIT, "3, 2")
    async with piloting(shown(shipments=shipment(7, 3), line_items=item(1))) as pilot:
        assert (await pilot.track()).update.status is S.DELIVERED
    async with piloting(shown(shipments={})) as pilot:
        assert (await pilot.track()).update.status is S.PENDING


async def test_a_page_of_the_list_is_read_however_it_is_written() -> None:
    orders = [made("A", 5, 9), made("ORD-12345", 1, 8)]
    for data, numbers in ((as_object(orders), {"8", "9"}), (orders[1], {"8"})):
        async with piloting({**listed(page=1), "data": data}) as pilot:
            assert (await pilot.look_up()).carrier_ref == "8"
            assert set((await pilot.carrier.page(1)).sightings) == numbers


async def test_an_object_with_more_members_than_an_order_can_have_is_no_list() -> None:
    async with piloting(shown(shipments=as_object([shipment(number) for number in range(1, 1002)]))) as pilot:
        assert isinstance(await pilot.failure("track"), Unintelligible)


IDS = ("9223372036854775807", "9223372036854775807.0", '"9223372036854775807.0"', "3.0", "3e0")


@pytest.mark.parametrize("number", IDS)
async def test_an_id_is_read_exactly_however_the_number_is_written(number: str) -> None:
    plain = str(int(Decimal(number.strip('"'))))
    async with piloting(httpx.Response(200, content=f'{{"id": {number}}}'.encode())) as pilot:
        assert (await pilot.create()).carrier_ref == plain
    order = json.dumps(shown(id="ID", shipments=[shipment("ID")])).replace('"ID"', number)  # type: ignore[arg-type]
    async with piloting(httpx.Response(200, content=order.encode())) as pilot:
        assert (await pilot.track(carrier_ref=plain)).packages[0].label_code == plain


NO_IDS = ("1e19", "92233720368547758070", "1.5", "-3.0", "0.0", '"3.5"', '"1e3"', "1e400", "true")


@pytest.mark.parametrize("number", NO_IDS)
async def test_what_is_no_id_is_none(number: str) -> None:
    async with piloting(httpx.Response(200, content=f'{{"id": {number}}}'.encode())) as pilot:
        assert isinstance(await pilot.failure("create"), OutcomeUnknown)


@pytest.mark.parametrize("shipments", ["none", [None], [{}], [shipment(status={})], [shipment(status=True)]], ids=repr)
async def test_an_order_that_has_no_sense_is_counted_so_whoever_finds_out(shipments: Any) -> None:
    async with piloting(shown(shipments=shipments)) as pilot:
        assert isinstance(await pilot.failure("track"), Unintelligible)
        assert isinstance(await pilot.failure("label"), Unintelligible)
    assert pilot.observed == [("track", "unintelligible"), ("label", "unintelligible")]


async def test_an_order_says_whether_its_link_is_over() -> None:
    for now in (END, END + timedelta(days=2)):
        async with piloting(shown(shipments=[shipment(1)]), status_map={"1": S.PENDING}, now=now) as pilot:
            assert (await pilot.track()).update.link_over is (now > END)


async def test_a_shipment_keeps_its_position_whatever_order_they_come_in() -> None:
    known = (PackageInfo(1, "7"), PackageInfo(2, "5"))
    answer = shown(shipments=[shipment(5), shipment(9, label_url=None), shipment(6), shipment(7)])
    async with piloting(answer) as pilot:
        seen = await pilot.track(packages=known)
    assert [(package.position, package.label_code) for package in seen.packages] == [
        (1, "7"),
        (2, "5"),
        (3, "6"),
        (4, "9"),
    ]
    assert seen.labels == {1, 2, 3}


MISSHAPEN: list[tuple[str, Any]] = [
    ("no data", {"id": 10011}),
    ("data is null", {"data": None}),
    ("data is a list of two", {"data": [document(), document()]}),
    ("another order", {"data": document(id=10012)}),
    ("no id", {"data": document(id=None)}),
    ("shipments are text", {"data": document(shipments="none")}),
    ("a shipment is null", {"data": document(shipments=[None])}),
    ("a shipment has no id", {"data": document(shipments=[shipment(None)])}),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("answer", [row[1] for row in MISSHAPEN], ids=[row[0] for row in MISSHAPEN])
async def test_an_answer_that_is_not_about_this_order_is_never_believed(answer: Any) -> None:
    async with piloting(answer) as pilot:
        assert isinstance(await pilot.failure("track"), Unintelligible)


async def test_an_order_in_a_list_of_one_is_read_too() -> None:
    """The page says array, its sample shows an object."""
    async with piloting({"data": [document()]}) as pilot:
        assert (await pilot.track()).update.status is S.IN_TRANSIT


async def test_a_404_is_never_taken_for_cancelled() -> None:
    async with piloting(httpx.Response(404, json={"message": "Not Found"})) as pilot:
        assert isinstance(await pilot.failure("track"), NotFound)


async def test_a_price_may_be_a_number_or_text() -> None:
    for price in (22.75, "22.75", None):
        async with piloting(shown(price=price)) as pilot:
            assert (await pilot.track()).update.status is S.IN_TRANSIT


# --- looking up


def made(reference: str, minutes: float, number: int = 1, **changes: Any) -> dict[str, Any]:
    """An order that was made so many minutes after the creation in doubt began."""
    moment = NOW + timedelta(minutes=minutes)
    return document(reference=reference, created_at=f"{moment:%Y-%m-%d %H:%M:%S}", id=number, **changes)


async def test_a_lost_creation_is_found_by_its_exact_reference_and_adopted() -> None:
    page = listed(made("ORD-99999", 2, 3), made("ORD-12345", 0, 2), made("ORD-1", -1, 1))
    async with piloting(page) as pilot:
        found = await pilot.look_up()
    assert pilot.sent == ["GET /api/v1/orders?page=1&limit=50"]
    assert isinstance(found, Created)
    assert (found.carrier_ref, found.adopted, found.has_label) == ("2", True, False)
    assert found.return_url == ORDER["return_url"]


async def test_the_search_ends_at_orders_older_than_the_first_attempt() -> None:
    pages = [
        listed(made("A", 5, 9), made("B", -3, 8), next_page=2),
        listed(made("C", -4, 7), made("D", -1000, 6), next_page=3),
    ]
    async with piloting(*pages) as pilot:
        assert isinstance(await pilot.look_up(), Absent)
    assert pilot.sent == [f"GET /api/v1/orders?page={page}&limit=50" for page in (1, 2)]


async def test_the_list_ends_where_next_is_null_although_last_always_is() -> None:
    pages = [listed(made("A", 5, 9), next_page=2), listed(made("ORD-12345", 1, 8))]
    async with piloting(*pages) as pilot:
        assert isinstance(await pilot.look_up(), Created)
    async with piloting(listed()) as pilot:
        assert isinstance(await pilot.look_up(), Absent)
    assert len(pilot.requests) == 1


async def test_an_order_that_a_shifting_page_shows_twice_is_one() -> None:
    pages = [listed(made("ORD-12345", 1, 8), next_page=2), listed(made("ORD-12345", 1, 8))]
    async with piloting(*pages) as pilot:
        assert isinstance(await pilot.look_up(), Created)


@pytest.mark.parametrize(
    "orders",
    [
        [made("ORD-12345", 1, 8), made("ORD-12345", 0, 7)],
        [made("ORD-12345", -1000, 7)],  # it was there before the first attempt: whose is it?
        [made("ord-12345", 1, 8)],
        [made(" ORD-12345", 1, 8)],
        [made("ORD-12345\u200b", 1, 8)],
    ],
    ids=["two", "older", "another case", "a space", "a zero-width space"],
)
async def test_what_is_not_surely_the_lost_creation_goes_to_a_person(orders: list[dict[str, Any]]) -> None:
    async with piloting(listed(*orders)) as pilot:
        assert isinstance(await pilot.look_up(), Ambiguous)


async def test_a_numeric_reference_is_found_too() -> None:
    async with piloting(listed(made("x", 1, 8, **{}) | {"reference": 4711})) as pilot:
        assert isinstance(await pilot.look_up(reference="4711"), Created)


@pytest.mark.parametrize("unreadable", [None, "text", {}, {"id": 5}, {"id": 5, "reference": None}, []])
async def test_an_order_that_cannot_be_read_proves_no_absence(unreadable: Any) -> None:
    async with piloting(listed(made("A", 5, 9), unreadable)) as pilot:
        assert isinstance(await pilot.failure("look_up"), Unintelligible)
    async with piloting(listed(unreadable, made("ORD-12345", 1, 9))) as pilot:
        assert isinstance(await pilot.look_up(), Created)


async def test_a_list_in_another_order_is_searched_to_its_end() -> None:
    pages = [listed(made("A", -1900, 9), made("B", 5, 8), next_page=2), listed(made("ORD-12345", 1, 7))]
    async with piloting(*pages) as pilot:
        assert isinstance(await pilot.look_up(), Created)


async def test_a_list_without_end_is_given_up() -> None:
    async with piloting(listed(made("A", 5, 9), next_page=2)) as pilot:
        assert isinstance(await pilot.failure("look_up"), Unintelligible)
    assert len(pilot.requests) == 200


@pytest.mark.parametrize(
    "answer",
    [
        *(b"[]", b"{}", b'{"data": []}', b'{"data": {}, "links": {}}', b'{"data": [], "links": {}}', b"<html>", b""),
        *(b'{"data": {}, "links": {"next": null}}', b'{"data": null, "links": {"next": null}}'),
    ],
)
async def test_an_answer_that_is_no_page_proves_no_absence(answer: bytes) -> None:
    async with piloting(httpx.Response(200, content=answer)) as pilot:
        failure = await pilot.failure("look_up")
    assert isinstance(failure, Unintelligible if answer[:1] in (b"[", b"{") else Unavailable)


# --- sweeping


async def test_a_page_tells_of_each_order_by_its_number_and_skips_what_is_none() -> None:
    page = listed(document(id=2), None, {"id": "x"}, document(id=1, shipments=[{}]), next_page=2)
    async with piloting(page) as pilot:
        seen = await pilot.carrier.page(3)
        assert pilot.sent == ["GET /api/v1/orders?page=3&limit=50"]
        assert (sorted(seen.sightings), seen.is_last) == (["1", "2"], False)
        good = pilot.carrier.read(at_carrier(carrier_ref="2"), seen.sightings["2"])
        assert good.update.status is S.IN_TRANSIT
        with pytest.raises(Unintelligible):
            pilot.carrier.read(at_carrier(carrier_ref="1"), seen.sightings["1"])


# --- cancelling


async def test_a_withdrawal_deletes_the_order() -> None:
    async with piloting(httpx.Response(204)) as pilot:
        await pilot.cancel()
    assert pilot.sent == ["DELETE /api/v1/orders/10011"]


@pytest.mark.parametrize(
    ("status", "error"), [(404, NotFound), (403, Refused), (409, Refused), (422, Refused), (429, Throttled)]
)
async def test_a_withdrawal_that_comes_too_late_is_refused(status: int, error: type) -> None:
    async with piloting(httpx.Response(status, json={"message": "has returns"})) as pilot:
        assert type(await pilot.failure("cancel")) is error


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "/api/v1/orders/777"}),
        httpx.Response(200, json={"message": "cannot be deleted"}),
        httpx.Response(200, content=b"<html>sign in"),
    ],
)
async def test_nothing_but_a_wordless_success_is_a_deletion(answer: httpx.Response) -> None:
    async with piloting(answer) as pilot:
        assert isinstance(await pilot.failure("cancel"), Unintelligible)
    assert len(pilot.requests) == 1


async def test_a_link_that_never_ends_is_no_stumbling_block() -> None:
    never = "9999-12-31 23:59:59"
    for changes in ({"link_expires_at": never}, {"link_expires_at": None, "created_at": never}):
        async with piloting(shown(shipments=[], **changes)) as pilot:
            assert (await pilot.track()).update.status is S.PENDING


async def test_a_503_to_a_creation_is_looked_up_even_when_it_names_a_time() -> None:
    async with piloting(httpx.Response(503, headers={"Retry-After": "1"})) as pilot:
        assert isinstance(await pilot.failure("create"), OutcomeUnknown)


# --- labels


async def test_a_label_that_is_not_there_yet_is_waited_for() -> None:
    async with piloting(shown(shipments=[shipment(label_url=None)])) as pilot:
        with pytest.raises(LabelNotReady):
            await pilot.label()


async def test_a_label_is_fetched_by_an_address_as_fresh_as_the_order() -> None:
    answers = (shown(), httpx.Response(200, content=b"%PDF-1.4 ..."))
    async with piloting(*answers) as pilot:
        label = await pilot.label()
    assert [str(request.url) for request in pilot.requests] == [
        "https://carrier.test/api/v1/orders/10011",
        "https://provider.com/label/EX18472",
    ]
    assert (label.position, label.pages, label.more) == (1, None, False)
    assert set(label.media_types) == {"application/pdf", "image/png", "application/zpl"}


async def test_an_order_of_a_carrier_whose_utc_is_a_local_time_is_found_too() -> None:
    pages = [listed(made("A", -295, 9), made("B", -300, 8), next_page=2), listed(made("ORD-12345", -300, 7))]
    async with piloting(*pages) as pilot:
        assert isinstance(await pilot.look_up(), Created)


async def test_the_label_of_a_refunded_shipment_is_not_sought() -> None:
    async with piloting(shown(shipments=[shipment(1, 4), shipment(2, 1)])) as pilot:
        assert (await pilot.track()).labels == {2}
    async with piloting(shown(shipments=[shipment(1, 4)])) as pilot:
        with pytest.raises(LabelNotReady):
            await pilot.label()


async def test_each_missing_label_gets_its_turn_although_one_is_dead() -> None:
    three = [shipment(number, label_url=f"https://provider.com/{number}") for number in (1, 2, 3)]

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=shown(shipments=three)) if "orders" in request.url.path else httpx.Response(200)

    chosen = []
    async with piloting(answer) as pilot:
        for attempts in range(3):
            label = await pilot.label(labels=frozenset({2}), label_attempts=attempts)
            chosen.append((label.position, label.more))
    assert chosen == [(1, True), (3, True), (1, True)]


async def test_the_token_is_in_no_word_that_is_kept() -> None:
    async with piloting(created(status=422, message=f"bad token {TOKEN}")) as pilot:
        error = await pilot.failure("create")
    assert TOKEN not in error.message
    assert TOKEN not in (error.raw or "")


async def test_requests_are_counted_by_what_they_are_for() -> None:
    async with piloting(listed()) as pilot:
        await pilot.look_up()
        await pilot.carrier.page(1)
        await pilot.carrier.ping()
    assert [(operation, str(outcome)) for operation, outcome in pilot.observed] == [
        ("lookup", "ok"),
        ("sweep", "ok"),
        ("ping", "ok"),
    ]


@pytest.mark.parametrize(
    ("said", "meanings"),
    [
        ("1", {S.PRE_TRANSIT}),
        ("2, 1", {S.IN_TRANSIT}),
        ("3", {S.DELIVERED, S.PENDING}),  # the last one, or more may come
        ("3, 4", {S.DELIVERED, S.PENDING}),
        ("4", {S.CANCELLED, S.PENDING}),
        ("3, 9", {S.UNKNOWN}),
        (", ".join(["3"] * 80)[:200], set(S)),  # cut off: nobody can say
    ],
)
def test_what_an_order_s_words_may_mean_by_a_map_is_all_that_its_shipments_leave_open(
    said: str, meanings: set[TrackingStatus]
) -> None:
    assert answers.meanings(said, adapter.BUILT_IN_STATUSES) == meanings


def test_an_order_s_words_are_its_shipments_and_none_is_cut_in_half() -> None:
    assert answers.words("3, 1") == ["3", "1"]
    assert set(answers.words(", ".join(["12"] * 80)[:200])) == {"12"}


async def test_a_map_of_names_where_the_carrier_sends_numbers_is_warned_of() -> None:
    async with piloting(status_map={"3": S.DELIVERED, "５": S.DELIVERED}) as pilot:
        assert pilot.carrier.warnings == ()
    async with piloting(status_map={"Arrived": S.DELIVERED, "on its way": S.IN_TRANSIT}) as pilot:
        assert pilot.carrier.warnings == (
            "status_map has Arrived, on its way: the documented words are numbers (1 to 4), so these may never come;"
            " see returns-worker statuses",
        )
