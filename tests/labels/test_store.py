"""One line of configuration names a store, and a wrong one says what would be right."""

import asyncio
import hashlib
import os
import socket
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from worker.labels import (
    FileLabelStore,
    LabelMissing,
    LabelName,
    LabelStore,
    LabelStoreError,
    LabelStoreUnusable,
    VerifiedLabel,
    names,
    open_label_store,
)

LABEL = VerifiedLabel(b"x", "application/pdf", 1, hashlib.sha256(b"x").hexdigest())
NAME = LabelName("default", "a ref/../with & 100%", 1)


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("file:labels", "base/labels"),
        ("file:./a/b", "base/a/b"),
        ("file:a%20b#c%3Fd", "base/a b#c?d"),
        ("file:{root}/abs", "abs"),
        ("file://{root}/abs", "abs"),
        ("file://localhost{root}/abs", "abs"),
    ],
)
async def test_a_folder_is_named_in_these_ways(tmp_path: Path, url: str, folder: str) -> None:
    store = open_label_store(url.format(root=tmp_path), base=tmp_path / "base")
    assert os.listdir(tmp_path) == []  # opening touches nothing
    await store.put(NAME, LABEL)
    assert (tmp_path / folder / "default").is_dir()


def test_a_relative_folder_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_label_store("file:labels")
    assert isinstance(store, FileLabelStore)
    assert store._folder == tmp_path / "labels"


@pytest.mark.parametrize(
    "url", ["", "labels", "/abs", "file:", "file://", "file://host/x", "http://h/x", "memory:///", "S3"]
)
def test_anything_else_is_refused_and_told_what_is_accepted(url: str) -> None:
    with pytest.raises(ValueError, match=r"file:FOLDER.*s3://.*gs://.*az://"):
        open_label_store(url)


