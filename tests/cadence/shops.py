"""Four shops over months: with room, overloaded for days, without a limit, and with quiet nights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from tests.cadence.carrier import drawn
from tests.cadence.clock import DAY, HOUR, moment, seconds
from tests.cadence.simulation import Account, Simulation
from worker.domain.returns import ReturnOrder
from worker.from_settings import policy_of
from worker.settings import AccountPolling, AccountSettings, Settings

AT_MIDNIGHT = 0.5  # of a day's returns are inserted in one transaction at midnight; the rest from 08:00 to 22:00
SALE = 6.0  # so many times as many returns a day, while they come back from a sale


@dataclass(frozen=True, slots=True)
class Shop:
    """An account and how its returns come in; `pickups`: how many days ahead, for which part of the returns."""

    name: str
    rate: int
    returns: int
    workers: int = 2
    quiet_nights: bool = False
    pickups: tuple[int, int] = (1, 4)
    with_pickup: float = 0.5
    sale: range = range(0)

    def account(self) -> Account:
        """The account as the settings make it."""
        settings = Settings(
            accounts={self.name: AccountSettings(polling=AccountPolling(quiet_nights=self.quiet_nights))}
        )
        return Account(self.name, policy_of(settings, self.name), self.rate, workers=self.workers)

    def by_day(self, days: int) -> Iterator[int]:
        """How many returns come in on each day."""
        weights = [SALE if day in self.sale else 1.0 for day in range(days)]
        inserted, whole = 0, 0.0
        for weight in weights:
            whole += weight
            upto = round(self.returns * whole / sum(weights))
            yield upto - inserted
            inserted = upto


def shops(returns: int, days: int, slower: int = 1) -> list[Shop]:
    """The four, who share `returns`; each limit is divided by `slower`."""
    many, few = returns * 3 // 10, returns * 2 // 10
    sale = range(days // 3, days // 3 + max(days // 15, 1))
    return [
        Shop("roomy", 60 // slower, many),
        Shop("tight", 20 // slower, many, workers=4, sale=sale),
        Shop("unlimited", 0, few, workers=1),
        Shop("nights", 60 // slower, few, quiet_nights=True, pickups=(0, 2), with_pickup=1.0),
    ]


def life(shops: list[Shop], seed: int, days: int, until: int) -> Simulation:
    """Everything that happens while returns come in for so many days, `until` another day."""
    simulation = Simulation([shop.account() for shop in shops], seed)
    identities = iter(range(1, 10**9))
    for shop, account in zip(shops, simulation.accounts, strict=True):
        for day, count in enumerate(shop.by_day(days)):
            simulation.at(day * DAY, _a_day(simulation, shop, account, identities), count)
    simulation.run(until * DAY)
    return simulation


def _a_day(simulation: Simulation, shop: Shop, account: Account, identities: Iterator[int]) -> Callable[..., None]:
    chance = simulation.random

    def insert(_: object) -> None:
        now, pickup = simulation.now, None
        if chance.random() < shop.with_pickup:
            pickup = moment(now).date() + timedelta(days=chance.randint(*shop.pickups))
        midnight = (
            None if pickup is None else seconds(moment(0).replace(year=pickup.year, month=pickup.month, day=pickup.day))
        )
        number = next(identities)
        at = moment(now)
        order = ReturnOrder(
            id=number, account=shop.name, reference=f"R-{number}", due_at=at, created_at=at, pickup_date=pickup
        )
        account.ledger.returns += 1
        simulation.insert(account, order, drawn(chance, now, midnight))

    def morning(count: int) -> None:
        at_once = int(count * AT_MIDNIGHT)
        for _ in range(at_once):
            insert(None)
        for _ in range(count - at_once):
            simulation.at(simulation.now + chance.uniform(8, 22) * HOUR, insert)

    return morning
