"""A carrier's words: compared leniently, never guessed."""

import pytest

from worker.domain.tracking import StatusMap, TrackingStatus

MAP = StatusMap({"Created": TrackingStatus.PRE_TRANSIT, "In transit": TrackingStatus.IN_TRANSIT})


@pytest.mark.parametrize(
    "word", ["InTransit", "in_transit", "IN-TRANSIT", "in transit", " In Transit ", "i_n-t r_a-nsit", "INTRANSIT"]
)
def test_case_and_separators_do_not_matter(word: str) -> None:
    assert MAP.read(word) is TrackingStatus.IN_TRANSIT


@pytest.mark.parametrize("word", ["", "Delivered", "Creat", "Created2", "\x00", "Crëated", "In transït", "1"])
def test_a_word_that_nobody_mapped_is_unknown(word: str) -> None:
    assert MAP.read(word) is TrackingStatus.UNKNOWN


def test_a_shops_words_add_to_and_override_the_built_in_ones_and_leave_those_alone() -> None:
    mine = MAP.overridden_by({"CREATED": TrackingStatus.IN_TRANSIT, "Bezorgd": TrackingStatus.DELIVERED})
    assert mine.read("created") is TrackingStatus.IN_TRANSIT
    assert mine.read("bezorgd") is TrackingStatus.DELIVERED
    assert mine.read("InTransit") is TrackingStatus.IN_TRANSIT
    assert MAP.read("created") is TrackingStatus.PRE_TRANSIT
    assert MAP.read("bezorgd") is TrackingStatus.UNKNOWN


@pytest.mark.parametrize("status", TrackingStatus)
def test_a_map_knows_whether_any_word_ends_the_polling(status: TrackingStatus) -> None:
    assert not MAP.has_terminal
    assert MAP.overridden_by({"x": status}).has_terminal is status.is_terminal


def test_exactly_four_statuses_are_terminal() -> None:
    assert {status for status in TrackingStatus if status.is_terminal} == {
        "delivered",
        "failed",
        "cancelled",
        "expired",
    }
