"""What a person is told that the carrier and the customer will get is what follows from the decision itself."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.cases import NOW, POLICY, SEARCHABLE, orders, pending, resting, tracking
from worker.domain.by_hand import Person, Refusal, WayOut, cancel, found, not_created, retry
from worker.domain.decision import Decision
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import action_for
from worker.domain.previewing import CHANGED, as_seen, sight_of
from worker.domain.returns import ReturnOrder
from worker.usecases.consequences import changes, consequences_of
from worker.usecases.ways import Way

ANNA = Person("anna", "asked by the customer")
LATER = replace(POLICY, settles_after=POLICY.settles_after * 0)
WAYS: dict[Way, WayOut] = {
    Way.RETRY: retry,
    Way.CANCEL: cancel,
    Way.FOUND: found("9RET77"),
    Way.NOT_CREATED: not_created,
}
CARRIERS = {"izipack": LATER, "returnpilot": replace(SEARCHABLE, settles_after=LATER.settles_after)}
IN_DOUBT = resting(State.NEEDS_ATTENTION, error_code=ErrorCode.CREATE_OUTCOME_UNKNOWN, create_started_at=NOW)

TABLE = {
    "a label is sought again": (Way.RETRY, tracking(label_error_code="worker_crashed"), "izipack", "for the label."),
    "followed again": (
        Way.RETRY,
        tracking(state=State.NEEDS_ATTENTION, error_code=ErrorCode.CARRIER_LOST_IT),
        "izipack",
        "asked where the return is and for the label",
    ),
    "created": (Way.RETRY, resting(State.REJECTED), "izipack", "There will be a label"),
    "created, with a mail": (Way.RETRY, resting(State.REJECTED), "returnpilot", "mails the customer a link"),
    "adopted": (Way.RETRY, resting(State.REJECTED, adopt_carrier_ref="9RET8"), "izipack", "asked about 9RET8."),
    "looked up": (Way.RETRY, IN_DOUBT, "returnpilot", "list is searched"),
    "found": (Way.FOUND, IN_DOUBT, "izipack", "asked about 9RET77: its status and its label. Nothing is created."),
    "not there": (Way.NOT_CREATED, IN_DOUBT, "izipack", "If the first creation is there after all"),
    "withdrawn before it was looked for": (
        Way.NOT_CREATED,
        IN_DOUBT._replace(cancel_requested_at=NOW),
        "izipack",
        "told nothing, since it does not have the return",
    ),
    "withdrawn there": (Way.CANCEL, tracking(), "returnpilot", "told to delete"),
    "not withdrawn there": (Way.CANCEL, tracking(), "izipack", "is not told: it may still expect the parcel"),
    "never sent": (Way.CANCEL, pending(), "izipack", "told nothing, since it does not have the return"),
    "in doubt and withdrawn": (Way.CANCEL, IN_DOUBT, "izipack", "Look for it there"),
    "in doubt, looked up and withdrawn": (Way.CANCEL, IN_DOUBT, "returnpilot", "asked first whether it has"),
}


@pytest.mark.parametrize(("way", "order", "carrier", "said"), TABLE.values(), ids=TABLE)
def test_what_the_carrier_and_the_customer_get_is_said(way: Way, order: ReturnOrder, carrier: str, said: str) -> None:
    made = WAYS[way](order, ANNA, NOW, CARRIERS[carrier])
    assert isinstance(made, Decision)
    told = consequences_of(way, order, made.order, carrier)
    assert said in f"{told.carrier} {told.customer}"


@given(orders(), st.sampled_from(list(WAYS)), st.sampled_from(list(CARRIERS)))
def test_a_creation_is_foretold_where_one_may_follow_and_nowhere_else(
    order: ReturnOrder, way: Way, carrier: str
) -> None:
    made = WAYS[way](order, ANNA, NOW, CARRIERS[carrier])
    if isinstance(made, Refusal):
        return
    after, told = made.order, consequences_of(way, order, made.order, carrier)
    recorded = after._replace(retry_requested_at=None, doubtful_since=None)
    next_one = action_for(recorded, can_cancel=carrier == "returnpilot")
    may_create = next_one is Step.CREATE and after.to_adopt is None and after.cancel_requested_at is None
    assert ("asked to create" in told.carrier or "to create it once more" in told.carrier) == may_create
    assert changes(order, after)[0].what == "state"


@given(orders(), st.sampled_from(list(WAYS)))
def test_a_decision_is_made_as_it_was_shown_or_not_at_all(order: ReturnOrder, way: Way) -> None:
    sight = sight_of(order, WAYS[way](order, Person(""), NOW, LATER))
    polled = order._replace(lease_token=order.lease_token + 1, unchanged_polls=7, track_due_at=NOW, claims=0)
    decide = as_seen(WAYS[way], sight)
    assert decide(polled, ANNA, NOW, LATER) == WAYS[way](polled, ANNA, NOW, LATER)
    for changed in (order._replace(shop_changes=order.shop_changes + 1), order._replace(error_message="another")):
        assert decide(changed, ANNA, NOW, LATER) is CHANGED
