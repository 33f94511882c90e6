"""What a recorded decision leaves behind, and that nobody but the holder can record."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.databases import on_postgresql
from tests.store.rows import CALL, OVER, created, insert, insert_tracked, now, polled, settled, take, take_one
from tests.store.shop import Shop
from worker.domain.decision import Decision, StepOutcome, Transition
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import PackageInfo, StoredLabel
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.store.claims import hand_back, start_creation
from worker.store.database import Database
from worker.store.records import CarrierRefTaken, Standing, record, replace_label, standings
from worker.store.upkeep.history import find_orders, read_history

ODD = "😀 'quoted' \"double\" back\\slash \\u0041 %s :name {x} $1 ; -- /* \t\r\n é\u0301 \u202e \x7f \ufeff end"
LABEL = StoredLabel(1, "file:labels/a.pdf", "application/pdf", 12_345_678_901, 2, "ab" * 32)


def labelled(order: ReturnOrder, *labels: StoredLabel) -> Decision:
    after = order._replace(next_step=Step.TRACK, due_at=now(hours=1), track_due_at=now(hours=1), label_due_at=None)
    return Decision(after, StepOutcome.STORED, labels=labels)


async def everything(shop: Shop) -> list[list[dict[str, Any]]]:
    tables = ("return_order", "status_transition", "package", "label")
    return [await shop.fetch(f"SELECT * FROM {table} ORDER BY id") for table in tables]


async def test_a_decision_is_written_in_full_and_the_lease_ends(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    after = order._replace(
        state=State.TRACKING,
        next_step=Step.LABEL,
        due_at=now(seconds=-5),
        label_due_at=now(seconds=-5),
        track_due_at=now(hours=3),
        tracking_status=TrackingStatus.PENDING,
        carrier_status="Aangemaakt",
        carrier_ref="NR-7",
        return_url="https://example.com/r/7",
        create_started_at=now(seconds=-30),
        followed_since=now(seconds=-20),
        attempts=1,
        failing_since=now(hours=-1),
        unchanged_polls=2,
        error_code=ErrorCode.CARRIER_ERROR,
        error_message="500",
        label_attempts=3,
        label_error_code=ErrorCode.LABEL_NOT_READY,
        label_error_message="not yet",
        label_sought_since=now(days=-2),
        claims=0,
    )
    assert await record(database, [(order, Decision(after, StepOutcome.CREATED))]) == {order_id}
    row = await shop.order(order_id)
    assert (row["lease_owner"], row["lease_until"], row["lease_token"]) == (None, None, 1)
    (claimed,) = await take(database, Step.LABEL)
    assert claimed.order == after._replace(lease_token=2, claims=1)
    assert abs(await shop.seconds("updated_at", order_id)) < 5


async def test_recording_nothing_is_no_error(database: Database) -> None:
    assert await record(database, []) == set()
    assert await standings(database, []) == {}


async def test_history_is_written_in_order(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    seen = datetime(2026, 6, 4, 12, 0, 0, 123_000, tzinfo=UTC)
    transitions = (
        Transition("state", "pending", "tracking", reason="created", raw='{"orderNumber": 12}'),
        Transition("tracking_status", None, "pre_transit", "Nieuw"),
        Transition("tracking_status", "pre_transit", "in_transit", "Onderweg", seen, "polled", '[1, "é", null]'),
        *(Transition("tracking_status", str(number), str(number + 1)) for number in range(20)),
    )
    await record(database, [(order, created(order)._replace(transitions=transitions))])
    (row,) = await find_orders(database)
    written = (await read_history(database, row)).transitions
    assert [
        Transition(
            line.field,
            line.old_value,
            line.new_value,
            line.carrier_status,
            line.carrier_time,
            line.reason,
            None if line.raw is None else json.dumps(line.raw, ensure_ascii=False),
        )
        for line in written
    ] == list(transitions)
    assert {line.return_order_id for line in written} == {order_id}
    assert all(abs(line.observed_at - datetime.now(UTC)) < timedelta(seconds=10) for line in written)


async def test_a_raw_answer_is_stored_as_json(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await record(database, [(order, created(order))])
    first, second = await shop.transitions(order_id)
    assert json.loads(first["raw"]) == {"orderNumber": 1}
    assert second["raw"] is None
    member = "json_extract(raw, '$.orderNumber')" if shop.sqlite else "(raw ->> 'orderNumber')::int"
    assert await shop.value(f"SELECT {member} FROM status_transition WHERE raw IS NOT NULL") == 1


async def test_a_stale_holder_writes_nothing_at_all(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    stale = await take_one(database, lease=OVER)
    await take_one(database)
    before = await everything(shop)
    decision = created(stale)._replace(packages=(PackageInfo(1, "a"),), labels=(LABEL,))
    assert await record(database, [(stale, decision)]) == set()
    assert await everything(shop) == before
    assert await standings(database, [stale]) == {stale.id: Standing.LOST}


async def test_a_result_counts_while_nobody_else_took_the_row(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database, lease=OVER)
    assert await record(database, [(order, created(order))]) == {order_id}


async def test_a_result_for_another_state_is_dropped(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await shop.run("UPDATE return_order SET state = 'cancelled' WHERE id = $1", order_id)
    before = await everything(shop)
    assert await record(database, [(order, created(order))]) == set()
    assert await everything(shop) == before


async def test_a_result_for_a_deleted_return_is_dropped(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    await shop.run("DELETE FROM return_order")
    assert await record(database, [(order, created(order))]) == set()
    assert await everything(shop) == [[], [], [], []]


async def test_recording_twice_writes_history_once_and_is_recognised(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    made = [(order, created(order)._replace(packages=(PackageInfo(1),), labels=(LABEL,)))]
    assert await standings(database, [order]) == {order_id: Standing.LOCKED}
    assert await record(database, made) == {order_id}
    before = await everything(shop)
    assert await record(database, made) == set()
    assert await everything(shop) == before
    assert await standings(database, [order]) == {order_id: Standing.WRITTEN}


async def test_a_row_taken_since_is_not_taken_for_recorded(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1")
    order = await take_one(database, Step.TRACK)
    await record(database, [(order, polled(order, due_at=now(seconds=-1), track_due_at=now(seconds=-1)))])
    await take_one(database, Step.TRACK)
    assert await standings(database, [order]) == {order.id: Standing.LOST}


async def test_two_results_for_one_row_in_one_batch_write_only_the_holders(database: Database, shop: Shop) -> None:
    """A process that slept longer than its lease holds the same row twice when it wakes."""
    order_id = await insert_tracked(shop, "R-1")
    stale = await take_one(database, Step.TRACK, lease=OVER)
    holder = await take_one(database, Step.TRACK)
    packages = (PackageInfo(1, "stale"), PackageInfo(2, "stale"))
    made = [(stale, polled(stale, "stale")._replace(packages=packages)), (holder, polled(holder, "holder"))]
    assert await record(database, made) == {order_id}
    assert [line["carrier_status"] for line in await shop.transitions(order_id)] == ["holder"]
    assert (await shop.order(order_id))["carrier_status"] == "holder"
    assert await shop.fetch("SELECT * FROM package") == []


async def test_a_stale_result_in_the_batch_does_not_forget_a_request(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1", state="rejected", due=None)
    await shop.run("UPDATE return_order SET retry_requested_at = CURRENT_TIMESTAMP")
    stale = await take_one(database, lease=OVER)
    holder = await take_one(database)
    put_back = settled(stale, State.PENDING, due_at=now(), retry_requested_at=None)
    await record(database, [(stale, put_back), (holder, settled(holder, State.REJECTED))])
    assert (await shop.order(order_id))["retry_requested_at"] is not None


async def test_a_batch_of_five_hundred_of_every_kind(database: Database, shop: Shop) -> None:
    for number in range(100):
        await insert(shop, f"C-{number}")
        await insert_tracked(shop, f"T-{number}")
        await insert_tracked(shop, f"L-{number}", next_step="label")
        await insert(shop, f"X-{number}")
        await insert(shop, f"S-{number}", "other")
    lost = [row.order for row in await take(database, account="other", quota=100, lease=OVER)]
    await take(database, account="other", quota=100)
    new = [row.order for row in await take(database, quota=200)]
    tracked = [row.order for row in await take(database, Step.TRACK, quota=100)]
    label = [row.order for row in await take(database, Step.LABEL, quota=100)]
    made = [(order, created(order, f"NEW-{order.id}")) for order in new if order.reference.startswith("C")]
    made += [(order, settled(order)) for order in new if order.reference.startswith("X")]
    made += [(order, polled(order)) for order in tracked]
    made += [(order, labelled(order, LABEL)) for order in label]
    written = {order.id for order, _ in made}
    made += [(order, created(order, f"LOST-{order.id}")) for order in lost]
    made.sort(key=lambda pair: pair[0].reference[::-1])
    assert len(made) == 500
    assert await record(database, made) == written
    states = await shop.fetch(
        "SELECT account, state, next_step, count(*) AS n FROM return_order GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    assert [tuple(row.values()) for row in states] == [
        ("default", "rejected", "create", 100),
        ("default", "tracking", "track", 300),
        ("other", "pending", "create", 100),
    ]
    assert await shop.value("SELECT count(*) FROM status_transition") == 200 + 100 + 100
    assert await shop.value("SELECT count(*) FROM label") == 100
    assert await shop.value("SELECT count(*) FROM return_order WHERE lease_owner IS NULL") == 400


async def test_a_withdrawal_made_while_held_leaves_the_row_due_now(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    order = await take_one(database, Step.TRACK)
    await shop.run("UPDATE return_order SET cancel_requested_at = CURRENT_TIMESTAMP WHERE id = $1", order_id)
    assert await record(database, [(order, polled(order))]) == {order_id}
    row = await shop.order(order_id)
    assert (row["carrier_status"], row["lease_owner"]) == ("Onderweg", None)
    assert abs(await shop.seconds("due_at", order_id)) < 5
    assert (await take_one(database, Step.CANCEL)).cancel_requested_at is not None


async def test_a_request_on_a_row_that_ends_meanwhile_is_still_looked_at(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    await shop.run("UPDATE return_order SET retry_requested_at = CURRENT_TIMESTAMP WHERE id = $1", order_id)
    await record(database, [(order, settled(order))])
    again = await take_one(database)
    assert (again.state, again.retry_requested_at is not None) == (State.REJECTED, True)


async def test_a_request_is_forgotten_once_it_was_decided(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1", state="rejected", due=None)
    await shop.run("UPDATE return_order SET retry_requested_at = CURRENT_TIMESTAMP")
    order = await take_one(database)
    put_back = settled(order, State.PENDING, due_at=now(hours=1), retry_requested_at=None)
    assert await record(database, [(order, put_back)]) == {order_id}
    row = await shop.order(order_id)
    assert (row["state"], row["retry_requested_at"], row["shop_changes"]) == ("pending", None, 1)
    assert await shop.seconds("due_at", order_id) > 3000


async def test_one_request_is_forgotten_without_the_other(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    await shop.run(
        "UPDATE return_order SET retry_requested_at = CURRENT_TIMESTAMP, cancel_requested_at = CURRENT_TIMESTAMP"
    )
    order = await take_one(database, Step.CANCEL)
    decision = polled(order, retry_requested_at=None)
    await record(database, [(order, decision)])
    row = await shop.order(order_id)
    assert row["retry_requested_at"] is None
    assert row["cancel_requested_at"] is not None


async def test_a_request_repeated_while_held_is_not_forgotten(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1", state="rejected", due=None)
    await shop.run(f"UPDATE return_order SET retry_requested_at = {shop.moment(-60)}")
    order = await take_one(database)
    await shop.run(f"UPDATE return_order SET retry_requested_at = {shop.moment()}")
    put_back = settled(order, State.PENDING, due_at=now(hours=1), retry_requested_at=None)
    assert await record(database, [(order, put_back)]) == {order_id}
    assert (await shop.order(order_id))["retry_requested_at"] is not None
    assert abs(await shop.seconds("due_at", order_id)) < 5


async def test_a_request_of_a_row_that_was_lost_is_not_forgotten(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1", state="rejected", due=None)
    await shop.run("UPDATE return_order SET retry_requested_at = CURRENT_TIMESTAMP")
    stale = await take_one(database, lease=OVER)
    await take_one(database)
    assert await record(database, [(stale, settled(stale, State.PENDING, retry_requested_at=None))]) == set()
    assert (await shop.order(order_id))["retry_requested_at"] is not None


@on_postgresql
async def test_a_withdrawal_and_a_record_at_once_lose_nothing(url: str, database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    order = await take_one(database, Step.TRACK)
    async with Shop.at(url) as other:
        await other.run("BEGIN")
        await other.run("UPDATE return_order SET cancel_requested_at = now()")
        assert await record(database, [(order, polled(order))]) == set()
        await other.run("COMMIT")
    assert await record(database, [(order, polled(order))]) == {order_id}
    row = await shop.order(order_id)
    assert (row["carrier_status"], row["shop_changes"]) == ("Onderweg", 1)
    assert row["cancel_requested_at"] is not None
    assert abs(await shop.seconds("due_at", order_id)) < 30


async def test_a_number_of_another_return_is_refused_and_nothing_is_written(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-0", carrier_ref="NR-1", due=3600)
    for number in range(3):
        await insert(shop, f"R-{number + 1}")
    orders = [row.order for row in await take(database)]
    before = await everything(shop)
    with pytest.raises(CarrierRefTaken):
        await record(database, [(order, created(order, f"NR-{n}")) for n, order in enumerate(orders)])
    assert await everything(shop) == before


async def test_the_same_number_in_another_account_is_fine(database: Database, shop: Shop) -> None:
    await insert_tracked(shop, "R-1", "other", carrier_ref="NR-1")
    await insert(shop, "R-1")
    order = await take_one(database)
    assert await record(database, [(order, created(order, "NR-1"))]) == {order.id}


async def test_only_the_numbers_own_index_means_that_it_is_taken(database: Database, shop: Shop) -> None:
    """The word also stands in references, error codes and the names of other constraints."""
    from sqlalchemy.exc import IntegrityError

    await insert(shop, "return_order_carrier_ref")
    order = await take_one(database)
    no_number = created(order, error_code=ErrorCode.CARRIER_REF_TAKEN, carrier_ref=None)
    with pytest.raises(IntegrityError, match="return_order_at_carrier_check"):
        await record(database, [(order, no_number)])


async def test_an_intent_is_kept_by_the_decision_that_keeps_it(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    started = await start_creation(database, order, CALL)
    await record(database, [(order, settled(order, State.NEEDS_ATTENTION, create_started_at=started))])
    assert (await shop.order(order_id))["create_started_at"] is not None


async def test_labels_and_packages_replace_those_of_their_position(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1", next_step="label")
    first = replace(LABEL, sha256="00" * 32, location="file:old.pdf")
    order = await take_one(database, Step.LABEL)
    again = labelled(order, first)._replace(packages=(PackageInfo(1, "a"), PackageInfo(2, "b")))
    due = {"next_step": Step.LABEL, "due_at": now(seconds=-1)}
    await record(database, [(order, again._replace(order=again.order._replace(**due)))])
    await shop.run(f"UPDATE label SET fetched_at = {shop.moment(-3600)}")
    order = await take_one(database, Step.LABEL)
    packages = (PackageInfo(2, "B", "box", "3S1", "https://t.example/3S1"), PackageInfo(3))
    second = replace(LABEL, position=2)
    await record(database, [(order, labelled(order, LABEL, second)._replace(packages=packages))])
    (row,) = await find_orders(database)
    history = await read_history(database, row)
    assert [(package.position, package.label_code) for package in history.packages] == [(1, "a"), (2, "B"), (3, None)]
    assert history.packages[1].tracking_url == "https://t.example/3S1"
    assert [
        StoredLabel(label.position, label.location, label.media_type, label.byte_count, label.page_count, label.sha256)
        for label in history.labels
    ] == [LABEL, second]
    assert all(abs(label.fetched_at - datetime.now(UTC)) < timedelta(seconds=10) for label in history.labels)
    assert {package.return_order_id for package in history.packages} == {order_id}


async def test_a_label_fetched_by_a_person_replaces_the_old_one(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    await replace_label(database, order_id, LABEL)
    await replace_label(database, order_id, replace(LABEL, location="file:new.pdf", page_count=None))
    row = await shop.row("SELECT * FROM label")
    assert (row["return_order_id"], row["position"], row["location"]) == (order_id, 1, "file:new.pdf")
    assert row["page_count"] is None


TEXTS = (
    ODD,
    "x" * 100_000,
    "😀\\\"'" * 20_000,
    "",
    " ",
    "null",
    "true",
    "12",
    "1e5",
    "{}",
    "[1]",
    '"',
    "\\",
    "\\u0000",
)


async def test_any_text_comes_back_as_it_was(database: Database, shop: Shop) -> None:
    for number, text in enumerate(TEXTS):
        order_id = await insert(shop, f"R-{number}{text[:50]}")
        order = await take_one(database)
        raw = json.dumps({"text": text, text: [text]})
        decision = created(order, f"NR-{number}", carrier_status=text, return_url=text, error_message=text)._replace(
            transitions=(Transition("state", text, text, text, reason=text, raw=raw),),
            packages=(PackageInfo(1, text, text, text, text),),
            labels=(replace(LABEL, location=text),),
        )
        assert await record(database, [(order, decision)]) == {order_id}
        (row,) = await find_orders(database, reference=f"R-{number}{text[:50]}")
        history = await read_history(database, row)
        assert (row.carrier_status, row.return_url, row.error_message) == (text,) * 3
        (line,) = history.transitions
        assert (line.old_value, line.new_value, line.carrier_status, line.reason) == (text,) * 4
        assert line.raw == {"text": text, text: [text]}
        (package,) = history.packages
        written = (package.label_code, package.description, package.tracking_number, package.tracking_url)
        assert written == (text,) * 4
        assert history.labels[0].location == text


async def test_text_that_no_database_can_store_costs_nobody_the_result(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    rejected = settled(order, error_message="a\x00b \ud800 c", error_code=ErrorCode.INVALID_PAYLOAD)
    assert await record(database, [(order, rejected)]) == {order_id}
    (row,) = await find_orders(database)
    assert row.error_message == "ab ? c"


async def test_moments_keep_their_milliseconds_and_their_zone_does_not_matter(database: Database, shop: Shop) -> None:
    order_id = await insert(shop, "R-1")
    order = await take_one(database)
    moment = datetime(2026, 3, 29, 3, 30, 0, 7_000, tzinfo=UTC)
    abroad = moment.astimezone(__import__("zoneinfo").ZoneInfo("Asia/Kathmandu"))
    await record(database, [(order, created(order, followed_since=abroad, due_at=now(seconds=-1)))])
    (claimed,) = await take(database, Step.TRACK)
    assert claimed.order.followed_since == moment
    assert claimed.order.id == order_id


async def test_a_moment_of_the_first_century_can_be_written_back(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    await shop.run("UPDATE return_order SET due_at = '0001-01-02 00:00:00'" + ("" if shop.sqlite else "::timestamptz"))
    order = await take_one(database)
    assert order.due_at == datetime(1, 1, 2, tzinfo=UTC)
    assert await record(database, [(order, Decision(order, StepOutcome.WAITING))]) == {order.id}
    assert (await take_one(database)).due_at == order.due_at


async def test_what_was_handed_back_cannot_be_recorded(database: Database, shop: Shop) -> None:
    await insert(shop, "R-1")
    order = await take_one(database)
    await hand_back(database, [order])
    assert await record(database, [(order, created(order))]) == set()


async def test_two_who_record_the_same_batches_the_other_way_round_do_not_block_each_other(
    database: Database, shop: Shop
) -> None:
    for number in range(40):
        await insert_tracked(shop, f"R-{number}")
    orders = [row.order for row in await take(database, Step.TRACK, quota=40)]
    made = [(order, polled(order)) for order in orders]
    written = await asyncio.gather(*(record(database, part) for part in (made, made[::-1], made, made[::-1])))
    assert sorted(order_id for part in written for order_id in part) == sorted(order.id for order in orders)
    assert await shop.value("SELECT count(*) FROM status_transition") == 40


async def test_a_row_that_was_changed_by_hand_under_its_holder_is_lost_to_it(database: Database, shop: Shop) -> None:
    order_id = await insert_tracked(shop, "R-1")
    order = await take_one(database, Step.TRACK)
    await shop.run("UPDATE return_order SET state = 'completed', due_at = NULL WHERE id = $1", order_id)
    assert await record(database, [(order, polled(order))]) == set()
    assert await standings(database, [order]) == {order_id: Standing.LOST}


@on_postgresql
async def test_a_row_locked_by_the_shop_s_open_transaction_does_not_keep_the_others(
    database: Database, shop: Shop
) -> None:
    for number in range(4):
        await insert_tracked(shop, f"R-{number}")
    held = [claimed.order for claimed in await take(database, Step.TRACK)]
    locked, other, third, fourth = held
    async with shop.connection.transaction():
        await shop.run("SELECT 1 FROM return_order WHERE id = ANY ($1) FOR UPDATE", [locked.id, third.id])
        assert await record(database, [(order, polled(order)) for order in (locked, other)]) == {other.id}
        assert await hand_back(database, [third, fourth]) == {fourth.id}
        found = await standings(database, held)
        assert [found[order.id].value for order in held] == ["locked", "written", "locked", "written"]
    assert await record(database, [(locked, polled(locked))]) == {locked.id}
    assert await hand_back(database, [third]) == {third.id}
