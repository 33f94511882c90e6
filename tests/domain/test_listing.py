"""The way through a carrier's list: it ends, costs little more than it brings, and finds what is there."""

from collections.abc import Callable, Sequence
from itertools import count
from math import ceil, log2

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.domain.listing import ALLOWANCE, Places, Walk

PAGE = 50
MOST_SPOTS = 1000

numbers = st.one_of(
    st.sets(st.integers(1, 10**19), max_size=60),
    st.integers(0, 4000).map(lambda most: set(range(1, most + 1))),
    st.builds(lambda most, step: set(range(7, 7 + most * step, step)), st.integers(0, 2000), st.integers(2, 1000)),
    st.builds(lambda most, power: {n**power + n for n in range(1, most)}, st.integers(2, 1500), st.integers(1, 4)),
)


def walked(
    due: set[int],
    orders: list[int],
    places: Places | None = None,
    before_page: Callable[[list[int]], None] = lambda orders: None,
) -> tuple[Walk, list[int], set[int]]:
    """A walk through a list that falls; the pages it read and the due returns that they showed."""
    walk, pages, seen = Walk(due, places or Places()), [], set[int]()
    while (page := walk.next_page()) is not None:
        before_page(orders)
        pages.append(page)
        shown = orders[(page - 1) * PAGE : page * PAGE]
        found = due.intersection(shown) - seen
        seen |= found
        walk.saw(page, shown, is_last=page * PAGE >= len(orders), found=len(found))
        assert len(pages) <= 10_000, "it does not end"
    return walk, pages, seen


def falling(numbers: set[int]) -> list[int]:
    return sorted(numbers, reverse=True)


def some(numbers: set[int], part: float, seed: int) -> set[int]:
    return {number for number in numbers if (number * 2654435761 + seed) % 1000 < part * 1000}


@given(numbers, st.floats(0, 1), st.integers(0, 999), st.sets(st.integers(1, 10**19), max_size=20))
@settings(max_examples=100, deadline=None)
def test_whatever_stands_where_a_walk_ends_and_costs_little_more_than_single_questions(
    there: set[int], part: float, seed: int, gone: set[int]
) -> None:
    due = some(there, part, seed) | gone
    walk, pages, seen = walked(due, falling(there))
    assert len(pages) == len(set(pages)) == walk.pages
    assert walk.pages <= walk.found + ALLOWANCE
    assert walk.pages + len(due - seen) <= len(due) + ALLOWANCE
    assert walk.unseen <= gone - there  # of what is there it says of none that it is not


@given(
    numbers,
    st.floats(0, 1),
    st.integers(0, 999),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1),
)
@settings(max_examples=100, deadline=None)
def test_a_list_that_shifts_under_it_makes_no_walk_endless(
    there: set[int], part: float, seed: int, shifts: list[tuple[int, int]]
) -> None:
    turns, newest = count(), count(10**20)

    def shift(orders: list[int]) -> None:
        come, gone = shifts[next(turns) % len(shifts)]
        orders[0:0] = sorted((next(newest) for _ in range(come)), reverse=True)
        del orders[come : come + gone]

    due = some(there, part, seed)
    walk, pages, seen = walked(due, falling(there), before_page=shift)
    assert len(pages) == len(set(pages))
    assert walk.pages <= walk.found + ALLOWANCE
    assert walk.pages + len(due - seen) <= len(due) + ALLOWANCE


@given(st.integers(1, 60), st.integers(0, 200), st.integers(0, 49), st.sampled_from([1, 2, 7, 1000]))
@example(10, 9, 0, 1)
@settings(max_examples=100, deadline=None)
def test_what_was_made_together_is_found_together_wherever_it_stands(
    pages_of_them: int, pages_before: int, shifted: int, step: int
) -> None:
    """One on a page of its own, where they begin or end, may be left out: asking for it alone costs as much."""
    there = set(range(step, step * PAGE * (pages_before + pages_of_them + 20), step))
    orders = falling(there)
    first = pages_before * PAGE + shifted
    due = set(orders[first : first + pages_of_them * PAGE])
    walk, _, seen = walked(due, orders)
    assert walk.unseen == set()
    # They may begin and end in the middle of a page; the first page of all; and an estimate that was wrong.
    assert walk.pages + len(due - seen) <= pages_of_them + 1 + 1 + 1


@given(numbers.filter(lambda there: len(there) >= 200), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_however_numbers_are_spread_a_place_is_found_in_few_requests(there: set[int], where: int) -> None:
    orders = falling(there)
    first = len(orders) * where // 1000 // 2
    due = set(orders[first : first + 100])
    walk, _, seen = walked(due, orders)
    assert len(due - seen) <= 2 or walk.pages >= ALLOWANCE
    assert walk.pages <= 3 + 3 + 2 * log2(ceil(len(orders) / PAGE) + 1)


@given(st.integers(20, 200), st.integers(11, 40), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_what_is_spread_thinly_is_left_to_single_questions(pages: int, few: int, seed: int) -> None:
    orders = falling(set(range(1, pages * PAGE + 1)))
    gap = len(orders) // few
    due = {orders[seed % gap + gap * index] for index in range(few)}
    walk, _, seen = walked(due, orders)
    assert walk.pages + len(due - seen) <= len(due) + 3


def test_numbers_that_all_of_a_carriers_shops_share_are_found_all_the_same() -> None:
    """By night few of them are others', by day most; what one walk learned the next one uses."""
    numbers = [1]
    while len(numbers) < 20_000:
        numbers.append(numbers[-1] + 1 + (numbers[-1] * 7919 % 97) * (1, 10, 100)[len(numbers) // 150 % 3] // 50)
    orders, places = numbers[::-1], Places()
    block = set(orders[12_000:12_040])
    walk, _, seen = walked(block, orders, places)
    assert (seen, walk.pages <= 2 + ALLOWANCE) == (block, True)
    assert walked(block, orders, places)[0].pages <= 2


def test_what_was_read_before_saves_the_search() -> None:
    places, orders = Places(), falling(set(range(1, 10_001)))
    walked(set(orders[100:5000]), orders, places)
    block = set(orders[4000:4500])
    assert walked(block, list(orders), places)[0].pages == 10
    moved = [*range(10_400, 10_000, -1), *orders]
    assert walked(block, moved, places)[0].pages <= 12
    assert walked(block, moved, places)[0].pages == 10


def test_thin_ones_cost_no_page_once_the_list_is_known() -> None:
    places, orders = Places(), falling(set(range(1, 10_001)))
    walked(set(orders), orders, places)
    walk, _, _ = walked(set(orders[::400]), orders, places)
    assert walk.pages == 0


@pytest.mark.parametrize(
    ("shown", "is_last"),
    [([], True), ([], False), ([5], True), ([10**18, 1], False), (list(range(1, 51)), False)],
    ids=["empty", "nothing readable", "one", "upside down", "rising"],
)
def test_a_list_that_is_none_costs_a_few_requests_and_leaves_all_to_single_questions(
    shown: Sequence[int], is_last: bool
) -> None:
    walk = Walk(range(1000, 1100), Places())
    while (page := walk.next_page()) is not None:
        walk.saw(page, shown, is_last=is_last, found=0)
    assert walk.pages <= ALLOWANCE
    assert not walk.pays


def test_places_are_bounded_however_long_a_list_is() -> None:
    places = Places()
    places.begin()
    for page in range(1, MOST_SPOTS + 100):
        places.note(page, range(10**6 - page * 50, 10**6 - page * 50 + 50))
    assert len(places._spots) == MOST_SPOTS
