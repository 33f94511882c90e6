"""What follows from the label codes that a status names."""

import pytest

from tests.domain.cases import NOW, POLICY, tracking
from worker.domain.decide import decide
from worker.domain.decision import Decision
from worker.domain.outcomes import Tracked
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

OWN = (PackageInfo(1, "7RET1", "one"), PackageInfo(2, "7RET2", "two"))


def seen(*codes: str) -> Tracked:
    return Tracked(TrackingUpdate(TrackingStatus.PRE_TRANSIT, "Created"), codes=tuple(enumerate(codes, start=1)))


def after(order: ReturnOrder, answer: Tracked) -> Decision:
    return decide(order, answer, NOW, POLICY, 0.5)


@pytest.mark.parametrize(
    "codes", [(), ("7RET1",), ("7RET1", "7RET2"), ("7RET2", "7RET1"), ("7ret1 ", "7RET 2")], ids=repr
)
def test_a_returns_own_codes_are_no_news_in_any_order_or_spelling(codes: tuple[str, ...]) -> None:
    decision = after(tracking(packages=OWN), seen(*codes))
    assert (decision.packages, decision.unknown_codes) == ((), ())


def test_codes_that_no_creation_brought_are_kept_once_as_their_packages_tracking_numbers() -> None:
    order, answer = tracking(packages=OWN), seen("7RET1", "7IZPB", "7IZPC")
    decision = after(order, answer)
    assert decision.packages == (
        PackageInfo(2, "7RET2", "two", tracking_number="7IZPB"),
        PackageInfo(3, tracking_number="7IZPC"),
    )
    assert decision.unknown_codes == ("7IZPB", "7IZPC")
    again = after(order._replace(packages=(OWN[0], *decision.packages)), answer)
    assert (again.packages, again.unknown_codes) == ((), ())


def test_codes_change_neither_where_a_return_is_nor_when_it_is_asked_about_next() -> None:
    order = tracking(packages=OWN)
    with_codes, without = after(order, seen("7IZPA")), after(order, seen())
    assert (with_codes.order, with_codes.outcome, with_codes.transitions) == (
        without.order,
        without.outcome,
        without.transitions,
    )
