"""What the gauges and the log say of one account: what it has to do, what it waits for, how far it runs behind."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf

import structlog

from worker.domain.demand import demand_of
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import LIVE_STATES, State
from worker.domain.pacing import Pace, shortfall
from worker.domain.tracking import TrackingStatus
from worker.engine.account import Account
from worker.store.holds import AccountState
from worker.store.queries import Backlog, tracked_by_status
from worker.telemetry.metrics import Metrics

_BEHIND = timedelta(minutes=15)  # a batch of inserts is through sooner, at the usual limits
_SAY_AGAIN = timedelta(hours=1)
_MUCH_CAME = "much came at once; if it lasts, raise rate_per_minute if the carrier allows it"
_POLLS_ARE_MANY = (
    "raise rate_per_minute if the carrier allows it, or ask less often: a larger polling.cap;"
    " `returns-worker check` names one that fits, `returns-worker schedule` shows what it costs"
)

log = structlog.get_logger()


def running_behind(
    pace: Pace | None, rows: Sequence[Backlog], now: datetime, *, creates: bool
) -> tuple[timedelta, int]:
    """How far an account runs behind with what it may do now, and how much of that is due."""
    served = [row for row in rows if creates or row.state != State.PENDING]
    due = sum(row.due for row in served)
    oldest = min((row.oldest_due_at for row in served if row.oldest_due_at is not None), default=None)
    return shortfall(pace, due, oldest, now), due


class AccountGauges:
    """The gauges with an account's name, and which accounts were logged."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._waiting: set[str] = set()  # accounts that wait for a person, and were logged
        self._behind: dict[str, datetime] = {}  # accounts that run behind, and when that was logged last

    def set(self, account: Account, rows: Sequence[Backlog], state: AccountState | None) -> None:
        """As the database has it; `state` None: no worker has registered the account yet."""
        self._set_backlog(account.name, rows)
        if state is not None:
            self._set_waits(account, state)
            self._set_pace(account, rows, state)

    def _set_backlog(self, account: str, rows: Sequence[Backlog]) -> None:
        metrics = self._metrics
        for state in LIVE_STATES:
            metrics.orders.labels(account, state).set(sum(row.count for row in rows if row.state == state))
        unknown = sum(row.count for row in rows if row.tracking_status == TrackingStatus.UNKNOWN)
        metrics.orders_unknown_status.labels(account).set(unknown)
        metrics.orders_due.labels(account).set(sum(row.due for row in rows))
        metrics.labels_missing.labels(account).set(sum(row.labels_missing for row in rows))
        oldest, sought = (row.oldest_due_at for row in rows), (row.label_sought_since for row in rows)
        for gauge, moments in ((metrics.oldest_due, oldest), (metrics.oldest_missing_label, sought)):
            gauge.labels(account).set(min((at.timestamp() for at in moments if at is not None), default=0))

    def _set_waits(self, account: Account, state: AccountState) -> None:
        metrics, name, hold = self._metrics, account.name, state.hold
        forever = hold is not None and hold.is_endless
        seconds = 0.0 if hold is None else inf if forever else hold.until.timestamp()
        metrics.account_held_until.labels(name).set(seconds)
        refused = forever and hold is not None and hold.code == ErrorCode.CARRIER_KEY_REFUSED
        metrics.key_refused.labels(name).set(refused)
        metrics.creations_held.labels(name).set(state.create_hold_message is not None)
        metrics.sending_stopped.labels(name).set(state.is_stopped_at(account.address))
        for which, circuit in state.health.circuits.items():
            until = circuit.open_until.timestamp() if circuit.open_until is not None else 0.0
            metrics.circuit_open_until.labels(name, which).set(until)
        # Said by each worker: after a restart the account may still wait for a person, and the newest log must say so.
        if forever and name not in self._waiting:
            log.warning("account_waits", account=name, reason=str(hold))
        (self._waiting.add if forever else self._waiting.discard)(name)

    def _set_pace(self, account: Account, rows: Sequence[Backlog], state: AccountState) -> None:
        """What the account is asked for, how far it runs behind, and what to change when that lasts."""
        metrics, name = self._metrics, account.name
        pace = account.meter.pace
        limit = pace.rate_per_minute if pace is not None else 0
        behind, due = running_behind(pace, rows, state.now, creates=state.creates)
        demand = demand_of(account.policy, tracked_by_status(rows, name))
        metrics.shortfall.labels(name).set(behind.total_seconds())
        metrics.poll_demand.labels(name).set(demand.per_minute)
        metrics.rate_limit.labels(name).set(limit)
        waits = state.hold is not None or not state.health.account.is_closed
        if behind < _BEHIND or not limit or waits:
            self._behind.pop(name, None)
            return
        said = self._behind.get(name)
        if said is None or state.now - said >= _SAY_AGAIN:
            self._behind[name] = state.now
            log.warning(
                "account_behind",
                account=name,
                due=due,
                minutes=round(behind / timedelta(minutes=1)),
                polls_per_minute=round(demand.per_minute, 1),
                rate_per_minute=limit,
                hint=_POLLS_ARE_MANY if demand.per_minute > limit else _MUCH_CAME,
            )
