"""A look-up that cannot be finished is a failure that is counted, and never begins anew for ever."""

import pytest

from tests.domain.cases import sent
from worker.carriers.port import NoTimeLeft, Stopping
from worker.domain.outcomes import Failed
from worker.steps.create import create
from worker.store.database import Database


class LongList:
    """A carrier whose list is longer than the time for it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def look_up(self, order: object) -> None:
        raise self.error


async def test_a_list_too_long_for_a_lease_is_a_counted_failure(database: Database) -> None:
    from datetime import timedelta

    outcome = await create(sent(), LongList(NoTimeLeft()), database, timedelta(seconds=25))  # type: ignore[arg-type]
    assert isinstance(outcome, Failed)
    assert "too long" in outcome.message


async def test_a_look_up_that_a_stop_interrupts_is_handed_back(database: Database) -> None:
    from datetime import timedelta

    with pytest.raises(Stopping):
        await create(sent(), LongList(Stopping()), database, timedelta(seconds=25))  # type: ignore[arg-type]
