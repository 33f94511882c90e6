"""The label store: what it promises, and how the configuration names one."""

from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from worker.domain.file_names import read_label_store
from worker.labels.errors import LabelStoreUnusable
from worker.labels.files import FileLabelStore
from worker.labels.names import LabelName
from worker.labels.verify import VerifiedLabel


class LabelStore(Protocol):
    """A place that keeps labels; one contract for every kind of store."""

    async def put(self, name: LabelName, label: VerifiedLabel) -> str:
        """Store the label durably and return its location, a URI; putting the same label again is fine.

        All or nothing: `LabelStoreError` means that no part of it can be seen.
        """

    async def get(self, location: str) -> bytes:
        """Return the bytes at a location that `put` gave; `LabelMissing` when they are not there.

        A location outside this store counts as missing, too. `LabelStoreError` when the
        store cannot be read.
        """

    async def keep_aside(self, name: LabelName, content: bytes) -> None:
        """Keep what was refused as this label, in place of what was kept before; `LabelStoreError` when it can't."""

    async def aside(self, name: LabelName) -> bytes:
        """Return the bytes that were kept aside last; errors as of `get`."""

    async def forget_aside(self, name: LabelName) -> None:
        """Remove what was kept aside, if anything was; `LabelStoreError` when the store cannot be used."""

    async def tidy_aside(self) -> int:
        """Remove what was kept aside for too long or is too much (see `superfluous`); return how many.

        A bucket whose credentials do not allow removing keeps all of it, which is no error.
        """

    async def all_of(self, returns: Collection[tuple[str, str]], locations: Collection[str]) -> list[str]:
        """Return the locations of everything that is kept of returns: labels, older versions, what was kept aside.

        `returns` are accounts with the carrier's numbers; what a return was stored as under its account's earlier name
        is found by its `locations`. `LabelStoreError` where one of these is outside of the store, or it cannot be read.
        """

    async def remove(self, locations: Collection[str]) -> None:
        """Remove durably what is at locations that `all_of` gave; `LabelStoreError` where something may be left."""

    async def check(self, *, make: bool = True) -> bool:
        """Write and remove a small file; `LabelStoreError` says what to do when that fails.

        Without `make` a store that is not there is not made, and False where it could be.
        """

    async def tidy(self, older_than: timedelta) -> int:
        """Remove what interrupted writers left behind and has not changed for so long; return how many."""


def open_label_store(url: str, *, base: Path | None = None) -> LabelStore:
    """Return the store that `url` names (`[labels] store`); touches neither disk nor network.

    A relative folder is relative to `base` (default: the working directory). `ValueError` says what is
    accepted; `LabelStoreUnusable` when the optional package for object stores is not installed, or the environment
    does not say what it needs.
    """
    read = read_label_store(url)
    if isinstance(read, Path):
        return FileLabelStore((base or Path.cwd()).absolute() / read)
    return _open_object_store(read.url)


def _open_object_store(url: str) -> LabelStore:
    try:
        from worker.labels.objects import ObjectLabelStore  # noqa: PLC0415 - obstore is optional
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        message = f"{url} needs a package that is not installed: pip install 'returns-worker[object-store]'"
        raise LabelStoreUnusable(message) from None
    return ObjectLabelStore.from_url(url)
