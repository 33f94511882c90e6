"""SQLite's files are their owner's alone, unless somebody decided otherwise about the file; no link leads elsewhere."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.store.database import Database
from worker.store.failures import DatabaseRefused
from worker.store.schema import migrate


@contextmanager
def umask(number: int) -> Iterator[None]:
    before = os.umask(number)
    try:
        yield
    finally:
        os.umask(before)


async def modes_of(folder: Path) -> dict[str, int]:
    """The modes of a migrated database's files, while a worker has it."""
    database = Database(f"sqlite:///{folder}/returns.db")
    database.hold_file()
    await migrate(database)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    await database.close()
    return modes


@pytest.mark.parametrize("mask", [0o000, 0o007, 0o022, 0o077])
async def test_a_new_file_and_those_beside_it_are_their_owners_alone_whatever_the_umask(
    tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        modes = await modes_of(tmp_path)
    assert modes == dict.fromkeys(("returns.db", "returns.db-wal", "returns.db-shm", "returns.db-worker"), 0o600)


async def test_a_file_that_is_there_keeps_its_mode_and_its_log_has_the_same(tmp_path: Path) -> None:
    """This is how a shop of another user is let in."""
    (tmp_path / "returns.db").touch()
    (tmp_path / "returns.db").chmod(0o660)
    with umask(0o077):
        modes = await modes_of(tmp_path)
    assert modes == dict.fromkeys(("returns.db", "returns.db-wal", "returns.db-shm"), 0o660) | {
        "returns.db-worker": 0o600
    }


@pytest.mark.parametrize("kind", ["link", "dangling link", "second name", "pipe", "folder"])
def test_a_witness_that_leads_elsewhere_is_neither_opened_nor_given_away(tmp_path: Path, kind: str) -> None:
    """A command as root gives the witness to the owner of the database, and must not give him another file."""
    (tmp_path / "returns.db").touch()
    if os.geteuid() == 0:
        os.chown(tmp_path / "returns.db", 12345, 12345)
    elif kind == "second name":
        pytest.skip("only root gives files away")
    target, witness = tmp_path / "shadow", tmp_path / "returns.db-worker"
    if kind != "dangling link":
        target.write_text("root's")
    match kind:
        case "second name":
            witness.hardlink_to(target)
        case "pipe":
            os.mkfifo(witness)
        case "folder":
            witness.mkdir()
        case _:
            witness.symlink_to(target)
    with pytest.raises(DatabaseRefused, match=r"^cannot lock .*returns\.db-worker: .*remove it"):
        Database(f"sqlite:///{tmp_path}/returns.db").hold_file()
    if kind == "dangling link":
        assert not target.exists()
    else:
        assert (target.read_text(), target.stat().st_uid) == ("root's", os.geteuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_witness_follows_the_owner_of_its_database(tmp_path: Path) -> None:
    (tmp_path / "returns.db").touch()
    os.chown(tmp_path / "returns.db", 12345, 12346)
    database = Database(f"sqlite:///{tmp_path}/returns.db")
    database.hold_file()
    status = (tmp_path / "returns.db-worker").stat()
    assert (status.st_uid, status.st_gid) == (12345, 12346)
    assert database.file is not None
    database.file.close()
