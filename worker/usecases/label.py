"""A return's label for a person: as it is stored, asked for once more, or taken though it was refused."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from worker.carriers.port import Carrier, LabelDocument
from worker.domain.by_hand import Person, accepted
from worker.domain.decision import Decision
from worker.domain.error_codes import ErrorCode
from worker.domain.outcomes import Failed, LabelReady, LabelTrouble
from worker.domain.retrying import TURNED_AWAY, hold_after
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.engine.label import ask_for_label, fetch_label, forget_aside, keep_aside, name_of, refusal_of, stored
from worker.from_settings import fingerprint_of, policies_of, policy_of
from worker.labels import LabelMissing, as_it_is, open_label_store
from worker.labels.names import aside_path
from worker.settings import Settings
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.holds import hold_account
from worker.store.records import replace_label
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import History, read_history
from worker.usecases.carrier import opened_carrier
from worker.usecases.desk import Desk, Settled
from worker.usecases.not_done import NotConfigured, NotDone

T = TypeVar("T")


class LabelNotFetched(NotDone):
    """No label came of asking; `refused`: what came is none, and is kept aside."""

    def __init__(self, why: str, *, refused: bool) -> None:
        super().__init__(f"the label could not be fetched: {why}")
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Unchecked:
    """What the carrier sent as label, and what a file of it is called.

    `refusal`: why it would be refused; None: it would not. `is_kept`: it is kept aside.
    """

    content: bytes
    name: str
    refusal: str | None
    is_kept: bool


async def stored_label(settings: Settings, history: History, position: int) -> tuple[str, bytes] | None:
    """The name of a label's file, and its bytes; None: there is none. Raises `NotDone` where it was removed since."""
    label = next((row for row in history.labels if row.position == position), None)
    if label is None:
        return None
    if label.removed_at is not None:
        why = "with the return's personal data" if history.order.erased_at else "as retention.labels_after says"
        raise NotDone(
            f"the file of label {position} of {history.order.reference!r} was removed at"
            f" {label.removed_at:%Y-%m-%d %H:%M:%S} UTC, {why}; `show` has what is known of it"
        )
    return Path(label.location).name, await open_label_store(settings.labels.store).get(label.location)


async def refetch_label(settings: Settings, database: Database, order: ReturnOrderRow, position: int) -> None:
    """Ask the carrier for it once more, and store what comes; raises `LabelNotFetched`."""
    store = open_label_store(settings.labels.store)
    asked, outcome = await _asked(settings, database, order, position, partial(fetch_label, store=store))
    if not isinstance(outcome, LabelReady):
        refused = isinstance(outcome, LabelTrouble) and outcome.code == ErrorCode.LABEL_UNUSABLE
        raise LabelNotFetched(str(getattr(outcome, "message", outcome)), refused=refused)
    await replace_label(database, order.id, outcome.label)
    await forget_aside(asked, outcome.label.position, store)


async def unchecked_label(settings: Settings, database: Database, order: ReturnOrderRow, position: int) -> Unchecked:
    """Ask the carrier for it, keep aside what comes, whatever it is, and store nothing; raises `LabelNotFetched`."""
    store = open_label_store(settings.labels.store)
    asked, document = await _asked(settings, database, order, position, ask_for_label)
    if not isinstance(document, LabelDocument):
        raise LabelNotFetched(document.message, refused=False)
    kept = await keep_aside(asked, document, store)
    name = f"{Path(aside_path(name_of(asked, position))).name}.unchecked"
    return Unchecked(document.content, name, await refusal_of(document), kept)


async def accept_label(
    settings: Settings, database: Database, order: ReturnOrderRow, position: int, person: Person, owner: str
) -> list[Settled]:
    """Take as the label what was refused and is kept aside, as it is; `owner` holds the return meanwhile."""
    if order.carrier_ref is None:
        raise NotDone(f"{order.reference!r} is not at the carrier, so it has no label")
    store = open_label_store(settings.labels.store)
    whose = ReturnOrder(order.id, order.account, order.reference, carrier_ref=order.carrier_ref)
    name = name_of(whose, position)
    try:
        taken = await as_it_is(await store.aside(name))
    except LabelMissing:
        raise NotDone(
            f"nothing is kept aside of label {position} of {order.reference!r}; `label --refetch --unchecked -o FILE`"
            " asks the carrier for it now, and keeps what comes"
        ) from None
    way_out = accepted(stored(position, await store.put(name, taken), taken))
    done = await Desk(database, person, policies_of(settings), owner).settle([order.id], way_out)
    if isinstance(done[0].outcome, Decision):
        await forget_aside(whose, position, store)
    return done


async def _asked(
    settings: Settings,
    database: Database,
    order: ReturnOrderRow,
    position: int,
    ask: Callable[[ReturnOrder, Carrier], Awaitable[T]],
) -> tuple[ReturnOrder, T]:
    """What came of asking the carrier; the account waits where it was turned away."""
    if order.carrier_ref is None:
        raise NotDone(f"{order.reference!r} is not at the carrier, so there is no label to ask for")
    if order.account not in settings.accounts:
        raise NotConfigured(f"account {order.account!r} is not configured")
    async with opened_carrier(settings, database, order.account) as opened:
        asked = await _as_if_missing(database, order, position)
        outcome = await ask(asked, opened.carrier)
        if isinstance(outcome, Failed) and outcome.kind in TURNED_AWAY:
            hold = hold_after(outcome, await database_now(database), policy_of(settings, order.account))
            key = fingerprint_of(opened.key()) if hold.until is None else None
            await hold_account(database, order.account, hold, key)
    return asked, outcome


async def _as_if_missing(database: Database, order: ReturnOrderRow, position: int) -> ReturnOrder:
    """The return with every label but this one."""
    history = await read_history(database, order)
    if history.payload_unreadable is not None:
        raise NotDone(f"the payload of {order.reference!r} cannot be read: {history.payload_unreadable}")
    return ReturnOrder(
        id=order.id,
        account=order.account,
        reference=order.reference,
        carrier_ref=order.carrier_ref,
        payload=json.dumps(order.payload),
        packages=tuple(
            PackageInfo(row.position, row.label_code, row.description, row.tracking_number, row.tracking_url)
            for row in history.packages
        ),
        labels=frozenset(row.position for row in history.packages if row.position != position),
    )
