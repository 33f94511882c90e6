"""At a carrier that lists: what many open returns cost over a month, beside what they would cost one by one.

The short form is part of every run; `pytest -m long tests/cadence/test_sweeps.py` prints the table of
docs/operate/cadence.md.
"""

import pytest

from tests.cadence.clock import DAY, HOUR
from tests.cadence.ledger import shown
from tests.cadence.sweeping import Shop, coming_and_going, open_for_long

A_FEW_REQUESTS = 60.0  # seconds; what has become due takes its turn


def say(capsys: pytest.CaptureFixture[str], what: str, together: Shop, alone: Shop) -> float:
    """A line for docs/operate/cadence.md; returns which part of the single polls' cost was spent."""
    part, late = together.requests / alone.requests, max(together.late)
    with capsys.disabled():
        print(
            f"\n{what}: {together.pages} pages + {together.singles} single polls, {100 * part:.1f} % of"
            f" {alone.requests} single polls; worst look {shown(late)} after the ladder and a tenth"
        )
    return part


@pytest.mark.parametrize(
    ("returns", "days", "within", "beside"),
    [
        (400, 6, 60, 0),
        pytest.param(3000, 30, 30, 0, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
        pytest.param(3000, 30, 30, 1, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_open_returns_cost_at_most_a_tenth_of_single_polls_and_none_is_later_than_its_ladder_and_a_tenth(
    returns: int, days: int, within: int, beside: int, capsys: pytest.CaptureFixture[str]
) -> None:
    together, alone = Shop(lists=True), Shop(lists=False)
    for shop in (together, alone):
        open_for_long(shop, returns, within, beside=beside)
        shop.run(days * DAY)
    part = say(capsys, f"{returns} open for {days} days, {beside} other orders beside each", together, alone)
    assert part <= 0.1
    assert together.overdue <= 0
    assert max(together.late) <= A_FEW_REQUESTS


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_returns_that_come_and_go_cost_less_than_a_fifth_and_none_is_late(capsys: pytest.CaptureFixture[str]) -> None:
    """Each change of status has its own ladder, at its own time, and no page shows many of those at once."""
    together, alone = Shop(lists=True, counting_from=15 * DAY), Shop(lists=False, counting_from=15 * DAY)
    for shop in (together, alone):
        coming_and_going(shop, 273, 30)
    assert say(capsys, "273 created a day, 3 statuses in 11 days, 15 days", together, alone) <= 0.2
    assert together.overdue <= 0
    assert max(together.late) <= A_FEW_REQUESTS


def test_returns_that_were_polled_at_all_times_of_the_day_are_polled_together_before_the_day_is_over() -> None:
    shop = Shop(lists=True)
    open_for_long(shop, 500, 10_000, beside=0)
    shop.run(DAY)
    begun = shop.requests
    shop.run(DAY + 13 * HOUR)  # two waits, give or take
    assert shop.requests - begun <= 2 * 10 + 5
