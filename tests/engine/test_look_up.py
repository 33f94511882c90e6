"""A look-up that cannot be finished is a failure that is counted, and never begins anew for ever."""

from datetime import timedelta

import pytest

from tests.domain.cases import sent
from tests.store.rows import insert, insert_tracked, take_one
from tests.store.shop import Shop
from worker.carriers.port import Creation, NoTimeLeft, Stopping
from worker.domain.kin import Kin, alone
from worker.domain.outcomes import Created, Failed, RefTaken
from worker.engine.creation import create
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable


class LongList:
    """A carrier whose list is longer than the time for it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def look_up(self, order: object) -> None:
        raise self.error


async def test_a_list_too_long_for_a_lease_is_a_counted_failure(database: Database) -> None:
    outcome = await create(sent(), LongList(NoTimeLeft()), database, timedelta(seconds=25), kin=alone("default"))  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    assert "too long" in outcome.message


async def test_a_look_up_that_a_stop_interrupts_is_handed_back(database: Database) -> None:
    with pytest.raises(Stopping):
        await create(sent(), LongList(Stopping()), database, timedelta(seconds=25), kin=alone("default"))  # type: ignore[arg-type]


class Repeating:
    """A carrier that answers each creation with the order that it has of that reference."""

    def prepare(self, order: object) -> Creation:
        return Creation({})

    async def create(self, creation: Creation) -> Created:
        return Created("NR-1", None)


@pytest.mark.parametrize(
    ("near", "outcome"), [(("default", "second"), RefTaken), (("default", "third"), Created), (("default",), Created)]
)
async def test_a_number_that_a_return_of_another_account_at_the_address_has_is_not_taken_for_new(
    database: Database, migrated_url: str, near: tuple[str, ...], outcome: type
) -> None:
    async with Shop.at(migrated_url) as shop:
        await insert_tracked(shop, "1", "second")
        await insert(shop, "1")
        order = await take_one(database)
        kin = Kin(near, near)
        found = await create(order, Repeating(), database, timedelta(seconds=25), kin=kin)  # type: ignore[arg-type]
        assert isinstance(found, outcome)


async def test_a_creation_is_recorded_though_nobody_can_say_whose_its_number_is(
    database: Database, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr("worker.engine.creation.read_owners", away)
    async with Shop.at(migrated_url) as shop:
        await insert(shop, "1")
    kin = Kin(("default", "second"), ("default",))
    order = await take_one(database)
    found = await create(order, Repeating(), database, timedelta(seconds=25), kin=kin)  # type: ignore[arg-type]
    assert found == Created("NR-1", None)
