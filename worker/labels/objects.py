"""The label store that is a bucket (S3, Google Cloud Storage, Azure); the only place that knows obstore."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from urllib.parse import quote, unquote

from obstore.exceptions import BaseError, GenericError, JoinError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from worker.domain.masking import said_by
from worker.labels.errors import LabelMissing, LabelStoreAway, LabelStoreError, LabelStoreUnusable
from worker.labels.names import ASIDE, Kept, LabelName, aside_path, relative_path, stem, stem_of, superfluous
from worker.labels.verify import UNKNOWN, VerifiedLabel

# obstore tries for three minutes by default: longer than a lease. A failed put is tried again by the loop.
_PATIENCE = timedelta(seconds=20)
# What obstore says of a server that cannot be reached, or fails; missing rights and buckets have errors of their own.
_MAY_PASS = (GenericError, JoinError)
# Credentials that, quite rightly, do not allow removing: a rule of the bucket's own lifecycle may do it.
_NO_RIGHT = (PermissionDeniedError, UnauthenticatedError)
_LISTED = 50  # at once, of the few that a return has; else a thousand of its neighbours come with them
_PROBE = "returns-worker-check"


class ObjectLabelStore:
    """Labels as objects below a URL such as `s3://bucket/prefix`; see `LabelStore` for the promises."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self._url = url.rstrip("/") + "/"

    @classmethod
    def from_url(cls, url: str) -> "ObjectLabelStore":
        """Open the bucket; credentials come from the environment. `LabelStoreUnusable` says what is missing."""
        try:
            store = from_url(
                url,
                client_options={
                    "connect_timeout": timedelta(seconds=5),
                    "timeout": _PATIENCE,
                    # Given any option here, obstore no longer reads this one from the environment itself.
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                },
                retry_config={"max_retries": 2, "retry_timeout": _PATIENCE},
            )
        except (BaseError, ValueError) as error:
            raise LabelStoreUnusable(f"{url} cannot be opened as label store: {_reason(error)}") from error
        return cls(store, url)

    async def put(self, name: LabelName, label: VerifiedLabel) -> str:
        """Upload the label in one request, which object stores make all or nothing."""
        path = relative_path(name, label)
        await self._put(path, label.content, label.media_type)
        return self._url + quote(path)

    async def get(self, location: str) -> bytes:
        """Download the label at a location below this store's URL."""
        if not location.startswith(self._url):
            raise LabelMissing(f"{location[:300]!r} is outside of the label store {self._url}")
        try:
            found = await self._store.get_async(unquote(location.removeprefix(self._url)))
            return bytes(await found.bytes_async())
        except (FileNotFoundError, ValueError):  # ValueError: no object can have such a path
            raise LabelMissing(f"no label at {location}") from None
        except (BaseError, OSError) as error:
            raise LabelStoreError(f"cannot read the label {location}: {_reason(error)}") from error

    async def keep_aside(self, name: LabelName, content: bytes) -> None:
        """Upload the bytes in place of the earlier ones."""
        await self._put(aside_path(name), content, UNKNOWN)

    async def aside(self, name: LabelName) -> bytes:
        """Download the bytes kept aside."""
        return await self.get(self._url + quote(aside_path(name)))

    async def forget_aside(self, name: LabelName) -> None:
        """Delete them, where that is allowed."""
        await self._remove(aside_path(name))

    async def tidy_aside(self) -> int:
        """Delete what is superfluous, where that is allowed."""
        try:
            kept = [
                Kept(each["path"], each["size"], each["last_modified"].timestamp())
                async for listed in self._store.list(prefix=ASIDE)
                for each in listed
            ]
        except (BaseError, OSError) as error:
            raise LabelStoreError(f"cannot list {self._url}{ASIDE}: {_reason(error)}") from error
        return sum([await self._remove(path) for path in superfluous(kept, time.time())])

    async def all_of(self, returns: Collection[tuple[str, str]], locations: Collection[str]) -> list[str]:
        """List what begins with the returns' names; a bucket's listing is in the order of names."""
        outside = next((each for each in locations if not each.startswith(self._url)), None)
        if outside is not None:
            raise LabelStoreError(f"{outside[:300]!r} is outside of the label store {self._url}; was the store moved?")
        paths = {unquote(location.removeprefix(self._url)) for location in locations}
        stems = {stem(*each) for each in returns} | {found for path in paths if (found := stem_of(path))}
        for each in stems:
            for begins in (each, f"{ASIDE}/{each}"):
                paths.update([path async for path in self._beginning_with(f"{begins}-") if stem_of(path) == each])
        return [self._url + quote(path) for path in sorted(paths)]

    async def remove(self, locations: Collection[str]) -> None:
        """Delete them; a bucket that keeps versions keeps these as older ones."""
        for location in locations:
            try:
                await self._store.delete_async(unquote(location.removeprefix(self._url)))
            except FileNotFoundError:
                continue
            except (BaseError, OSError) as error:
                raise _kind_of(error)(f"cannot remove {location}: {_reason(error)}") from error

    async def check(self, *, make: bool = True) -> bool:
        """Write a small object; it stays when the credentials, quite rightly, do not allow removing."""
        await self._put(_PROBE, b"returns-worker check\n", "text/plain")
        with contextlib.suppress(BaseError, OSError):
            await self._store.delete_async(_PROBE)
        return True  # a bucket is never made here

    async def tidy(self, older_than: timedelta) -> int:
        """Return 0: an upload in one request leaves nothing behind."""
        return 0

    async def _beginning_with(self, begins: str) -> AsyncIterator[str]:
        try:
            async for listed in self._store.list(prefix=begins.rpartition("/")[0], offset=begins, chunk_size=_LISTED):
                for each in listed:
                    if not each["path"].startswith(begins):
                        return
                    yield each["path"]
        except (BaseError, OSError) as error:
            raise _kind_of(error)(f"cannot list {self._url}{begins}: {_reason(error)}") from error

    async def _remove(self, path: str) -> bool:
        """Whether it was removed; not, where it is gone already or may not be removed."""
        try:
            await self._store.delete_async(path)
        except (FileNotFoundError, *_NO_RIGHT):
            return False
        except (BaseError, OSError) as error:
            raise LabelStoreError(f"cannot remove {self._url}{path}: {_reason(error)}") from error
        return True

    async def _put(self, path: str, content: bytes, media_type: str) -> None:
        try:
            await self._store.put_async(path, content, attributes={"Content-Type": media_type}, use_multipart=False)
        except (BaseError, OSError, ValueError) as error:
            raise _kind_of(error)(
                f"cannot write {path} to the label store {self._url}: {_reason(error)}; look at the bucket's "
                "name, its region and the credentials in the environment"
            ) from error


def _kind_of(error: Exception) -> type[LabelStoreError]:
    return LabelStoreAway if isinstance(error, _MAY_PASS) else LabelStoreError


def _reason(error: Exception) -> str:
    """Return the first line: obstore appends a page of its own internals to its messages."""
    return said_by(str(error).partition("\n")[0]) or type(error).__name__
