"""Writes every stored label into a folder: whole or not at all, and none that is there already."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from worker.domain.file_names import check_plain_name
from worker.domain.lifecycle import State
from worker.labels import LabelMissing, LabelStore, LabelStoreError, open_label_store
from worker.labels.files import write_whole
from worker.settings import Settings
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.upkeep.stored_labels import LabelOfReturn, stored_labels
from worker.usecases.not_done import NotDone, require_utf8

_AT_ONCE = 200
_IN_A_ROW: Final = 10
_FOLDER_MODE: Final = 0o700  # a label is a customer's name and address


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What became of one label: it was written to `path`, or was there (`was_there`), or `failure` says why not.

    `is_its_own`: the failure says nothing about other labels, since store and folder work.
    """

    label: LabelOfReturn
    path: Path | None = None
    was_there: bool = False
    failure: str | None = None
    is_its_own: bool = False


async def hand_out(
    settings: Settings,
    database: Database,
    folder: Path,
    *,
    account: str | None = None,
    states: Sequence[State] = (),
    since: timedelta | None = None,
) -> AsyncIterator[HandedOut]:
    """Write the labels of returns that are not archived, each as `ACCOUNT/NAME` as in the label store.

    `since`: only those that were stored within that time. One that fails keeps no other back; raises `NotDone` where
    ten in a row fail by the store or the folder.
    """
    require_utf8(account or "")
    store = open_label_store(settings.labels.store)
    moment = None if since is None else await database_now(database) - since
    last = in_a_row = 0
    while page := await stored_labels(database, last, _AT_ONCE, account=account, states=states, since=moment):
        for label in page:
            done = await _hand_out(store, folder, label)
            yield done
            in_a_row = 0 if done.failure is None or done.is_its_own else in_a_row + 1
            if in_a_row == _IN_A_ROW:
                raise NotDone(f"{_IN_A_ROW} labels in a row failed, the last since {done.failure}; no more are tried")
        last = page[-1].id


async def _hand_out(store: LabelStore, folder: Path, label: LabelOfReturn) -> HandedOut:
    try:
        path = folder / _name(label.location)
        if await asyncio.to_thread(_is_there, path, label.sha256):
            return HandedOut(label, path, was_there=True)
        content = await store.get(label.location)
        if hashlib.sha256(content).hexdigest() != label.sha256:
            differs = "the file in the label store is not what was stored: its checksum differs"
            return HandedOut(label, failure=differs, is_its_own=True)
        await asyncio.to_thread(_write, path, content)
    except LabelStoreError as error:
        return HandedOut(label, failure=str(error), is_its_own=isinstance(error, LabelMissing))
    except OSError as error:
        return HandedOut(label, failure=f"it cannot be written into {folder}: {error.strerror}")
    except ValueError as error:
        said = f"its location {label.location[:300]!r} names no file: {error}"
        return HandedOut(label, failure=said, is_its_own=True)
    return HandedOut(label, path)


def _name(location: str) -> Path:
    """The account's folder and the file's name, which the store made; whatever else a row may say is refused."""
    *_, account, name = ["", "", *unquote(urlsplit(location).path).split("/")]
    return Path(check_plain_name(account)) / check_plain_name(name)


def _is_there(path: Path, sha256: str) -> bool:
    if not path.is_file():  # a pipe in its place is replaced, as a file that was cut off is
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _write(path: Path, content: bytes) -> None:
    path.parent.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
    write_whole(path, content)
