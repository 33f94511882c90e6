"""What `schedule` foretells is what a worker does, from the carrier's first answer on."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import httpx
import pytest

from tests.cadence.carrier import Journey
from tests.cadence.clock import DAY, moment
from tests.cadence.simulation import Account, Simulation
from tests.carriers import pilot, wire
from worker.carriers import open_carrier
from worker.carriers.registry import AccountConfig
from worker.domain.decide import decide
from worker.domain.outcomes import Tracked
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate
from worker.from_settings import policy_of
from worker.settings import AccountPolling, AccountSettings, Settings
from worker.usecases.plan import Open, Plan, plan_of

MINUTE = timedelta(minutes=1)
BEGIN = 40.4 * DAY  # 27 March, 09:36; two nights later the clock goes forward
PICKUP = date(2026, 3, 28)
WORDS = {
    TrackingStatus.PRE_TRANSIT: "Created",
    TrackingStatus.IN_TRANSIT: "Collected",
    TrackingStatus.UNKNOWN: "Sortering",
    TrackingStatus.DELIVERED: "Delivered",
}


class Even:
    """Neither early nor late: every draw is the middle, so that a wait has no jitter and no request fails."""

    def random(self) -> float:
        return 0.5


def plan(settings: Settings, start: datetime, journey: Any = None, pickup: date | None = None) -> Plan:
    return plan_of(settings, "shop", start, journey, pickup, Open(1, "as given"))


def lived(settings: Settings, journey: Sequence[tuple[TrackingStatus, timedelta]], pickup: date | None) -> list[float]:
    """When a worker of the simulation sends its requests for one return; the first of them creates it."""
    legs, age = [], 0.0
    for status, stay in (*journey, (TrackingStatus.DELIVERED, timedelta(0))):
        legs.append((age, Tracked(TrackingUpdate(status, WORDS[status]))))
        age += stay.total_seconds()
    account = Account("shop", policy_of(settings, "shop"), rate=0, workers=1)
    simulation = Simulation([account], seed=1, begin=BEGIN)
    simulation.random = Even()  # type: ignore[assignment]
    order = ReturnOrder(id=1, account="shop", reference="R-1", due_at=moment(BEGIN), pickup_date=pickup)
    simulation.insert(account, order, Journey(tuple(legs)))
    simulation.run(BEGIN + 20 * DAY)
    assert account.rows == {}
    return list(account.ledger.sent_at)


@pytest.mark.parametrize(
    ("polling", "journey", "pickup"),
    [
        ({}, {"pre_transit": 2, "in_transit": 3}, None),
        ({}, {"pre_transit": 2, "in_transit": 3}, PICKUP),
        ({"quiet_nights": True}, {"pre_transit": 1.1, "unknown": 0.4, "in_transit": 3}, PICKUP),
        ({"max_age": "9d"}, {"pre_transit": 2, "in_transit": 30}, None),
        ({"by_status": {"in_transit": {"max_age": "3d"}}}, {"pre_transit": 1.4, "in_transit": 30}, None),
        ({"first": "2h", "cap": "30h", "factor": 4}, {"pre_transit": 6.2, "in_transit": 5}, None),
    ],
)
def test_a_forecast_has_the_polls_that_a_worker_makes(
    polling: dict[str, Any], journey: dict[str, float], pickup: date | None
) -> None:
    """Each of them within what its requests and turns take."""
    settings = Settings(accounts={"shop": AccountSettings(polling=AccountPolling(**polling))})
    stays = [(TrackingStatus(status), timedelta(days=days)) for status, days in journey.items()]
    created, _label, *polls = lived(settings, stays, pickup)
    foretold = plan(settings, moment(created), stays, pickup).forecast.polls
    assert len(foretold) == len(polls)
    for number, (poll, sent) in enumerate(zip(foretold, polls, strict=True), start=1):
        assert abs((poll.at - moment(sent)).total_seconds()) <= 2 * number


class Answers(NamedTuple):
    """What a carrier answers to a creation and to every poll, and the waits in minutes that this leads to."""

    request: ReturnOrder
    created: dict[str, Any]
    shown: dict[str, Any]
    waits: list[float]


CARRIERS = {
    "izipack": Answers(
        request=wire.order(),
        created={"orderNumber": "9RET326720205706"},
        shown={"status": "Created"},
        waits=[15, 15, 22.5, 33.75],
    ),
    "returnpilot": Answers(
        request=pilot.order(),
        created={"id": 10011, "return_url": "https://app.returnpilot.co/x"},
        shown={"data": pilot.document(shipments=[], link_expires_at="2100-01-01 00:00:00")},
        waits=[15, 22.5, 33.75, 50.625],
    ),
}


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_the_first_polls_are_those_that_the_carriers_own_answers_lead_to(carrier: str) -> None:
    """Izipack says a status with the first poll only, which is news; ReturnPilot's order says the same as before.

    ReturnPilot lists, and so its polls wait for others, up to a tenth of their wait.
    """
    request, created, shown, waits = CARRIERS[carrier]
    settings = Settings(accounts={"shop": AccountSettings(carrier=carrier)})
    policy, start = policy_of(settings, "shop"), moment(0)

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, json=created) if request.method == "POST" else httpx.Response(200, json=shown)

    config = AccountConfig(carrier=carrier, key=lambda: "a-key", base_url="https://carrier.test")
    account = open_carrier(config, lambda operation, outcome, seconds: None, wire.answered_by(answer))
    order = decide(request, await account.create(account.prepare(request)), start, policy, 0.5).order
    moments = [start]
    while len(moments) <= len(waits):
        assert order.track_due_at is not None
        moments.append(order.track_due_at)
        order = decide(order, await account.track(order), moments[-1], policy, 0.5).order
    foretold = [start, *(poll.at for poll in plan(settings, start).forecast.polls[: len(waits)])]
    assert foretold == moments
    waited = [(after - before) / MINUTE for before, after in pairwise(foretold)]
    company = 0.1 if carrier == "returnpilot" else 0.0
    assert all(wait <= found <= wait * (1 + company) for wait, found in zip(waits, waited, strict=True))
