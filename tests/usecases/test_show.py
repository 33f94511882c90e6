"""What a face shows of a return, and what it may offer to do, are values: no words of the command line's."""

import pytest

from tests.store.shop import Shop
from worker.domain.by_hand import Person, Refusal
from worker.domain.waits import WaitsFor
from worker.settings import AccountSettings, Settings
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.upkeep.archive import archive_batch
from worker.usecases import ways
from worker.usecases.accounts import hold
from worker.usecases.desk import EVERYTHING, Request, decide_by_hand
from worker.usecases.find import ReturnAmbiguous
from worker.usecases.missing_label import LabelWay
from worker.usecases.not_done import NotDone, WrongRequest
from worker.usecases.show import show_return, show_to_person
from worker.usecases.ways import Way

SETTINGS = Settings(accounts={"default": AccountSettings()})
TRACKED = (
    "INSERT INTO return_order"
    " (account, reference, carrier_ref, payload, state, next_step, label_error_code, label_error_message)"
    " VALUES ($1, 'R-1', 'C-1', '{\"customer\": {\"name\": \"Jo\"}}', 'tracking', 'track', $2, 'no PDF')"
)


@pytest.mark.parametrize(
    ("code", "way"),
    [
        ("label_unusable", LabelWay.ACCEPT),
        ("worker_crashed", LabelWay.RETRY),
        ("label_not_ready", LabelWay.REFETCH),
    ],
)
async def test_a_missing_label_is_shown_with_what_leads_on(
    database: Database, shop: Shop, code: str, way: LabelWay
) -> None:
    await shop.run(TRACKED, "default", code)
    await hold(SETTINGS, database, "default", Person("anna", "strike"), None, creations=False)
    found = await show_return(SETTINGS, database, "R-1", None)
    assert found.missing_label is not None
    assert (found.missing_label.position, found.missing_label.code, found.missing_label.way) == (1, code, way)
    assert found.parties["customer"].name == "Jo"
    assert found.account_waits is not None
    assert "by anna: strike" in found.account_waits


async def test_a_return_that_nobody_can_mean_is_not_guessed(database: Database, shop: Shop) -> None:
    with pytest.raises(NotDone, match="there is no return with reference 'R-1'; `find` looks for"):
        await show_return(SETTINGS, database, "R-1", None)
    with pytest.raises(WrongRequest, match="is not UTF-8"):
        await show_return(SETTINGS, database, "\udc80", None)
    for account in ("default", "other"):
        await shop.run(TRACKED, account, "label_not_ready")
    with pytest.raises(ReturnAmbiguous, match="default, other"):
        await show_return(SETTINGS, database, "R-1", None)
    found = await show_return(SETTINGS, database, "R-1", "other")
    assert not found.is_configured


TROUBLED = {
    "pending": ("create", "'2036-01-01 00:00:00'", "", {Way.CANCEL}),
    "tracking": ("track", "'2036-01-01 00:00:00'", ", carrier_ref, tracking_status", {Way.POLL, Way.CANCEL}),
    "completed": ("track", "NULL", ", carrier_ref, tracking_status", {Way.POLL}),
    "rejected": ("create", "NULL", "", {Way.FOUND, Way.RETRY, Way.CANCEL}),
    "needs_attention": ("create", "NULL", ", create_started_at", {Way.FOUND, Way.NOT_CREATED, Way.CANCEL}),
    "cancelled": ("create", "NULL", ", erased_at", set()),
}
VALUES = {"carrier_ref": "C-1", "tracking_status": "failed"}


@pytest.mark.parametrize("state", TROUBLED)
async def test_what_a_person_is_offered_is_what_no_command_would_refuse(
    database: Database, shop: Shop, state: str
) -> None:
    step, due_at, more, expected = TROUBLED[state]
    values = "".join(f", '{VALUES.get(name.strip(), '2020-01-01 00:00:00')}'" for name in more.split(",")[1:])
    await shop.run(
        f"INSERT INTO return_order (reference, payload, state, next_step, due_at{more})"
        f" VALUES ('R-1', '{{}}', '{state}', '{step}', {due_at}{values})"
    )
    found = await show_to_person(SETTINGS, database, "R-1", None)
    assert set(found.ways) == expected
    if not expected:
        return
    for way, by_hand in ways._BY_HAND.items():
        request = Request(["R-1"], EVERYTHING, Person("anna"), "test", dry_run=True)
        (would,) = await decide_by_hand(SETTINGS, database, request, by_hand)
        assert (way in found.ways) == (not isinstance(would.outcome, Refusal))


async def test_a_poll_is_not_offered_while_the_account_is_held(database: Database, shop: Shop) -> None:
    await shop.run(TRACKED, "default", "label_not_ready")
    for creations in (True, False):
        await hold(SETTINGS, database, "default", Person("anna", "strike"), None, creations=creations)
        assert (Way.POLL in (await show_to_person(SETTINGS, database, "R-1", None)).ways) == creations


async def test_what_a_return_waits_for_is_what_the_view_says(database: Database, shop: Shop) -> None:
    await shop.run(TRACKED, "default", "label_not_ready")
    assert (await show_to_person(SETTINGS, database, "R-1", None)).waits_for is WaitsFor.WORKER_ABSENT


async def test_of_a_long_history_no_more_is_read_than_is_wanted_live_and_archived(
    database: Database, shop: Shop
) -> None:
    over = "INSERT INTO return_order (reference, payload, state, due_at, updated_at) VALUES ('R-1', '{}', 'cancelled', "
    await shop.run(f"{over} NULL, '2026-01-02 03:04:05')")
    for reason in ("first", "second", "third"):
        line = "INSERT INTO status_transition (return_order_id, field, new_value, reason)"
        await shop.run(f"{line} SELECT id, 'state', 'cancelled', $1 FROM return_order", reason)

    async def told(most: int | None) -> tuple[list[str | None], int]:
        history = (await show_return(SETTINGS, database, "R-1", None, most)).history
        return [each.reason for each in history.transitions], history.left_out

    async def each_is_as_wanted() -> None:
        assert await told(2) == (["second", "third"], 1)
        assert await told(3) == await told(None) == (["first", "second", "third"], 0)

    await each_is_as_wanted()
    assert (await archive_batch(database, await database_now(database), None, 0, 1)).count == 1
    await each_is_as_wanted()
