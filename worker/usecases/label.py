"""A return's label for a person: as it is stored, or taken though it was refused."""

from pathlib import Path

from worker.domain.by_hand import Person, Refusal, accepted
from worker.domain.returns import ReturnOrder
from worker.engine.label import forget_aside, name_of, stored
from worker.engine.retention import remove_what_came_late
from worker.labels import LabelMissing, as_it_is, open_label_store
from worker.settings import Settings
from worker.store.database import Database
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import History
from worker.usecases.desk import Settled, desk_of
from worker.usecases.not_done import NotDone


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


async def accept_label(
    settings: Settings, database: Database, order: ReturnOrderRow, position: int, person: Person, owner: str
) -> list[Settled]:
    """Take as the label what was refused and is kept aside, as it is; the return is leased to `owner` meanwhile."""
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
    done = await desk_of(settings, database, person, owner).settle([order.id], way_out)
    if isinstance(done[0].outcome, Refusal):
        await remove_what_came_late(database, store, [order.id])
    else:
        await forget_aside(whose, position, store)
    return done
