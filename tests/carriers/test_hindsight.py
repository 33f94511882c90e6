"""A request is counted by what its answer was worth, also where that shows only after it was read."""

import httpx

from tests.carriers.pilot import document, piloting
from worker.carriers.hindsight import hindsight, no_sense

WELL, DOWN = {"data": document()}, httpx.Response(500)


async def test_an_answer_that_is_found_to_have_no_sense_is_counted_so_and_once() -> None:
    async with piloting(WELL) as pilot:
        with hindsight():
            await pilot.track()
            await pilot.track()
            assert pilot.observed == [("track", "ok")]  # the first; of the second nobody knows yet
            no_sense()
            no_sense()
            assert pilot.observed == [("track", "ok"), ("track", "unintelligible")]
            await pilot.track()
        assert pilot.observed[2:] == [("track", "ok")]


async def test_what_ended_badly_is_counted_at_once_and_stays_what_it_was() -> None:
    async with piloting(WELL, DOWN) as pilot:
        with hindsight():
            await pilot.track()
            await pilot.failure("track")
            no_sense()
        assert pilot.observed == [("track", "ok"), ("track", "server_error")]


async def test_elsewhere_a_request_is_counted_at_once() -> None:
    async with piloting(WELL) as pilot:
        await pilot.track()
        no_sense()
        assert pilot.observed == [("track", "ok")]
