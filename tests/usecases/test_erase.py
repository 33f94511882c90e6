"""Personal data is erased wherever it lies, of what is over alone, through kills, and stays erased."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from tests.databases import on_sqlite
from tests.engine.scripted import ScriptedCarrier, make_loop
from tests.store.shop import Refused, Shop
from worker.domain.by_hand import Person
from worker.domain.decision import Decision, StepOutcome
from worker.domain.lifecycle import State
from worker.domain.outcomes import LabelReady
from worker.domain.returns import ReturnOrder
from worker.engine import retention
from worker.engine.clock_watch import ClockWatch
from worker.engine.label import stored
from worker.engine.retention import Ages, Retention
from worker.labels import FileLabelStore, LabelName, LabelStore, VerifiedLabel
from worker.settings import AccountSettings, Settings
from worker.settings.model import LabelSettings
from worker.store import erasure
from worker.store.database import Database
from worker.store.erasure import count_unfinished, erase
from worker.store.upkeep.archive import archive_batch
from worker.telemetry.metrics import Metrics
from worker.usecases import customer, refetch_label
from worker.usecases.erase import (
    ErasedInPart,
    Outcome,
    count_older,
    erase_meant,
    erase_older,
    meant_by_email,
    meant_by_references,
)
from worker.usecases.export import all_files, all_values
from worker.usecases.find import find_return
from worker.usecases.not_done import NotDone
from worker.usecases.show import show_return

NAME = "Wilhelmina Tulpenburg"
PAYLOAD = json.dumps({"customer": {"name": NAME, "email": "Mina@Example.org"}})
BY = Person("anna", "asked by letter")
DAY = timedelta(days=1)
LABEL = VerifiedLabel(NAME.encode(), "application/zpl", None, hashlib.sha256(NAME.encode()).hexdigest())
OLDER = VerifiedLabel(f"old {NAME}".encode(), "application/zpl", None, hashlib.sha256(b"old").hexdigest())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "labels"


@pytest.fixture
def labels(folder: Path) -> LabelStore:
    return FileLabelStore(folder)


@pytest.fixture
def settings(folder: Path) -> Settings:
    return Settings(accounts={"default": AccountSettings()}, labels=LabelSettings(store=f"file:{folder}"))


async def planted(shop: Shop, labels: LabelStore, reference: str, state: str = "completed", **columns: Any) -> int:
    """A return that ended ten days ago, with the name in every place that takes text, and with files of its label."""
    values = {
        **{"reference": reference, "payload": PAYLOAD, "state": state, "next_step": "track", "due_at": None},
        **{"carrier_ref": f"N-{reference}", "tracking_status": "delivered", "return_url": f"https://x/?{NAME}"},
        **{"error_code": "carrier_error", "error_message": f"no: {NAME}", "label_error_message": f"not: {NAME}"},
    } | columns
    names, places = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
    order_id = int(
        await shop.value(
            f"INSERT INTO return_order ({names}, updated_at) VALUES ({places}, {shop.moment(-864000)}) RETURNING id",
            *values.values(),
        )
    )
    await shop.run(
        "INSERT INTO package (return_order_id, position, label_code, description, tracking_number, tracking_url)"
        " VALUES ($1, 1, 'L-1', $2, 'T-1', $3)",
        *(order_id, f"a gift of {NAME}", f"https://t/{NAME}"),
    )
    await shop.run(
        "INSERT INTO status_transition (return_order_id, field, old_value, new_value, reason, raw)"
        " VALUES ($1, 'state', 'tracking', $2, $3, $4)",
        *(order_id, state, f"because of {NAME}", json.dumps({"to": NAME})),
    )
    if (number := values["carrier_ref"]) is not None:
        name = LabelName("default", number, 1)
        await labels.put(name, OLDER)
        await labels.keep_aside(name, NAME.encode())
        await shop.run(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256, fetched_at)"
            f" VALUES ($1, 1, $2, 'application/zpl', 9, 'x', {shop.moment(-864000)})",
            *(order_id, await labels.put(name, LABEL)),
        )
    return order_id


async def everything(shop: Shop) -> str:
    tables = ("return_order", "status_transition", "package", "label", "archived_return")
    return str([await shop.fetch(f"SELECT * FROM {table}") for table in tables])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def found_by(database: Database, email: str, limit: int) -> list[Any]:
    return [named async for looked in customer.returns_of(database, email, limit) for named in looked.found]


async def erased(outcomes: AsyncIterator[Outcome]) -> Outcome:
    total = Outcome()
    async for each in outcomes:
        total.erased += each.erased
        total.before += each.before
        total.refused += each.refused
    return total


def keeper(database: Database, labels: LabelStore, metrics: Metrics, **ages: timedelta) -> Retention:
    return Retention(database, labels, metrics, Ages(**ages), ClockWatch(lambda: 0.0, {}), lambda: 0.0)


@pytest.mark.parametrize("archived", [False, True])
async def test_what_is_erased_is_nowhere_and_reference_numbers_states_and_times_stay(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path, archived: bool
) -> None:
    await planted(shop, labels, "R-1")
    await planted(shop, labels, "R-2", payload="{}")
    if archived:
        assert (await archive_batch(database, datetime.now(UTC), None, 0, 1)).count == 1
    assert NAME in await everything(shop) and len(files(folder)) == 6
    before = await show_return(settings, database, "R-1", None)

    done = await erased(erase_meant(settings, database, await meant_by_references(database, ["R-1"], None), BY))

    assert (done.erased, done.refused) == (["R-1"], [])
    await shop.run("DELETE FROM return_order WHERE reference = 'R-2'")
    assert NAME not in await everything(shop)
    assert [path for path in files(folder) if "R-1" in path.name] == [] and len(files(folder)) == 3
    after = await show_return(settings, database, "R-1", None)
    same = ("id", "account", "reference", "state", "tracking_status", "carrier_ref", "error_code", "created_at")
    for name in same:
        assert getattr(after.history.order, name) == getattr(before.history.order, name), name
    assert after.history.order.payload in ({}, None)
    first, last = after.history.transitions
    assert (first.new_value, first.reason, first.raw) == ("completed", None, None)
    assert (last.old_value, last.reason) == ("completed", "personal data erased; by anna: asked by letter")
    (package,), (label,) = after.history.packages, after.history.labels
    assert (package.label_code, package.tracking_number, package.description) == ("L-1", "T-1", None)
    assert label.removed_at is not None and label.byte_count == 9
    assert all_values(after)["erased_at"] is not None
    with pytest.raises(NotDone, match=r"was erased at .* nothing more is done"):
        await find_return(database, "R-1", None)
    again = await erased(erase_meant(settings, database, await meant_by_references(database, ["R-1"], None), BY))
    assert (again.erased, again.before) == ([], ["R-1"])


async def test_only_what_is_over_is_erased_and_a_refusal_says_what_comes_first(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings
) -> None:
    soon = "2036-01-01 00:00:00" if shop.sqlite else datetime(2036, 1, 1, tzinfo=UTC)
    await planted(shop, labels, "live", "tracking", due_at=soon)
    await planted(shop, labels, "held", "needs_attention")
    doubt = {"carrier_ref": None, "tracking_status": None, "next_step": "create"}
    await planted(shop, labels, "doubt", "rejected", create_started_at=soon, **doubt)
    await planted(shop, labels, "refused", "rejected", **doubt)
    leased = await planted(shop, labels, "leased")
    lease = f"lease_owner = 'worker-1', lease_until = {shop.moment(60)}"
    await shop.run(f"UPDATE return_order SET {lease} WHERE id = {leased}")
    await planted(shop, labels, "given up", "cancelled", create_started_at=soon, **doubt)
    references = ["live", "held", "doubt", "refused", "leased", "given up"]

    done = await erased(erase_meant(settings, database, await meant_by_references(database, references, None), BY))

    assert done.erased == ["refused", "given up"]
    why = dict(done.refused)
    assert "`cancel`" in why["live"] and "`retry`, `resolve` or `cancel`" in why["held"]
    assert "its creation may have happened" in why["doubt"] and "a worker" in why["leased"]
    for reference in why:  # and the database itself says no
        with pytest.raises(Refused, match="erased only of a return that is completed"):
            await shop.run(f"UPDATE return_order SET erased_at = {shop.moment(0)} WHERE reference = $1", reference)


async def test_the_database_puts_nothing_back_and_the_history_is_changed_by_nothing_else(
    database: Database, shop: Shop, labels: LabelStore
) -> None:
    now = shop.moment(0)
    kept, gone = await planted(shop, labels, "kept"), await planted(shop, labels, "gone", "rejected")
    assert await erase(database, [gone], "over") == {gone}
    for change in (
        "payload = '{\"a\": 1}'",
        "state = 'pending', due_at = " + now,
        "due_at = " + now,
        "retry_requested_at = " + now,
        "cancel_requested_at = " + now,
        "erased_at = NULL",
        "error_message = 'x'",
        "return_url = 'x'",
        f"lease_owner = 'x', lease_until = {now}",
    ):
        with pytest.raises(Refused, match="was erased: nothing more is done"):
            await shop.run(f"UPDATE return_order SET {change} WHERE id = {gone}")
    for label in (
        "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256)"
        f" VALUES ({gone}, 2, 'x', 'x', 1, 'x')",
        f"UPDATE label SET location = 'x', removed_at = NULL WHERE return_order_id = {gone}",
    ):
        with pytest.raises(Refused, match="was erased"):
            await shop.run(label)
    for order_id, change in (
        (kept, "raw = NULL, reason = NULL"),
        (gone, "reason = 'x'"),
        (gone, "raw = NULL, reason = NULL, new_value = 'x'"),
    ):
        with pytest.raises(Refused, match="append-only"):
            await shop.run(f"UPDATE status_transition SET {change} WHERE return_order_id = {order_id}")


class Killed(BaseException):
    """What no part of the program catches."""


@pytest.mark.parametrize("place", ["empty_wal", "all_of", "remove", "files_removed"])
@pytest.mark.parametrize("archived", [False, True])
async def test_what_a_kill_left_half_done_the_next_worker_finishes(
    database: Database,
    shop: Shop,
    labels: LabelStore,
    settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    archived: bool,
) -> None:
    await planted(shop, labels, "R-1")
    if archived:
        await archive_batch(database, datetime.now(UTC), None, 0, 1)
    meant = await meant_by_references(database, ["R-1"], None)

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(retention if hasattr(retention, place) else FileLabelStore, place, killed)
        told = list[str]()
        with suppress(Killed):
            async for outcome in erase_meant(settings, database, meant, BY):
                told += outcome.erased
    assert told == ["R-1"]
    assert NAME not in await everything(shop)
    assert await count_unfinished(database) == 1

    metrics = Metrics("0")
    await keeper(database, labels, metrics).keep()
    assert files(folder) == []
    assert await count_unfinished(database) == 0
    assert metrics.erasures_due._value.get() == 0


async def test_a_transaction_that_is_killed_has_erased_nothing(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path
) -> None:
    order_id = await planted(shop, labels, "R-1")

    def killed(connection: Connection) -> None:
        erase.__wrapped__(connection, [order_id], "over")  # type: ignore[attr-defined]
        raise Killed

    with suppress(Killed):
        await database.transaction(killed)
    assert (await show_return(settings, database, "R-1", None)).history.order.erased_at is None
    assert NAME in await everything(shop) and len(files(folder)) == 3


async def test_what_is_due_by_age_is_erased_and_a_refused_one_keeps_no_other(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path
) -> None:
    for number in range(3):
        await planted(shop, labels, f"R-{number}")
    await archive_batch(database, datetime.now(UTC), None, 0, 1)
    young = await planted(shop, labels, "young")
    await shop.run(f"UPDATE return_order SET updated_at = {shop.moment(-60)} WHERE id = {young}")
    metrics = Metrics("0")
    keeping = keeper(database, labels, metrics, erase_after=5 * DAY)
    await keeping.read_gauge()
    assert metrics.erasures_due._value.get() == 3
    assert await count_older(database, 5 * DAY, None, 100) == 3
    assert await count_older(database, 5 * DAY, "other", 100) == 0
    done = await erased(erase_older(settings, database, 5 * DAY, None, BY, 1))
    assert len(done.erased) == 1
    await keeping.keep()
    assert (metrics.erasures_due._value.get(), metrics.returns_erased._value.get()) == (0, 2)
    assert {path.name.split("-")[1] for path in files(folder)} == {"young"}


async def test_label_files_go_sooner_and_their_facts_stay(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path
) -> None:
    for number in range(2):
        await planted(shop, labels, f"R-{number}")
    await archive_batch(database, datetime.now(UTC), None, 0, 1)
    refetched = await planted(shop, labels, "again")
    await shop.run(f"UPDATE label SET fetched_at = {shop.moment(-60)} WHERE return_order_id = {refetched}")
    keeping = keeper(database, labels, Metrics("0"), labels_after=5 * DAY)
    for _ in range(2):
        await keeping.keep()
        assert {path.name.split("-")[1] for path in files(folder)} == {"again"}
    for number in range(2):
        found = await show_return(settings, database, f"R-{number}", None)
        assert found.history.labels[0].removed_at is not None
        assert found.history.order.erased_at is None
        from worker.usecases.label import stored_label

        with pytest.raises(NotDone, match=r"the file of label 1 of 'R-\d' was removed at .*labels_after"):
            await stored_label(settings, found.history, 1)


@on_sqlite
async def test_files_that_cannot_be_removed_keep_no_other_and_stay_due(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path
) -> None:
    elsewhere, _ = await planted(shop, labels, "R-1"), await planted(shop, labels, "R-2")
    await shop.run(f"UPDATE label SET location = 'file:///elsewhere/x-1.zpl' WHERE return_order_id = {elsewhere}")
    meant = await meant_by_references(database, ["R-1", "R-2"], None)
    with pytest.raises(ErasedInPart, match=r"elsewhere/x-1.zpl.* outside of the label store"):
        await erased(erase_meant(settings, database, meant, BY))
    assert NAME not in await everything(shop)
    assert [path.name for path in files(folder) if "R-2" in path.name] == []
    metrics = Metrics("0")
    await planted(shop, labels, "R-3")
    await keeper(database, labels, metrics, erase_after=5 * DAY).keep()
    assert metrics.erasures_due._value.get() == 1
    assert NAME not in await everything(shop)
    assert [path.name for path in files(folder) if "R-1" not in path.name] == []


@on_sqlite
async def test_no_age_is_judged_by_a_clock_in_doubt(
    database: Database, shop: Shop, labels: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await planted(shop, labels, "R-1")
    monkeypatch.setattr(ClockWatch, "is_believed", False)
    metrics = Metrics("0")
    await keeper(database, labels, metrics, erase_after=5 * DAY, labels_after=5 * DAY).keep()
    assert metrics.erasures_due._value.get() == 1
    assert NAME in await everything(shop)


async def test_a_customer_is_found_by_address_and_a_shared_address_is_asked_back(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path
) -> None:
    for number in range(3):
        await planted(shop, labels, f"R-{number}")
    await planted(shop, labels, "other", payload='{"customer": "mina@example.org"}')
    await archive_batch(database, datetime.now(UTC), None, 0, 1)

    async def found(limit: int) -> list[Any]:
        return await found_by(database, " mina@EXAMPLE.org", limit)

    with pytest.raises(customer.TooManyMeant, match="more than 2 returns have that address"):
        await found(2)
    meant = await found(3)
    assert [each.reference for each in meant] == ["R-0", "R-1", "R-2"]
    shown = await show_return(settings, database, "R-0", None)
    held = {str(path): content async for path, content in all_files(settings, shown)}
    assert len(held) == 3 and all(content and NAME.encode() in content for content in held.values())
    done = await erased(erase_meant(settings, database, await meant_by_email(database, meant), BY))
    assert len(done.erased) == 3
    assert await found(3) == []


@pytest.mark.parametrize(
    "columns",
    [
        "reference, payload, erased_at) VALUES ('R-1', '{}', $1)",
        "reference, payload, state, due_at, erased_at) VALUES ('R-1', '{\"a\": 1}', 'completed', NULL, $1)",
    ],
)
async def test_no_row_comes_in_as_erased_which_no_worker_could_take(shop: Shop, columns: str) -> None:
    moment: Any = "2026-01-01 00:00:00" if shop.sqlite else datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(Refused, match="erased"):
        await shop.run(f"INSERT INTO return_order ({columns}", moment)


async def test_an_archived_return_whose_labels_went_before_is_unfinished_until_the_journal_is_cut_off(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await planted(shop, labels, "R-1")
    await archive_batch(database, datetime.now(UTC), None, 0, 1)
    await keeper(database, labels, Metrics("0"), labels_after=5 * DAY).keep()
    meant = await meant_by_references(database, ["R-1"], None)

    async def busy(_: Database) -> bool:
        return False

    with monkeypatch.context() as patch, pytest.raises(ErasedInPart):
        patch.setattr("worker.engine.retention.empty_wal", busy)
        await erased(erase_meant(settings, database, meant, BY))
    assert await count_unfinished(database) == 1


async def test_a_label_that_comes_after_the_erasure_does_not_stay(
    database: Database,
    shop: Shop,
    labels: LabelStore,
    settings: Settings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order_id = await planted(shop, labels, "R-1")
    order = await find_return(database, "R-1", None)

    async def asked(*_: object) -> tuple[ReturnOrder, LabelReady]:
        await erased(erase_meant(settings, database, await meant_by_references(database, ["R-1"], None), BY))
        assert files(folder) == []
        location = await labels.put(LabelName("default", "N-R-1", 1), LABEL)
        return ReturnOrder(order_id, "default", "R-1", carrier_ref="N-R-1"), LabelReady(stored(1, location, LABEL))

    monkeypatch.setattr(refetch_label, "_asked", asked)
    with pytest.raises(NotDone, match="erased meanwhile"):
        await refetch_label.refetch_label(settings, database, order, 1)
    assert files(folder) == [] and await count_unfinished(database) == 0


async def test_a_label_of_a_worker_whose_lease_ran_out_before_the_erasure_does_not_stay(
    database: Database, shop: Shop, labels: LabelStore, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    order_id = await planted(shop, labels, "R-1")
    claimed = ReturnOrder(order_id, "default", "R-1", state=State.TRACKING, carrier_ref="N-R-1", lease_token=7)
    await erased(erase_meant(settings, database, await meant_by_references(database, ["R-1"], None), BY))
    location = await labels.put(LabelName("default", "N-R-1", 1), LABEL)

    loop = await make_loop(database, tmp_path, {"default": ScriptedCarrier()})
    late = Decision(claimed, StepOutcome.STORED, labels=(stored(1, location, LABEL),))
    loop.recorder.later(claimed, late)
    await loop.recorder.flush()

    assert await count_unfinished(database) == 1
    await keeper(database, labels, Metrics("0")).keep()
    assert files(folder) == []


async def test_an_address_is_one_however_its_letters_are_written(database: Database, shop: Shop) -> None:
    for number, email in enumerate(
        ("J\u00d6RG@Shop.example", "jo\u0308rg@shop.example", "\tj\u00f6rg@SHOP.example\u00a0", 5)
    ):
        payload = json.dumps({"customer": {"email": email}})
        await shop.run("INSERT INTO return_order (reference, payload) VALUES ($1, $2)", f"R-{number}", payload)
    found = await found_by(database, "j\u00f6rg@shop.example", 9)
    assert [each.reference for each in found] == ["R-0", "R-1", "R-2"]


@on_sqlite
async def test_a_worker_that_erases_writes_the_file_once_more_a_day_and_a_large_one_is_left_to_a_person(
    database: Database, shop: Shop, labels: LabelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements, now = list[str](), [0.0]
    event.listen(database.engine, "before_cursor_execute", lambda _c, _cursor, said, *_: statements.append(said))
    watch = ClockWatch(lambda: 0.0, {})
    keeping = Retention(database, labels, Metrics("0"), Ages(erase_after=DAY), watch, lambda: now[0])
    for hour, count in ((0, 0), (0, 1), (12, 1), (25, 2), (50, 2)):
        now[0] = hour * 3600.0
        await planted(shop, labels, f"R-{hour}-{count}") if count and hour < 50 else None
        await keeping.keep()
        assert statements.count("VACUUM") == count
    monkeypatch.setattr(erasure, "_REWRITTEN", 4096)
    assert "VACUUM it in a quiet hour" in (await retention.copies_left(database) or "")


@on_sqlite
async def test_a_rule_that_refuses_a_mark_keeps_one_erasure_unfinished_and_no_other(
    database: Database, shop: Shop, labels: LabelStore, folder: Path
) -> None:
    for number in range(3):
        await planted(shop, labels, f"R-{number}")
    await shop.run(
        "CREATE TRIGGER of_r1 BEFORE UPDATE ON return_order"
        " WHEN OLD.reference = 'R-1' AND NEW.files_removed_at IS NOT NULL"
        " BEGIN SELECT RAISE(ABORT, 'a rule of the shop'); END"
    )
    await shop.run(
        "CREATE TRIGGER of_labels BEFORE UPDATE ON label WHEN NEW.removed_at IS NOT NULL AND NEW.location LIKE '%R-2%'"
        " BEGIN SELECT RAISE(ABORT, 'another rule'); END"
    )
    await keeper(database, labels, Metrics("0"), labels_after=5 * DAY).keep()
    await shop.run("DROP TRIGGER of_labels")
    assert await shop.value("SELECT count(*) FROM label WHERE removed_at IS NULL") == 1
    await keeper(database, labels, Metrics("0"), erase_after=5 * DAY).keep()
    assert await count_unfinished(database) == 1
