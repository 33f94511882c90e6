"""Hands out everything that is held about a return: its row, its history, and the files of its labels."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from worker.labels import LabelMissing, open_label_store
from worker.labels.names import ASIDE
from worker.settings import Settings
from worker.store.columns import columns_of
from worker.usecases.show import ShownReturn


def all_values(found: ShownReturn) -> dict[str, Any]:
    """Every column of a return and of what belongs to it, when it was archived, and why its payload is not there."""
    history = found.history
    parts = {name: [_values(row) for row in getattr(history, name)] for name in ("packages", "labels", "transitions")}
    archived_at: datetime | None = found.archived_at
    said = {"archived_at": archived_at, "payload_unreadable": history.payload_unreadable}
    return _values(history.order) | said | parts


def _values(row: Any) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in columns_of(type(row))}


async def all_files(settings: Settings, found: ShownReturn) -> AsyncIterator[tuple[PurePosixPath, bytes | None]]:
    """Each file of its labels, with older versions and what was kept aside: where it goes in a folder, and its bytes.

    None in their place: a label that should be there is not. Raises `LabelStoreError`.
    """
    order, labels = found.history.order, found.history.labels
    stored = {label.location for label in labels if label.removed_at is None}
    store = open_label_store(settings.labels.store)
    returns = [(order.account, order.carrier_ref)] if order.carrier_ref is not None else []
    for location in await store.all_of(returns, sorted(stored)):
        *_, aside, account, name = ("", *PurePosixPath(unquote(urlsplit(location).path)).parts)
        path = PurePosixPath(*((ASIDE,) if aside == ASIDE else ()), account, name)
        try:
            content = await store.get(location)
        except LabelMissing:
            content = None
        if content is not None or location in stored:
            yield path, content
