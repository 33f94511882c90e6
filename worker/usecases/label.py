"""A return's label for a person: as it is stored, or taken though it was refused."""

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from worker.domain.by_hand import Person, Refusal, accepted
from worker.domain.file_names import check_plain_name
from worker.domain.returns import ReturnOrder
from worker.engine.label import forget_aside, name_of, stored
from worker.engine.retention import remove_what_came_late
from worker.labels import LabelMissing, LabelStoreAway, LabelStoreError, as_it_is, open_label_store
from worker.labels.names import EXTENSIONS
from worker.labels.verify import UNKNOWN
from worker.settings import Settings
from worker.store.database import Database
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import History
from worker.usecases.desk import Settled, desk_of
from worker.usecases.not_done import NotDone
from worker.usecases.show import show_return


class LabelRemoved(NotDone):
    """The file of a label was removed, on purpose; what is known of it is kept."""


async def stored_label(settings: Settings, history: History, position: int) -> tuple[str, bytes] | None:
    """The name of a label's file, and its bytes; None: there is none. Raises `LabelRemoved`."""
    label = next((row for row in history.labels if row.position == position), None)
    if label is None:
        return None
    if label.removed_at is not None:
        why = "with the return's personal data" if history.order.erased_at else "as retention.labels_after says"
        raise LabelRemoved(
            f"the file of label {position} of {history.order.reference!r} was removed at"
            f" {label.removed_at:%Y-%m-%d %H:%M:%S} UTC, {why}; `show` has what is known of it"
        )
    return Path(label.location).name, await open_label_store(settings.labels.store).get(label.location)


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A stored label as it is handed out: a name that every file system takes, and a media type that we know."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


async def label_file(
    settings: Settings, database: Database, reference: str, account: str, position: int, patience: float = 1.5
) -> LabelFile | None:
    """The label at this position of a return, archived or not; None: it has none.

    Raises `NotDone`, as `LabelRemoved`, and `LabelStoreError`: also after `patience`, in seconds, and where
    the file is not what was stored.
    """
    history = (await show_return(settings, database, reference, account, most=1)).history
    row = next((row for row in history.labels if row.position == position), None)
    try:
        async with asyncio.timeout(patience):
            stored = await stored_label(settings, history, position)
    except TimeoutError:
        raise LabelStoreAway(f"the label store has not answered for {patience:g} s") from None
    if row is None or stored is None:
        return None
    name, content = stored
    if await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest()) != row.sha256:
        raise LabelStoreError("the file in the label store is not what was stored: its checksum differs")
    media_type = row.media_type if row.media_type in EXTENSIONS else UNKNOWN
    return LabelFile(_plain_name(name, f"label-{position}.{EXTENSIONS[media_type]}"), media_type, content)


def _plain_name(name: str, otherwise: str) -> str:
    try:
        return check_plain_name(name)
    except ValueError:  # whatever a row may say
        return otherwise


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