def test_without_obstore_a_bucket_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "worker.labels.objects", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)
    for name in [name for name in sys.modules if name.startswith("obstore.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(LabelStoreError, match=r"pip install 'returns-worker\[object-store\]'"):
        open_label_store("s3://bucket/labels")


def bucket() -> LabelStore:
    memory = pytest.importorskip("obstore.store").MemoryStore()
    from worker.labels.objects import ObjectLabelStore

    return ObjectLabelStore(memory, "s3://bucket/prefix")


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LabelStore:
    return bucket() if request.param == "bucket" else FileLabelStore(tmp_path / "labels")


async def test_every_store_gives_back_what_it_was_given(store: LabelStore) -> None:
    await store.check()
    location = await store.put(NAME, LABEL)
    assert await store.put(NAME, LABEL) == location
    assert location.isascii()
    assert await store.get(location) == LABEL.content
    assert await store.tidy(timedelta(0)) == 0


async def test_every_store_tells_a_missing_label_from_its_own_trouble(store: LabelStore) -> None:
    location = await store.put(NAME, LABEL)
    folder = location.rsplit("/", 1)[0]
    for wrong in (f"{location}x", f"{folder}/../../x", f"{folder}//x", folder, "s3://other/x", "file:///etc/passwd"):
        with pytest.raises(LabelMissing):
            await store.get(wrong)


async def test_every_store_keeps_the_newest_bytes_of_a_refused_label_aside(store: LabelStore) -> None:
    other, second = LabelName("other", NAME.carrier_ref, 1), LabelName(NAME.account, NAME.carrier_ref, 2)
    for content in (b"%PDF half", b"<html>"):
        await store.keep_aside(NAME, content)
    await store.keep_aside(other, b"another account's")
    assert (await store.aside(NAME), await store.aside(other)) == (b"<html>", b"another account's")
    with pytest.raises(LabelMissing):
        await store.aside(second)
    for _ in range(2):  # whoever forgets it twice has no trouble
        await store.forget_aside(NAME)
    with pytest.raises(LabelMissing):
        await store.aside(NAME)
    assert await store.aside(other) == b"another account's"


async def test_no_store_keeps_refused_labels_for_ever(store: LabelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.tidy_aside() == 0
    await store.keep_aside(NAME, b"x" * 60)
    location = await store.put(NAME, LABEL)
    assert await store.tidy_aside() == 0
    monkeypatch.setattr(names, "MOST_BYTES", 100)
    await asyncio.sleep(0.02)  # the two must not be of one moment
    await store.keep_aside(LabelName("default", "newer", 1), b"x" * 60)
    assert await store.tidy_aside() == 1
    with pytest.raises(LabelMissing):
        await store.aside(NAME)
    monkeypatch.setattr(names, "LONGEST", timedelta(seconds=-60))
    assert await store.tidy_aside() == 1
    assert await store.get(location) == LABEL.content


async def test_every_store_finds_all_that_it_keeps_of_a_return_and_nothing_of_another(
    store: LabelStore, tmp_path: Path
) -> None:
    older = VerifiedLabel(b"y", "image/png", 1, hashlib.sha256(b"y").hexdigest())
    mine = [
        await store.put(name, label)
        for name in (NAME, LabelName("default", NAME.carrier_ref, 2))
        for label in (LABEL, older)
    ]
    before_a_rename = [await store.put(LabelName("former", NAME.carrier_ref, 1), label) for label in (LABEL, older)]
    await store.keep_aside(NAME, b"refused")
    left_by_a_kill = tmp_path / "labels" / "default" / f".{mine[0].rpartition('/')[2]}.0123456789abcdef.part"
    if isinstance(store, FileLabelStore):
        left_by_a_kill.write_bytes(b"half")
    others = [
        await store.put(LabelName(account, ref, 1), LABEL)
        for account, ref in (("default", "a"), ("default", f"{NAME.carrier_ref}-1"), ("other", NAME.carrier_ref))
    ]
    assert await store.all_of([("default", "unknown"), ("unused", "a")], []) == []

    found = await store.all_of([("default", NAME.carrier_ref)], [before_a_rename[0]])

    assert {*mine, *before_a_rename} <= {*found} and not {*others} & {*found}
    assert len(found) == 7 + isinstance(store, FileLabelStore)
    for _ in range(2):  # to remove them twice is no trouble
        await store.remove(found)
    assert await store.all_of([("default", NAME.carrier_ref)], []) == []
    assert not left_by_a_kill.exists()
    for location in others:
        assert await store.get(location) == LABEL.content
    for outside in ("file:///etc/passwd", "s3://other/default/a-1-0123456789ab.pdf"):
        with pytest.raises(LabelStoreError, match=r"outside of the label store|not a location"):
            await store.all_of([], [outside])


async def test_a_bucket_that_may_not_remove_says_so_where_it_must() -> None:
    store = bucket()
    from obstore.exceptions import PermissionDeniedError

    async def refuse(_: object) -> None:
        raise PermissionDeniedError("AccessDenied")

    location = await store.put(NAME, LABEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store._store), "delete_async", lambda _, path: refuse(path))  # type: ignore[attr-defined]
        with pytest.raises(LabelStoreError, match="cannot remove"):
            await store.remove([location])


def test_the_newest_refused_labels_are_kept_as_long_and_as_many_as_may_be() -> None:
    now, day = 1e9, 86400.0
    kept = [
        names.Kept("large", 600_000_000, now - 1),
        names.Kept("fits", 300_000_000, now - day),
        names.Kept("too much", 200_000_000, now - 2 * day),
        names.Kept("too old", 1, now - 31 * day),
    ]
    assert names.superfluous(reversed(kept), now) == ["too much", "too old"]


async def test_a_label_in_a_bucket_has_the_url_as_its_location_and_its_type() -> None:
    store = bucket()
    location = await store.put(LabelName("default", "100123", 1), LABEL)
    assert location == f"s3://bucket/prefix/default/100123-1-{LABEL.sha256[:12]}.pdf"
    found = await store._store.get_async(location.removeprefix("s3://bucket/prefix/"))  # type: ignore[attr-defined]
    assert found.attributes["Content-Type"] == "application/pdf"


async def test_a_bucket_that_takes_no_removals_keeps_what_it_has_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = bucket()
    from obstore.exceptions import PermissionDeniedError

    async def refuse(_: object) -> None:
        raise PermissionDeniedError("AccessDenied")

    await store.keep_aside(NAME, b"x")
    monkeypatch.setattr(type(store._store), "delete_async", lambda _, path: refuse(path))  # type: ignore[attr-defined]
    await store.forget_aside(NAME)
    monkeypatch.setattr(names, "LONGEST", timedelta(seconds=-60))
    assert await store.tidy_aside() == 0
    assert await store.aside(NAME) == b"x"


async def test_a_bucket_that_cannot_be_reached_says_where_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    with socket.socket() as bound:  # bound but not listening: whoever connects is refused
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{bound.getsockname()[1]}")
        for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "hush", "ALLOW_HTTP": "true"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        store = open_label_store("s3://bucket/prefix")
        for attempt in (store.put, lambda *_: store.check()):
            with pytest.raises(LabelStoreError, match=r"s3://bucket/prefix.*sending request.*credentials") as caught:
                await attempt(NAME, LABEL)
            assert "\n" not in str(caught.value)
            assert "hush" not in str(caught.value)
        for reading in (store.get("s3://bucket/prefix/default/1-1-0.pdf"), store.aside(NAME)):
            with pytest.raises(LabelStoreError, match="cannot read") as caught:
                await reading
            assert not isinstance(caught.value, LabelMissing)
        for keeping in (store.keep_aside(NAME, b"x"), store.tidy_aside()):
            with pytest.raises(LabelStoreError, match="s3://bucket/prefix"):
                await keeping


def test_a_container_without_its_account_is_no_store_and_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(LabelStoreUnusable, match=r"^az://container cannot be opened as label store: .*Account"):
        open_label_store("az://container")
