"""The label store that is a folder: every file in it is whole, whenever the machine may have stopped."""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import unquote, urlsplit

from worker.domain.file_names import LARGEST_LABEL
from worker.labels.errors import LabelMissing, LabelStoreAway, LabelStoreError
from worker.labels.names import ASIDE, Kept, LabelName, aside_path, relative_path, stem, stem_of, superfluous
from worker.labels.verify import VerifiedLabel

P = ParamSpec("P")
T = TypeVar("T")

# A network disk that hangs would keep every place of its account, and creations would wait behind labels.
_PATIENCE = 20.0  # seconds

# A label is a customer's name and address: the owner's eyes only.
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_TEMPORARY = ".part"
# A path at which no label of ours can be, as opposed to a disk that cannot be read.
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


class FileLabelStore:
    """Labels as files below one folder, `<folder>/<account>/<name>`; see `LabelStore` for the promises.

    The folder is made when it is first needed. Disks block, and a network disk can block for long: all of
    it happens in the store's own threads, so nothing else waits with it.
    """

    def __init__(self, folder: Path, patience: float = _PATIENCE) -> None:
        """`patience` is in seconds, for each thing that is asked of the disk."""
        self._folder = folder.absolute()
        self._patience = patience
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="label-store")

    async def put(self, name: LabelName, label: VerifiedLabel) -> str:
        """Write the label and return its `file:///` URI."""
        target = self._folder / relative_path(name, label)
        await self._in_thread(self._put, target, label.content)
        return target.as_uri()

    async def get(self, location: str) -> bytes:
        """Read the label at a `file:///` URI inside the folder."""
        return await self._in_thread(self._get, location)

    async def keep_aside(self, name: LabelName, content: bytes) -> None:
        """Write the bytes in place of the earlier ones."""
        await self._in_thread(self._put, self._folder / aside_path(name), content)

    async def aside(self, name: LabelName) -> bytes:
        """Read the bytes kept aside."""
        return await self._in_thread(self._get, (self._folder / aside_path(name)).as_uri())

    async def forget_aside(self, name: LabelName) -> None:
        """Unlink them."""
        await self._in_thread(self._remove, self._folder / aside_path(name))

    async def tidy_aside(self) -> int:
        """Unlink what is superfluous."""
        return await self._in_thread(self._tidy_aside)

    async def all_of(self, returns: Collection[tuple[str, str]], locations: Collection[str]) -> list[str]:
        """Look through the folders of the accounts, once for all returns."""
        return await self._in_thread(self._all_of, returns, locations)

    async def remove(self, locations: Collection[str]) -> None:
        """Unlink them, and sync each folder once."""
        await self._in_thread(self._unlink, locations)

    async def check(self, *, make: bool = True) -> bool:
        """Write, sync and remove a small file in the folder."""
        return await self._in_thread(self._check, make)

    async def tidy(self, older_than: timedelta) -> int:
        """Remove temporary files that no running writer can own any more."""
        return await self._in_thread(self._tidy, older_than)

    async def _in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        working = asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(working)
        except TimeoutError:  # the thread waits on; what is asked next times out, too
            working.add_done_callback(_forget_outcome)
            raise LabelStoreAway(f"the label store {self._folder} has not answered for {self._patience:g} s") from None

    def _put(self, target: Path, content: bytes) -> None:
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            for folder in reversed(target.relative_to(self._folder).parents[:-1]):  # one at a time, each with its mode
                (self._folder / folder).mkdir(mode=_FOLDER_MODE, exist_ok=True)
                _sync_folder((self._folder / folder).parent)  # it may be new
            write_whole(target, content)
        except OSError as error:
            raise LabelStoreError(f"cannot write the label {target}: {_reason(error)}") from error

    def _get(self, location: str) -> bytes:
        path = self._inside(location)
        try:
            # Without waiting: a pipe in its place would keep a thread for good.
            with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_LABEL:
                    raise LabelStoreError(
                        f"{path} is no label: it is no file, or has more than {LARGEST_LABEL:,} bytes"
                    )
                return file.read(LARGEST_LABEL)
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                raise LabelMissing(f"no label at {location[:300]!r}") from None
            raise LabelStoreError(f"cannot read the label {path}: {_reason(error)}") from error

    def _inside(self, location: str) -> Path:
        """Turn a location into a path, links followed; one that leaves the folder is not ours to read."""
        try:
            parts = urlsplit(location)
            path = Path(unquote(parts.path)).resolve()
            folder = self._folder.resolve()
        except (OSError, RuntimeError, ValueError):  # no URI, a NUL, a name too long, a circle of links
            raise LabelMissing(f"not a label's location: {location[:300]!r}") from None
        if (parts.scheme, parts.netloc, parts.query, parts.fragment) != ("file", "", "", ""):
            raise LabelMissing(f"not a location in a folder: {location[:300]!r}")
        if not path.is_relative_to(folder):
            raise LabelMissing(f"{location[:300]!r} is outside of the label store {folder}; was the store moved?")
        return path

    def _check(self, make: bool) -> bool:
        try:
            if not make and not self._folder.exists():
                above = next(folder for folder in self._folder.parents if folder.exists())
                if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return False
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            probe = self._folder / f".check-{secrets.token_hex(8)}{_TEMPORARY}"  # if killed here, `tidy` takes it
            write_whole(probe, b"returns-worker check\n")
            probe.unlink()
        except OSError as error:
            raise LabelStoreError(
                f"cannot write to the label store {self._folder}: {_reason(error)}; make it a folder that user "
                f"id {os.geteuid()} may write to, with room on its disk, or name another in [labels] store"
            ) from error
        return True

    def _tidy(self, older_than: timedelta) -> int:
        limit = time.time() - older_than.total_seconds()
        removed = 0
        try:
            for path in self._temporary_files():
                # Another worker may tidy at the same moment, or the writer may finish.
                with contextlib.suppress(FileNotFoundError):
                    if path.lstat().st_mtime < limit:
                        path.unlink()
                        removed += 1
        except OSError as error:
            raise LabelStoreError(f"cannot tidy the label store {self._folder}: {_reason(error)}") from error
        return removed

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise LabelStoreError(f"cannot remove {path}: {_reason(error)}") from error

    def _all_of(self, returns: Collection[tuple[str, str]], locations: Collection[str]) -> list[str]:
        known = [self._inside(location).relative_to(self._folder.resolve()).as_posix() for location in locations]
        stems = {stem(*each) for each in returns} | {found for path in known if (found := stem_of(path))}
        paths = set(known)
        try:
            for account in {each.partition("/")[0] for each in stems}:
                for folder in (account, f"{ASIDE}/{account}"):
                    with contextlib.suppress(FileNotFoundError):
                        named = (f"{folder}/{entry.name}" for entry in os.scandir(self._folder / folder))
                        paths.update(path for path in named if stem_of(path) in stems)
        except OSError as error:
            raise LabelStoreError(f"cannot look through the label store {self._folder}: {_reason(error)}") from error
        return [(self._folder / path).as_uri() for path in sorted(paths)]

    def _unlink(self, locations: Collection[str]) -> None:
        paths = [self._inside(location) for location in locations]
        for path in paths:
            self._remove(path)
        for folder in {path.parent for path in paths}:
            with contextlib.suppress(FileNotFoundError):
                _sync_folder(folder)

    def _tidy_aside(self) -> int:
        paths = superfluous(self._kept_aside(), time.time())
        for path in paths:
            self._remove(Path(path))
        return len(paths)

    def _kept_aside(self) -> Iterator[Kept]:
        try:
            for path in self._folder.glob(f"{ASIDE}/*/[!.]*"):
                with contextlib.suppress(FileNotFoundError):  # another worker may tidy, or a label may have come
                    status = path.lstat()
                    yield Kept(str(path), status.st_size, status.st_mtime)
        except OSError as error:
            raise LabelStoreError(f"cannot tidy the label store {self._folder}: {_reason(error)}") from error

    def _temporary_files(self) -> Iterator[Path]:
        for pattern in (f".*{_TEMPORARY}", f"*/.*{_TEMPORARY}", f"{ASIDE}/*/.*{_TEMPORARY}"):
            yield from self._folder.glob(pattern)


def write_whole(target: Path, content: bytes) -> None:
    """Put the content at `target` so that after a crash there is all of it or nothing; OSError if not.

    The file reaches the disk before it gets its name, and the name reaches the disk before we return:
    the row that will point here is committed after this.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        _write_synced(temporary, content)
        temporary.replace(target)
        _sync_folder(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _write_synced(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    try:
        left = memoryview(content)
        while left:  # a disk that is nearly full takes a part, and says why at the next write
            left = left[os.write(file, left) :]
        os.fsync(file)
    finally:
        os.close(file)  # on a network disk this too can say that there is no room


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _forget_outcome(late: "asyncio.Future[Any]") -> None:
    if not late.cancelled():
        late.exception()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
