"""No thundering herd: after an outage, after a restart, and after a shop inserted all it has at once.

A small one of each is part of every run: an outage with a limit, a transaction without one. The other small ones, and
those of 100,000 returns, are `pytest -m long tests/cadence`.
"""

import random
from itertools import count

import pytest

from tests.cadence.carrier import without_end
from tests.cadence.clock import DAY, HOUR, moment
from tests.cadence.ledger import Ledger, between, busiest, shown
from tests.cadence.simulation import SLOWEST, TICK, Account, Simulation
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import Tracked
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.from_settings import policy_of
from worker.settings import AccountSettings, Settings

OUTAGE = 6 * HOUR
POLICY = policy_of(Settings(accounts={"default": AccountSettings()}), "default")
MINUTES = DAY / 60
_numbers = count(1)


def followed(simulation: Simulation, account: Account, due: float, unchanged: int, step: Step = Step.TRACK) -> None:
    """A parcel on its way that has been asked about so often in vain, due again then."""
    journey, number = without_end(), next(_numbers)
    said: Tracked = journey.legs[0][1]
    journey.word, journey.same = said.update.carrier_status, unchanged
    order = ReturnOrder(
        id=number,
        account=account.name,
        reference=f"R-{number}",
        state=State.TRACKING,
        next_step=step,
        due_at=moment(due),
        track_due_at=moment(due if step is Step.TRACK else due + HOUR),
        label_due_at=moment(due) if step is Step.LABEL else None,
        tracking_status=TrackingStatus.IN_TRANSIT,
        carrier_status=said.update.carrier_status,
        carrier_ref=f"9RET{number}",
        followed_since=moment(0),
        unchanged_polls=unchanged,
    )
    simulation.insert(account, order, journey)


def inserted(simulation: Simulation, account: Account, at: float) -> None:
    """A return that is still to be created."""
    number = next(_numbers)
    order = ReturnOrder(
        id=number, account=account.name, reference=f"R-{number}", due_at=moment(at), created_at=moment(at)
    )
    simulation.insert(account, order, without_end())


def after_an_outage(returns: int, rate: int, places: int = 8) -> tuple[Simulation, Ledger, float]:
    """What a worker does that finds six hours' polls due; and when the last of them was made."""
    account = Account("default", POLICY, rate, places)
    simulation, chance = Simulation([account], seed=1, begin=OUTAGE), random.Random(1)
    for index in range(returns):
        followed(simulation, account, OUTAGE * index / returns, chance.randint(0, 30))
    simulation.run(OUTAGE)
    while len(account.ledger.sent_at) < returns:
        simulation.run(simulation.now + 60)
    # Those that were due are the first to be asked about: what becomes due again meanwhile is due later.
    drained = account.ledger.sent_at[returns - 1]
    simulation.run(drained + DAY)
    assert account.ledger.examples == []
    return simulation, account.ledger, drained


def minutes_of_the_day_after(ledger: Ledger, drained: float) -> tuple[int, float]:
    """The busiest minute of the 24 hours after, and what a minute sees on the average."""
    times = between(ledger.arrived_at, drained, drained + DAY)
    return busiest(times, 60.0), len(times) / MINUTES


def say(capsys: pytest.CaptureFixture[str], what: str, ledger: Ledger, took: float, most: int, mean: float) -> None:
    """A line for docs/operate/cadence.md, in the long forms."""
    if len(ledger.sent_at) >= 50_000:
        with capsys.disabled():
            print(
                f"\n{what}: done within {shown(took)}, busiest 60 s {ledger.busiest}, at most"
                f" {ledger.most_at_once} at once; the day after: busiest 60 s {most}, mean {mean:.0f}"
            )


LARGE = pytest.param(100_000, 1, marks=[pytest.mark.long, pytest.mark.timeout(1800)])


