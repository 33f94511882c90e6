"""The circuits of an account as tables: what opens one, who may try, what closes it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.cases import LABEL, NOW, labelling, pending, sent, tracking
from worker.domain.circuits import Breaker, Circuit, Health, admitted, after, is_tried, probed
from worker.domain.lifecycle import Step
from worker.domain.outcomes import (
    Absent,
    Created,
    Failed,
    FailureKind,
    Interrupted,
    Invalid,
    LabelReady,
    LabelTrouble,
    NotCancelled,
    Outcome,
    RefTaken,
    Tracked,
    Withdrawn,
)
from worker.domain.ramp import Ramp
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

K, SECOND, MINUTE = FailureKind, timedelta(seconds=1), timedelta(minutes=1)
BREAKER = Breaker()
FULL = Ramp(64, NOW - MINUTE, NOW)
"""As many creations as there are places for."""
SOUND, DOWN = Health(ramp=FULL), Failed(FailureKind.SERVER_ERROR, "500")
LOST = Failed(FailureKind.OUTCOME_UNKNOWN, "cut")
SEEN = Tracked(TrackingUpdate(TrackingStatus.IN_TRANSIT, "InTransit"))
OPEN = Health(Circuit(5, NOW + 30 * SECOND), ramp=FULL)
HALF = Health(Circuit(5, NOW), ramp=FULL)


POLL, MADE = tracking(), Created("9RET2", None)


def heard(
    health: Health, *outcomes: Outcome | None, order: ReturnOrder = POLL, probe: bool = False, at: int = 0
) -> Health:
    for outcome in outcomes:
        health = after(health, order, outcome, BREAKER, NOW + at * SECOND, probe=probe)
    return health


def test_five_failures_in_a_row_open_it_and_one_answer_in_between_begins_anew() -> None:
    assert heard(SOUND, *[DOWN] * 4) == Health(Circuit(4), ramp=FULL)
    assert heard(SOUND, *[DOWN] * 4, SEEN, *[DOWN] * 4) == Health(Circuit(4), ramp=FULL)
    assert heard(SOUND, *[DOWN] * 5) == OPEN
    assert OPEN.account.is_open(NOW) and not OPEN.account.is_open(NOW + 30 * SECOND)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_what_says_that_the_carrier_is_sick_counts_and_what_it_answers_well_resets(kind: FailureKind) -> None:
    sick = {K.NETWORK, K.TIMEOUT, K.SERVER_ERROR}
    # Two hold the account by themselves, one is a lost creation, and one the trouble of a single return.
    unheard = {K.THROTTLED, K.UNAUTHORIZED, K.OUTCOME_UNKNOWN, K.UNINTELLIGIBLE}
    expected = 4 if kind in sick else 3 if kind in unheard else 0
    assert heard(Health(Circuit(3), ramp=FULL), Failed(kind, "?")).account.failures == expected
    if kind is not K.OUTCOME_UNKNOWN:
        assert heard(Health(Circuit(3), ramp=FULL), NotCancelled(Failed(kind, "?"))).account.failures == expected


NONSENSE = Failed(K.UNINTELLIGIBLE, "the status is no word")


@pytest.mark.parametrize("order", [tracking(), labelling()], ids=["poll", "label"])
def test_answers_without_sense_about_returns_keep_nothing_from_the_carrier(order: ReturnOrder) -> None:
    """A carrier that answers is not down, and a creation has nothing to do with what it says of other returns."""
    assert heard(SOUND, *[NONSENSE] * 99, order=order) == SOUND
    assert heard(Health(Circuit(4), Circuit(4), FULL), NONSENSE, order=order) == Health(Circuit(4), Circuit(4), FULL)


def test_one_that_was_a_probe_is_no_sign_either_way() -> None:
    after_probe = heard(HALF, NONSENSE, probe=True)
    assert (after_probe.account.failures, after_probe.account.is_open(NOW)) == (5, False)


def test_a_list_without_sense_counts_as_it_is_the_carriers_and_not_one_returns() -> None:
    assert heard(SOUND, NONSENSE, order=sent()).account.failures == 1


@pytest.mark.parametrize(
    "outcome", [None, Invalid(("x",)), Interrupted(), Withdrawn("never sent"), LabelTrouble("label_unusable", "?")]
)
def test_what_says_nothing_of_the_carrier_changes_nothing(outcome: Outcome | None) -> None:
    assert heard(Health(Circuit(3), ramp=FULL), outcome) == Health(Circuit(3), ramp=FULL)
    assert heard(OPEN, outcome) == OPEN


@pytest.mark.parametrize(
    ("order", "outcome"),
    [(tracking(), SEEN), (labelling(), LabelReady(LABEL)), (pending(), Created("9RET2", None)), (sent(), Absent())],
)
def test_a_success_closes_it_whenever_it_comes(order: ReturnOrder, outcome: Outcome) -> None:
    assert heard(replace(OPEN, creations=Circuit(2)), outcome, order=order).account == Circuit()


def test_one_bad_return_that_fails_again_and_again_opens_nothing() -> None:
    for bad in (tracking(failing_since=NOW), tracking(attempts=1), labelling(label_attempts=1)):
        assert heard(SOUND, *[DOWN] * 99, order=bad) == SOUND
    assert heard(SOUND, *[DOWN] * 5, order=labelling(attempts=3)).account.is_open(NOW)


def test_what_began_before_it_opened_says_nothing_new() -> None:
    assert heard(OPEN, *[DOWN] * 9, at=10) == OPEN


@pytest.mark.parametrize(("failures", "seconds"), [(5, 60), (6, 120), (8, 480), (9, 900), (500, 900)])
def test_each_probe_that_fails_doubles_the_wait_up_to_its_cap(failures: int, seconds: int) -> None:
    assert heard(Health(Circuit(failures, NOW)), DOWN, probe=True) == Health(
        Circuit(failures + 1, NOW + seconds * SECOND)
    )


def test_a_probe_is_nobody_else_s_until_it_fails_or_comes_to_nothing_or_is_forgotten() -> None:
    assert not is_tried(HALF, Step.TRACK, NOW)
    tried = probed(HALF, Step.TRACK, NOW + 90 * SECOND)
    assert is_tried(tried, Step.TRACK, NOW + 89 * SECOND) and not is_tried(tried, Step.TRACK, NOW + 90 * SECOND)
    assert not is_tried(heard(tried, None, probe=True, at=3), Step.TRACK, NOW + 3 * SECOND)
    assert heard(tried, SEEN, probe=True) == SOUND
    assert heard(tried, DOWN, probe=True).account.open_until == NOW + MINUTE


DUE = {Step.CREATE: 3, Step.LABEL: 2, Step.TRACK: 9}


@pytest.mark.parametrize(
    ("health", "due", "taken", "probe"),
    [
        (SOUND, DUE, DUE, None),
        (Health(Circuit(4), Circuit(4), ramp=FULL), DUE, DUE, None),
        (OPEN, DUE, {}, None),
        (HALF, DUE, {Step.TRACK: 1}, Step.TRACK),
        (HALF, {Step.CREATE: 3, Step.TRACK: 0}, {Step.CREATE: 1}, Step.CREATE),
        (HALF, {}, {}, None),
        (Health(creations=OPEN.account, ramp=FULL), DUE, {**DUE, Step.CREATE: 0}, None),
        (Health(creations=HALF.account, ramp=FULL), DUE, {**DUE, Step.CREATE: 1}, Step.CREATE),
        (Health(creations=HALF.account, ramp=FULL), {Step.TRACK: 4}, {Step.TRACK: 4}, None),
        (Health(HALF.account, OPEN.account, FULL), {Step.CREATE: 3}, {}, None),
        (Health(HALF.account, OPEN.account, FULL), DUE, {Step.TRACK: 1}, Step.TRACK),
        (Health(Circuit(7, NOW), ramp=FULL), DUE, {Step.CREATE: 1}, Step.CREATE),
        (Health(Circuit(7, NOW), OPEN.account, FULL), DUE, {Step.LABEL: 1}, Step.LABEL),
    ],
)
def test_an_open_circuit_lets_nothing_through_and_a_half_open_one_a_single_call(
    health: Health, due: dict[Step, int], taken: dict[Step, int], probe: Step | None
) -> None:
    assert admitted(health, due, NOW) == (taken, probe)


def test_a_step_that_came_to_nothing_is_tried_after_the_others() -> None:
    assert admitted(HALF, DUE, NOW, Step.TRACK) == ({Step.LABEL: 1}, Step.LABEL)
    assert admitted(HALF, {Step.TRACK: 9}, NOW, Step.TRACK) == ({Step.TRACK: 1}, Step.TRACK)


def test_creations_have_a_circuit_of_their_own_which_polls_do_not_close() -> None:
    assert heard(SOUND, *[LOST] * 5, order=pending()).account == Circuit()
    assert heard(HALF, LOST, order=pending(), probe=True).account == Circuit(6, NOW + MINUTE)
    health = SOUND
    for _ in range(2):
        health = heard(heard(health, LOST, order=pending()), SEEN)
    assert health == Health(creations=Circuit(5, NOW + 30 * SECOND), ramp=Ramp(1, NOW))
    assert heard(health, MADE, order=pending()).creations == Circuit()


def test_a_creation_lost_at_full_speed_leaves_one_in_flight_and_another_one_lost_then_opens_the_circuit() -> None:
    once = heard(SOUND, LOST, order=pending())
    assert once == Health(creations=Circuit(1), ramp=Ramp(1, NOW))
    assert heard(once, LOST, order=pending()).creations == Circuit(5, NOW + 30 * SECOND)
    assert heard(once, MADE, order=pending()) == Health(ramp=Ramp(2, NOW, NOW))
    assert heard(Health(), LOST, order=pending()).creations == Circuit(5, NOW + 30 * SECOND)


def test_a_carrier_that_answers_with_a_number_given_before_is_as_bad_as_one_that_loses_creations() -> None:
    assert heard(SOUND, RefTaken("9RET1"), order=pending()) == Health(creations=Circuit(1), ramp=Ramp(1, NOW))
    assert heard(SOUND, RefTaken("9RET1"), order=sent()) == SOUND  # found by a look-up


def test_a_wrong_address_opens_no_circuit_since_nothing_is_sent_there_and_look_ups_go_on() -> None:
    wrong = Failed(K.OUTCOME_UNKNOWN, "404", wrong_address=True)
    assert heard(SOUND, *[wrong] * 9, order=pending()) == Health(ramp=Ramp(1, NOW))
    half = Health(creations=Circuit(5, NOW), ramp=FULL)
    tried = probed(half, Step.CREATE, NOW + MINUTE)
    assert heard(tried, wrong, order=pending(), probe=True) == Health(creations=Circuit(5, NOW), ramp=Ramp(1, NOW))


@pytest.mark.parametrize("kind", [K.NETWORK, K.SERVER_ERROR, K.TIMEOUT])
def test_a_creation_that_fails_otherwise_leaves_one_in_flight_too_and_a_poll_does_not(kind: FailureKind) -> None:
    assert heard(SOUND, Failed(kind, "?"), order=pending()).ramp == Ramp(1, NOW)
    assert heard(SOUND, Failed(kind, "?")).ramp == FULL
    assert heard(SOUND, Failed(kind, "?"), order=sent()).ramp == FULL  # a look-up


@pytest.mark.parametrize("found", [Absent(), Created("9RET2", None, adopted=True)])
def test_a_look_up_that_is_answered_does_not_let_creations_through_again(found: Outcome) -> None:
    lost = Health(creations=Circuit(6, NOW + MINUTE))
    assert heard(replace(lost, account=Circuit(3)), found, order=sent()) == lost
    tried = probed(lost, Step.CREATE, NOW + 90 * SECOND)
    assert heard(tried, found, order=sent(), probe=True) == Health(creations=Circuit(6, NOW))
    assert heard(SOUND, found, order=sent()).ramp == FULL


def test_a_probe_that_fails_closes_nothing_whoever_opened_it() -> None:
    assert Breaker(failures=10).failed(HALF.account, NOW, probe=True) == Circuit(6, NOW + 30 * SECOND)


def test_a_circuit_can_be_switched_off() -> None:
    assert Breaker(failures=0).failed(Circuit(), NOW, probe=False) == Circuit()


@given(st.lists(st.tuples(st.sampled_from([DOWN, SEEN, None]), st.booleans(), st.integers(0, 10**6)), max_size=40))
def test_it_is_never_open_longer_than_its_cap(steps: list[tuple[Outcome | None, bool, int]]) -> None:
    health, now = SOUND, NOW
    for outcome, probe, pause in steps:
        now += timedelta(milliseconds=pause)
        health = after(health, tracking(), outcome, BREAKER, now, probe=probe)
        until = health.account.open_until
        assert until is None or until <= now + BREAKER.cap
        assert health.creations == Circuit()
