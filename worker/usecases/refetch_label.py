"""Asks the carrier for a label once more because a person wants it now."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from worker.carriers.port import Carrier, LabelDocument
from worker.domain.error_codes import ErrorCode
from worker.domain.outcomes import Failed, LabelReady, LabelTrouble
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.engine.label import ask_for_label, fetch_label, forget_aside, keep_aside, name_of, refusal_of
from worker.engine.retention import remove_what_came_late
from worker.labels import open_label_store
from worker.labels.names import aside_path
from worker.settings import Settings
from worker.store.database import Database
from worker.store.records import replace_label
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import read_history
from worker.usecases.carrier import opened_carrier
from worker.usecases.not_done import NotDone

T = TypeVar("T")


class LabelNotFetched(NotDone):
    """No label came; `refused`: what came instead is kept aside."""

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


async def refetch_label(settings: Settings, database: Database, order: ReturnOrderRow, position: int) -> None:
    """Ask the carrier for it once more, and store what comes; raises `LabelNotFetched`."""
    store = open_label_store(settings.labels.store)
    asked, outcome = await _asked(settings, database, order, position, partial(fetch_label, store=store))
    if not isinstance(outcome, LabelReady):
        refused = isinstance(outcome, LabelTrouble) and outcome.code == ErrorCode.LABEL_UNUSABLE
        raise LabelNotFetched(str(getattr(outcome, "message", outcome)), refused=refused)
    if not await replace_label(database, order.id, outcome.label):
        await remove_what_came_late(database, store, [order.id])
        raise NotDone(f"{order.reference!r} was archived, or its personal data erased meanwhile: what came is not kept")
    await forget_aside(asked, outcome.label.position, store)


async def unchecked_label(settings: Settings, database: Database, order: ReturnOrderRow, position: int) -> Unchecked:
    """Ask the carrier for it, keep aside what comes, label or not, and store nothing; raises `LabelNotFetched`."""
    store = open_label_store(settings.labels.store)
    asked, document = await _asked(settings, database, order, position, ask_for_label)
    if not isinstance(document, LabelDocument):
        raise LabelNotFetched(document.message, refused=False)
    kept = await keep_aside(asked, document, store)
    name = f"{Path(aside_path(name_of(asked, position))).name}.unchecked"
    return Unchecked(document.content, name, await refusal_of(document), kept)


async def _asked(
    settings: Settings,
    database: Database,
    order: ReturnOrderRow,
    position: int,
    ask: Callable[[ReturnOrder, Carrier], Awaitable[T]],
) -> tuple[ReturnOrder, T]:
    """The return as it was asked about, and the answer; the account waits where it was turned away."""
    if order.carrier_ref is None:
        raise NotDone(f"{order.reference!r} is not at the carrier, so there is no label to ask for")
    async with opened_carrier(settings, database, order.account) as opened:
        asked, key = await _as_if_missing(database, order, position), opened.key()
        outcome = await ask(asked, opened.carrier)
        if isinstance(outcome, Failed):
            await opened.hold_if_turned_away(outcome, key)
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