@pytest.mark.parametrize(("returns", "slower"), [(2_000, 50), LARGE])
def test_after_six_hours_of_outage_a_limit_holds_and_all_are_asked_about_as_soon_as_it_allows(
    returns: int, slower: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rate = 600 // slower  # three hours' work
    simulation, ledger, drained = after_an_outage(returns, rate)
    pace = simulation.accounts[0].pace
    assert pace is not None
    assert ledger.busiest <= rate
    assert drained - OUTAGE <= returns * pace.interval.total_seconds() * 1.05 + 10
    most, mean = minutes_of_the_day_after(ledger, drained)
    say(capsys, f"{returns} due after an outage, {rate}/min", ledger, drained - OUTAGE, most, mean)
    assert most <= 3 * mean


@pytest.mark.parametrize(("returns", "slower"), [pytest.param(2_000, 50, marks=pytest.mark.long), LARGE])
def test_after_six_hours_of_outage_no_more_calls_are_made_at_once_than_there_are_places(
    returns: int, slower: int, capsys: pytest.CaptureFixture[str]
) -> None:
    places = 100 // slower
    _, ledger, drained = after_an_outage(returns, 0, places)
    assert ledger.most_at_once <= 2 * places
    # As fast as the places allow; then the returns that have the longest wait lie within its jitter of each other.
    assert drained - OUTAGE <= returns * SLOWEST / (2 * places)
    most, mean = minutes_of_the_day_after(ledger, drained)
    say(capsys, f"{returns} due after an outage, no limit", ledger, drained - OUTAGE, most, mean)
    assert most <= returns / 40


@pytest.mark.parametrize("rate", [0, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize("returns", [2_000, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_what_was_inserted_in_one_transaction_is_spread_a_day_later(
    returns: int, rate: int, capsys: pytest.CaptureFixture[str]
) -> None:
    account = Account("default", POLICY, rate)
    simulation = Simulation([account], seed=1)
    for _ in range(returns):
        inserted(simulation, account, 0.0)
    simulation.run(2 * DAY)
    assert account.ledger.examples == []
    times = between(account.ledger.arrived_at, DAY, 2 * DAY)
    most, mean = busiest(times, 60.0), len(times) / MINUTES
    say(
        capsys,
        f"{returns} inserted at once, {rate or 'no limit'}",
        account.ledger,
        account.ledger.last_created,
        most,
        mean,
    )
    assert rate == 0 or account.ledger.busiest <= rate
    assert most <= returns / 50


def test_one_account_s_backlog_delays_no_other_by_more_than_a_tick() -> None:
    behind, other = Account("behind", POLICY, 60), Account("other", POLICY, 60)
    simulation, chance = Simulation([behind, other], seed=1), random.Random(1)
    for _ in range(6_000):
        followed(simulation, behind, 0.0, 9)
    for _ in range(100):
        followed(simulation, other, chance.uniform(0, HOUR), 9)
    simulation.run(HOUR)
    assert behind.shortfall(simulation.now) > HOUR / 2
    assert len(other.ledger.lateness) == 100
    alone = Account("other", POLICY, 60)
    by_itself, again = Simulation([alone], seed=1), random.Random(1)
    for _ in range(100):
        followed(by_itself, alone, again.uniform(0, HOUR), 9)
    by_itself.run(HOUR)
    for crowded, quiet in zip(sorted(other.ledger.lateness), sorted(alone.ledger.lateness), strict=True):
        assert crowded <= quiet + TICK


def test_creations_come_first_and_labels_and_polls_still_get_their_share() -> None:
    account = Account("default", POLICY, 60)
    simulation = Simulation([account], seed=1)
    for _ in range(1_500):
        inserted(simulation, account, 0.0)
        followed(simulation, account, 0.0, 9)
        followed(simulation, account, 0.0, 9, Step.LABEL)
    simulation.run(15 * 60)
    served = account.ledger.served_while_all_wait
    assert served.total() > 700
    assert served[Step.CREATE] / served.total() == pytest.approx(0.75, abs=0.06)
    assert served[Step.LABEL] / served.total() == pytest.approx(0.15, abs=0.05)
    assert served[Step.TRACK] / served.total() == pytest.approx(0.10, abs=0.05)


@pytest.mark.parametrize(("rate", "least"), [(10, 0.90), (60, 0.84), pytest.param(600, 0.82, marks=pytest.mark.long)])
def test_a_backlog_is_worked_off_at_more_than_four_fifths_of_the_limit(rate: int, least: float) -> None:
    """Not at all of it: tokens have a life, requests a way to go, and a burst is held ready."""
    account = Account("default", POLICY, rate, places=50)
    simulation = Simulation([account], seed=1)
    for _ in range(rate * 30):
        followed(simulation, account, 0.0, 9)
    simulation.run(20 * 60)
    assert least <= len(account.ledger.sent_at) / (rate * 20) <= 1.0
