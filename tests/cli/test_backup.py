"""What `backup` writes, what it leaves alone, and what it says when it cannot."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import on_postgresql, on_sqlite

NAMED = "returns-20261103T030000Z.db"


@pytest.fixture
def database(folder: Path, filled_url: str) -> Path:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    return folder / "returns.db"


def references(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT reference FROM return_order ORDER BY id")]


def insert(connection: sqlite3.Connection, reference: str) -> None:
    connection.execute("INSERT INTO return_order (reference, payload) VALUES (?, '{}')", (reference,))


@on_sqlite
def test_a_backup_holds_everything_that_was_committed_and_nothing_that_was_not(database: Path, folder: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as writer:
        insert(writer, "COMMITTED")  # in the write-ahead log, where a plain copy of the file would miss it
        writer.execute("BEGIN IMMEDIATE")
        insert(writer, "OPEN")
        copied = subprocess.Popen(
            [sys.executable, "-m", "worker", "backup", "copy.db"], stderr=subprocess.PIPE, cwd=folder
        )
        while not (folder / "copy.db").exists():
            assert copied.poll() is None
        writer.execute("COMMIT")  # only to remember the time of the backup it waits for its turn to write
        assert copied.wait(30) == 0, copied.stderr and copied.stderr.read()
        assert copied.stderr is not None
        copied.stderr.close()
    assert references(folder / "copy.db")[-1] == "COMMITTED"
    assert len(references(folder / "copy.db")) == 14
    assert stat.S_IMODE((folder / "copy.db").stat().st_mode) == 0o600
    assert not (folder / "copy.db-wal").exists()


@on_sqlite
def test_a_backup_takes_the_place_of_the_last_one_and_is_remembered(database: Path, folder: Path) -> None:
    (folder / "copy.db").write_text("an older copy")
    result = called("backup", "copy.db")
    assert result.exit_code == 0, result.output
    assert "copy.db" in result.output and "checked" in result.output
    assert "label files are not in it" in result.output
    assert len(references(folder / "copy.db")) == 13
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute(
            "SELECT abs(julianday('now') - julianday(backed_up_at)) < 0.01 FROM database_place"
        ).fetchone() == (1,)


@on_sqlite
def test_in_a_folder_the_newest_are_kept_and_only_its_own_are_removed(database: Path, folder: Path) -> None:
    backups = folder / "backups"
    backups.mkdir()
    others = ["returns.db", "orders-20261103T030000Z.db", "returns-20261103T030000Z.db.gz", "returns-old.db"]
    for name in (NAMED, NAMED.replace("03T", "04T"), *others):
        (backups / name).touch()
    unfinished = backups / f".{NAMED}.abc.part"
    unfinished.touch()
    os.utime(unfinished, (0, 0))
    result = called("backup", "backups", "--keep", "2")
    assert result.exit_code == 0, result.output
    (made,) = [file for file in backups.iterdir() if file.stat().st_size]
    left = {file.name for file in backups.iterdir()}
    assert left == {made.name, NAMED.replace("03T", "04T"), *others}
    assert len(references(made)) == 13


@on_sqlite
def test_a_copy_that_was_just_made_is_kept_whatever_the_names_of_others_say(database: Path, folder: Path) -> None:
    backups = folder / "backups"
    backups.mkdir()
    for number in (1, 2, 3):
        (backups / f"returns-2099010{number}T000000Z.db").touch()
    result = called("backup", "backups", "--keep", "2")
    assert result.exit_code == 0, result.output
    assert "20990103T000000Z.db is named by a time to come" in result.output
    (made,) = [file for file in backups.iterdir() if file.stat().st_size]
    assert {file.name for file in backups.iterdir()} == {made.name, "returns-20990103T000000Z.db"}


@on_sqlite
def test_a_link_leads_to_where_the_copy_is_put_and_stays(database: Path, folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "link.db").symlink_to(folder / "elsewhere" / "copy.db")
    assert called("backup", "link.db").exit_code == 0
    assert (folder / "link.db").is_symlink()
    assert len(references(folder / "elsewhere" / "copy.db")) == 13


@on_sqlite
def test_a_backup_that_finds_no_room_leaves_the_last_one_and_no_rest(database: Path, folder: Path) -> None:
    assert called("backup", "copy.db").exit_code == 0
    before = (folder / "copy.db").read_bytes()
    room = len(before) - 4096
    result = subprocess.run(
        [sys.executable, "-m", "worker", "backup", "copy.db"],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith(f"error: cannot copy the database to {folder}/copy.db: ")
    assert (folder / "copy.db").read_bytes() == before
    assert list(folder.glob(".*")) == []


@on_sqlite
def test_a_damaged_database_makes_no_backup_and_leaves_the_last_one(database: Path, folder: Path) -> None:
    (folder / "copy.db").write_text("an older copy")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'return_order'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    result = called("backup", "copy.db")
    assert result.exit_code == 1, result.output
    assert "error: " in result.output
    assert (folder / "copy.db").read_text() == "an older copy"
    assert list(folder.glob(".*")) == []


@on_sqlite
@pytest.mark.parametrize("name", ["returns.db", "./returns.db", "returns.db-wal", "returns.db-worker", "link.db"])
def test_the_database_itself_is_never_written_over(database: Path, folder: Path, name: str) -> None:
    (folder / "link.db").symlink_to(database)
    result = called("backup", name)
    assert result.exit_code == 1
    assert "belongs to the database itself" in result.output
    assert len(references(database)) == 13


@on_sqlite
def test_a_missing_folder_a_keep_without_one_and_no_database_are_said(database: Path, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    result = called("backup", "pipe")
    assert (result.exit_code, "is no regular file" in result.output) == (1, True)
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    result = called("backup", "nowhere/copy.db")
    assert (result.exit_code, "No such file or directory" in result.output) == (1, True)
    assert called("backup", "copy.db", "--keep", "3").exit_code == 2
    database.unlink()
    result = called("backup", "copy.db")
    assert (result.exit_code, "there is no database at" in result.output) == (78, True)
    assert not database.exists()


@on_postgresql
def test_for_postgresql_it_says_how(database: Path, folder: Path) -> None:
    result = called("backup", "copy.db")
    assert result.exit_code == 1
    assert "pg_dump --format=custom" in result.output and "pg_restore" in result.output
    assert not (folder / "copy.db").exists()
