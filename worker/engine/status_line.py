"""What the worker is doing, in one line: from what it knows already, without a word of anybody else's."""

from collections.abc import Iterable

from worker.engine.account import Account
from worker.engine.housekeeping import Housekeeping
from worker.engine.loop import Engine
from worker.store.outage import Outage


def activity(engine: Engine, accounts: Iterable[Account], housekeeping: Housekeeping, outage: Outage) -> str:
    """Steps in flight; then what is due and which accounts wait, as the gauges saw it last, or that nothing can be."""
    flying = sum(account.in_hand for account in accounts)
    said = [f"{_counted(flying, 'step')} in flight"]
    if engine.is_draining:
        return said[0]
    if outage.since is not None:
        return f"the database is away since {outage.since:%Y-%m-%d %H:%M:%S} UTC; {said[0]}"
    said.append(f"{_counted(housekeeping.due, 'return')} due")
    waits = [f"account {name} {reason}" for name, reason in sorted(housekeeping.waits.items())]
    return "; ".join([", ".join(said), *waits])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
