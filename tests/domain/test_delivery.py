"""What follows from an endpoint's answers: when an event is sent again, and how many may be in flight."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.circuits import Circuit
from worker.domain.clocks import LONGEST_WAIT
from worker.domain.delivery import (
    Answered,
    AskedToWait,
    Delivered,
    DeliveryPolicy,
    Ending,
    Endpoint,
    EndpointHold,
    Gone,
    HoldCode,
    Try,
    Undelivered,
    after,
    judged,
    next_wait,
    wait_after,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
FAILED = Undelivered(Ending.SERVER_ERROR, "the endpoint answered 500")
POLICY = DeliveryPolicy(most_in_flight=4)
S, M, H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def middle() -> float:
    return 0.5


def test_an_event_is_sent_again_by_the_whole_schedule_until_it_is_given_up() -> None:
    at, attempts, waits = NOW, 1, list[timedelta]()
    while (wait := next_wait(attempts, NOW, at, 72 * H, 0.5)) is not None:
        waits.append(wait)
        at, attempts = at + wait, attempts + 1
    ladder = [5 * S, 5 * M, 30 * M, 2 * H, 5 * H, *[10 * H] * 6]
    assert waits == [*ladder, 72 * H - sum(ladder, timedelta(0))]  # the last try is at the end itself
    assert at == NOW + 72 * H


@pytest.mark.parametrize(("chance", "part"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_each_wait_is_taken_give_or_take_a_fifth(chance: float, part: float) -> None:
    for attempts, wait in enumerate([5 * S, 5 * M, 30 * M, 2 * H, 5 * H, 10 * H, 10 * H], 1):
        assert wait_after(attempts, chance) == wait * part


def test_no_event_is_given_up_while_the_clock_is_doubted() -> None:
    assert next_wait(9, NOW, NOW + 1000 * H, None, 0.5) == 10 * H
    old = Try(1, 9, NOW - 100 * H, FAILED)
    assert [each.id for each in judged(Endpoint(), [old], POLICY, NOW, middle).given_up] == [1]
    assert judged(Endpoint(), [old], POLICY, NOW, middle, judges_ages=False).given_up == []


def through(endpoint: Endpoint, *answers: Answered, now: datetime = NOW, probe: bool = False) -> Endpoint:
    for answered in answers:
        endpoint = after(endpoint, answered, POLICY, now, probe=probe)
    return endpoint


def test_five_failures_in_a_row_open_the_circuit_and_a_success_between_them_does_not() -> None:
    assert through(Endpoint(), *[FAILED] * 4, Delivered(), *[FAILED] * 4).allowed(NOW, 4) == 4
    opened = through(Endpoint(), *[FAILED] * 5)
    assert opened.circuit == Circuit(5, NOW + 30 * S)
    assert through(opened, *[FAILED] * 50) == opened  # those that were in flight say nothing new
    assert opened.allowed(NOW, 4) == 0


def test_an_outage_ends_by_one_probe_and_begins_with_one_in_flight() -> None:
    opened = through(Endpoint(), *[FAILED] * 5)
    later = NOW + 31 * S
    assert opened.allowed(later, 4) == 1
    again = through(opened, FAILED, now=later, probe=True)
    assert again.circuit.open_until == later + M and again.allowed(later, 4) == 0
    allowed = []
    well = again
    for _ in range(4):
        well = through(well, Delivered(), now=later, probe=well.circuit != Circuit())
        allowed.append(well.allowed(later, 4))
    assert allowed == [2, 3, 4, 4] and well == Endpoint()


def test_an_endpoint_that_is_dead_for_an_hour_costs_probes_only() -> None:
    endpoint, now, tries = Endpoint(), NOW, 0
    while now < NOW + H:
        probe = not endpoint.circuit.is_closed
        for _ in range(endpoint.allowed(now, 100)):
            tries += 1
            endpoint = after(endpoint, FAILED, POLICY, now, probe=probe)
        now += S
    assert tries == 100 + 7  # those that were in flight when it died, then after 30 s, 1, 2, 4, 8, 15, 15 minutes


def test_429_rests_the_endpoint_for_as_long_as_it_asks_and_no_longer_than_an_hour() -> None:
    for asked, rest in [(None, M), (7 * S, 7 * S), (timedelta(0), S), (9999 * H, LONGEST_WAIT)]:
        verdict = judged(Endpoint(), [Try(1, 2, NOW, AskedToWait(asked, "wait"))], POLICY, NOW, middle)
        assert verdict.endpoint.hold == EndpointHold(NOW + rest, HoldCode.ASKED_TO_WAIT, "wait")
        assert [(each.attempts, each.wait) for each in verdict.again] == [(2, rest)]  # it is no failure of the event's
        assert verdict.endpoint.allowed(NOW, 4) == 0 and verdict.endpoint.allowed(NOW + rest, 4) == 1


def test_410_stops_the_endpoint_until_a_person_releases_it_and_keeps_the_event() -> None:
    verdict = judged(Endpoint(), [Try(1, 0, None, Gone())], POLICY, NOW, middle)
    assert verdict.endpoint.hold is not None and verdict.endpoint.hold.until is None
    assert verdict.endpoint.allowed(NOW + 9999 * H, 4) == 0
    assert [each.id for each in verdict.again] == [1] and not verdict.given_up


def test_what_a_person_holds_no_answer_changes() -> None:
    held = Endpoint(hold=EndpointHold(None, "held_by_person", "moving"))
    assert through(held, Gone(), AskedToWait(S, "wait")).hold == held.hold
    over = Endpoint(hold=EndpointHold(NOW - S, HoldCode.ASKED_TO_WAIT, "wait"))
    assert through(over, Gone()).hold == EndpointHold(None, HoldCode.GONE, Gone().message)


def test_only_what_was_sent_counts_as_a_try() -> None:
    ours = Undelivered(Ending.NOT_SENT, "its secret cannot be read")
    [again] = judged(Endpoint(), [Try(1, 0, None, ours)], POLICY, NOW, middle).again
    assert (again.attempts, again.was_sent) == (0, False)
