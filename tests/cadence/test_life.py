"""Months of four shops in compressed time: every account within its limit, every poll no later than was reported.

The short form is part of every run. The long form, `pytest -m long tests/cadence`, follows 100,000 returns for 90 days;
it prints the table that docs/operate/cadence.md shows. RETURNS_WORKER_TEST_CADENCE_SEED sets another seed.
"""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cadence.ledger import HEADER
from tests.cadence.shops import life, shops
from tests.cadence.simulation import SLOWEST, Simulation
from worker.domain.lifecycle import State, Step
from worker.domain.tracking import TrackingStatus

SEED = int(os.environ.get("RETURNS_WORKER_TEST_CADENCE_SEED", "20260215"))


def test_weeks_of_a_few_returns_keep_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    _live(capsys, returns=400, days=6, until=25, slower=12)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ninety_days_of_a_hundred_thousand_returns_keep_every_promise(capsys: pytest.CaptureFixture[str]) -> None:
    _live(capsys, returns=100_000, days=60, until=90, slower=1)


def _live(capsys: pytest.CaptureFixture[str], *, returns: int, days: int, until: int, slower: int) -> None:
    began = time.monotonic()
    with _no_collection():
        simulation = life(shops(returns, days, slower), SEED, days, until)
    with capsys.disabled():
        print(f"\n{HEADER}")
        for account in simulation.accounts:
            print(account.ledger.line(len(account.rows)))
        print(f"  {returns} returns over {days} of {until} days, seed {SEED}; {time.monotonic() - began:.0f} s")
    assert sum(account.ledger.returns for account in simulation.accounts) == returns
    for account in simulation.accounts:
        assert account.ledger.examples == []
        assert account.rate == 0 or account.ledger.busiest <= account.rate
        assert account.ledger.most_at_once <= sum(hand.places for hand in account.hands)
        assert account.ledger.worst_wait_for_a_place <= 2 * SLOWEST + _a_token(account.rate)
    _every_return_ends(simulation, max_age_in_days=60)
    _the_overloaded_one_says_so_and_the_others_are_not_late(simulation)


def _every_return_ends(simulation: Simulation, max_age_in_days: int) -> None:
    """By the carrier's word, or by its age; what is open at the end is one that the carrier never ends."""
    for account in simulation.accounts:
        ledger = account.ledger
        assert ledger.finished + len(account.rows) == ledger.returns
        assert set(ledger.ends) <= {TrackingStatus.DELIVERED, TrackingStatus.FAILED, TrackingStatus.EXPIRED}
        for number, order in account.rows.items():
            assert order.state is State.TRACKING
            assert account.journeys[number].ends_at > simulation.now
            assert (simulation.now - account.journeys[number].born) / 86400 < max_age_in_days + 1


def _the_overloaded_one_says_so_and_the_others_are_not_late(simulation: Simulation) -> None:
    roomy, tight, unlimited, _ = (account.ledger for account in simulation.accounts)
    assert tight.worst_shortfall > 2 * roomy.worst_shortfall
    assert unlimited.worst_shortfall <= 60  # while the creations of midnight have its places
    served = tight.served_while_all_wait
    assert served[Step.CREATE] > served[Step.LABEL] > 0
    assert served[Step.TRACK] > 0


def _a_token(rate: int) -> float:
    """How long it may take until a token grows back, for one that has become void while its call waited."""
    return 65.1 if 0 < rate < 20 else 15.0 if rate else 0.0


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of small objects, none of which is part of a cycle."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
