"""Does the next step of a claimed row: calls the carrier, or gives the outcome that needs no call."""

from datetime import timedelta

from worker.domain.lifecycle import Step
from worker.domain.outcomes import Outcome, Poisoned, Unreadable
from worker.domain.policy import MAX_CLAIMS
from worker.domain.requests import action_for
from worker.domain.returns import ReturnOrder
from worker.engine.account import Account
from worker.engine.cancel import cancel, takes_withdrawals
from worker.engine.create import create
from worker.engine.label import fetch_label
from worker.engine.track import track
from worker.labels import LabelStore
from worker.store.database import Database


async def perform(
    order: ReturnOrder, account: Account, database: Database, labels: LabelStore, call: timedelta
) -> Outcome | None:
    """One step of `order`; `call` is what a creation must find left of the lease. None: not done, hand it back."""
    if order.unreadable is not None:
        return Unreadable(order.unreadable)
    if order.claims > MAX_CLAIMS:
        return Poisoned()
    action = action_for(order, can_cancel=takes_withdrawals(account.carrier))
    match action:
        case Step.CREATE | Step.LABEL if order.payload is None:
            return Unreadable(order.payload_unreadable) if order.payload_unreadable is not None else None
        case Step.CREATE:
            return await create(order, account.carrier, database, call, kin=account.kin, may_send=not account.stopped)
        case Step.LABEL:
            return await fetch_label(order, account.carrier, labels)
        case Step.TRACK:
            return await track(order, account.carrier, database, account.kin.near)
        case Step.CANCEL:
            return await cancel(order, account.carrier)
        case _:
            return action
