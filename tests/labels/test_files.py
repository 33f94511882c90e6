"""A label in a folder is whole, private and found again; or the store says why it is not there."""

import asyncio
import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from worker.labels import FileLabelStore, LabelMissing, LabelName, LabelStoreAway, LabelStoreError, VerifiedLabel, files

NAME = LabelName("default", "100123", 1)


def a_label(content: bytes = b"%PDF-1.4 label") -> VerifiedLabel:
    return VerifiedLabel(content, "application/pdf", 1, hashlib.sha256(content).hexdigest())


def everything(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "label's 100% é#?"


@pytest.fixture
def store(folder: Path) -> FileLabelStore:
    return FileLabelStore(folder)


async def test_a_label_put_is_the_label_got(store: FileLabelStore, folder: Path) -> None:
    location = await store.put(NAME, a_label(b"content"))
    assert location.startswith("file:///")
    assert await store.get(location) == b"content"
    assert [path.parent for path in everything(folder)] == [folder / "default"]


async def test_a_location_is_a_uri_that_survives_any_folder_name(store: FileLabelStore) -> None:
    location = await store.put(NAME, a_label())
    assert location.isascii()
    assert not set(location) & set(" #?")
    assert await store.get(location)


async def test_a_hostile_reference_stays_inside(store: FileLabelStore, folder: Path, tmp_path: Path) -> None:
    for reference in ("../../outside", "/etc/outside", "a\0b", "\ud800", "x" * 9999, ".."):
        location = await store.put(LabelName("default", reference, 1), a_label())
        assert await store.get(location) == a_label().content
    assert {path.parent for path in everything(tmp_path)} == {folder / "default"}


async def test_the_same_label_put_again_is_one_file(store: FileLabelStore, folder: Path) -> None:
    locations = await asyncio.gather(*(store.put(NAME, a_label()) for _ in range(20)))
    assert len(set(locations)) == 1
    assert len(everything(folder)) == 1


async def test_a_changed_label_leaves_the_earlier_one(store: FileLabelStore) -> None:
    first = await store.put(NAME, a_label(b"one"))
    second = await store.put(NAME, a_label(b"two"))
    assert (await store.get(first), await store.get(second)) == (b"one", b"two")


async def test_labels_are_for_the_owner_only(store: FileLabelStore, folder: Path) -> None:
    before = os.umask(0)
    try:
        await store.put(NAME, a_label())
    finally:
        os.umask(before)
    [file] = everything(folder)
    assert mode(file) == 0o600
    assert mode(file.parent) == 0o700
    assert mode(folder) == 0o700


async def test_what_is_kept_aside_is_for_the_owner_only_and_lies_among_no_labels(
    store: FileLabelStore, folder: Path
) -> None:
    before = os.umask(0)
    try:
        await store.keep_aside(LabelName("default", "../../outside", 1), b"<html>")
    finally:
        os.umask(before)
    [file] = everything(folder.parent)
    assert file.parent == folder / "refused-labels" / "default"
    assert (mode(file), mode(file.parent), mode(file.parent.parent), mode(folder)) == (0o600, 0o700, 0o700, 0o700)


async def test_half_of_what_was_to_be_kept_aside_is_tidied_as_half_a_label(store: FileLabelStore, folder: Path) -> None:
    await store.keep_aside(NAME, b"<html>")
    half = folder / "refused-labels" / "default" / ".100123-1.00ff.part"
    half.write_bytes(b"<ht")
    os.utime(half, (0, 0))
    assert await store.tidy_aside() == 0  # its writer may still run, for all that is known there
    assert await store.tidy(timedelta(hours=1)) == 1
    assert await store.aside(NAME) == b"<html>"


async def test_a_label_is_on_the_disk_before_its_name_and_its_name_before_we_return(
    store: FileLabelStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(file: int) -> None:
        seen.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        real_fsync(file)

    def replace(path: Path, target: Path) -> Path:
        seen.append("name")
        return real_replace(path, target)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    await store.put(NAME, a_label())
    assert seen == ["folder", "file", "name", "folder"]


@pytest.mark.parametrize("call", ["write", "fsync", "close"])
async def test_a_disk_that_fails_leaves_nothing(
    store: FileLabelStore, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def fail(file: int, *rest: object) -> object:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            return real(file, *rest)
        if call == "close":
            real(file)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, fail)
        with pytest.raises(LabelStoreError, match="No space left on device") as caught:
            await store.put(NAME, a_label())
    assert str(folder / "default") in str(caught.value)
    assert everything(folder) == []


FULL_DISK = """
import asyncio, resource, signal, sys
from pathlib import Path
from worker.labels import FileLabelStore, LabelName, LabelStoreError, VerifiedLabel

# A limit on file size is a disk that takes part of the file and then refuses: real write, real error.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
store = FileLabelStore(Path(sys.argv[1]))
label = VerifiedLabel(b"x" * 10_000, "application/pdf", 1, "ab" * 32)
try:
    asyncio.run(store.put(LabelName("default", "1", 1), label))
except LabelStoreError as error:
    print(error)
"""


def test_a_disk_that_is_really_full_leaves_nothing(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"},
    )
    assert "cannot write the label" in done.stdout
    assert os.strerror(errno.EFBIG) in done.stdout
    assert (folder / "default").is_dir()
    assert everything(folder) == []


async def test_a_label_that_is_gone_is_missing(store: FileLabelStore, folder: Path) -> None:
    location = await store.put(NAME, a_label())
    everything(folder)[0].unlink()
    with pytest.raises(LabelMissing, match="default"):
        await store.get(location)


async def test_nothing_outside_the_folder_is_ever_read(store: FileLabelStore, folder: Path) -> None:
    await store.put(NAME, a_label())
    secret = folder.parent / "secret"
    secret.write_bytes(b"secret")
    (folder / "link.pdf").symlink_to(secret)
    (folder / "circle").symlink_to(folder / "circle")
    inside = folder.as_uri()
    for location in (
        secret.as_uri(),
        f"{inside}/../secret",
        f"{inside}/%2e%2e/secret",
        f"{inside}/link.pdf",
        f"{inside}/circle",
        f"{inside}/a%00b",
        f"{inside}/{'x' * 5000}",
        f"{inside}/default",
        inside,
        inside.replace("file:///", "file://host/"),
        str(folder / "default"),
        "s3://bucket/x",
        "file://[",
        "",
    ):
        with pytest.raises(LabelMissing):
            await store.get(location)


async def test_a_folder_behind_a_link_is_the_same_folder(store: FileLabelStore, folder: Path) -> None:
    location = await store.put(NAME, a_label())
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert await FileLabelStore(link).get(location) == a_label().content
    assert await store.get(await FileLabelStore(link).put(NAME, a_label())) == a_label().content


async def test_a_disk_that_cannot_be_read_is_not_a_missing_label() -> None:
    with pytest.raises(LabelStoreError, match="Input/output error") as caught:
        await FileLabelStore(Path("/proc/self")).get("file:///proc/self/mem")  # a file whose first page is not there
    assert not isinstance(caught.value, LabelMissing)


async def test_a_store_that_works_passes_its_check_and_stays_empty(store: FileLabelStore, folder: Path) -> None:
    await store.check()
    assert everything(folder) == []


async def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")  # refused to root as well, unlike a folder without permission
    with pytest.raises(LabelStoreError, match=r"File exists.*may write to.*\[labels\] store"):
        await FileLabelStore(tmp_path / "file").check()
    with pytest.raises(LabelStoreError, match="Not a directory"):
        await FileLabelStore(tmp_path / "file" / "labels").put(NAME, a_label())


async def test_tidying_removes_only_what_was_abandoned(store: FileLabelStore, folder: Path) -> None:
    location = await store.put(NAME, a_label())
    abandoned, running = folder / "default" / ".a.pdf.00ff.part", folder / "default" / ".b.pdf.00ff.part"
    for file in (abandoned, running, folder / ".check.00ff.part"):
        file.write_bytes(b"half")
    for file in (abandoned, folder / ".check.00ff.part", everything(folder)[0]):
        os.utime(file, (0, 0))
    assert await store.tidy(timedelta(hours=1)) == 2
    assert running.exists()
    assert await store.get(location)


async def test_tidying_a_store_that_does_not_exist_yet_is_fine(store: FileLabelStore) -> None:
    assert await store.tidy(timedelta(0)) == 0


async def test_a_disk_that_hangs_is_given_up_and_what_it_does_at_last_harms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(files, "write_whole", lambda target, content: answers.wait())
    store = FileLabelStore(tmp_path, patience=0.05)
    with pytest.raises(LabelStoreAway, match=r"has not answered for 0\.05 s"):
        await store.check()
    answers.set()
    monkeypatch.undo()
    await FileLabelStore(tmp_path).check()


@pytest.mark.parametrize("kind", ["pipe", "huge"])
async def test_what_is_no_label_in_the_place_of_one_takes_neither_a_thread_nor_memory(
    store: FileLabelStore, folder: Path, kind: str
) -> None:
    location = await store.put(NAME, a_label())
    (file,) = everything(folder)
    file.unlink()
    os.mkfifo(file) if kind == "pipe" else file.touch()
    if kind == "huge":
        os.truncate(file, 1 << 40)  # of which nothing is on the disk
    async with asyncio.timeout(5):
        with pytest.raises(LabelStoreError):
            await store.get(location)
