"""What is said on the command lines of `erase` and `export`, and that a planted name is nowhere afterwards."""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import on_sqlite
from worker.labels.names import LabelName, aside_path

NAME = "Wilhelmina Tulpenburg"
PAYLOAD = json.dumps({"customer": {"name": NAME, "email": "mina@example.org"}})


@pytest.fixture
def database(folder: Path, filled_url: str) -> str:
    configured(folder, f'database.url = "{filled_url}"\nlabels.store = "file:{folder}/labels"\n{ACCOUNTS}')
    return filled_url


@pytest.fixture
def planted(folder: Path, database: str) -> Path:
    """A database file in which three completed returns of one customer are, with their labels; one is archived."""
    file = Path(database.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as shop, shop:
        for number in range(3):
            shop.execute(
                "INSERT INTO return_order (reference, payload, state, next_step, carrier_ref, due_at, updated_at)"
                " VALUES (?, ?, 'completed', 'track', ?, NULL, '2024-01-01 00:00:00.000')",
                (f"M-{number}", PAYLOAD, f"N{number}"),
            )
        shop.execute(
            "INSERT INTO status_transition (return_order_id, field, new_value, reason, raw)"
            " SELECT id, 'state', 'completed', ?1, json_quote(?1) FROM return_order WHERE reference LIKE 'M-%'",
            (f"left at the neighbour of {NAME}",),
        )
    for number in range(3):
        for path in (f"default/N{number}-1-0123456789ab.pdf", aside_path(LabelName("default", f"N{number}", 1))):
            label = folder / "labels" / path
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(f"%PDF {NAME}")
    assert called("archive", "--older-than", "1d", "--limit", "1").exit_code == 0
    return file


def with_the_name(folder: Path) -> list[str]:
    """As `grep -ra` finds it: in the database file, its journal, the label store, the archive, anything."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and NAME.encode() in p.read_bytes())


@on_sqlite
def test_a_planted_name_is_nowhere_after_erase_and_nothing_more_is_done_about_the_return(
    planted: Path, folder: Path
) -> None:
    assert "returns.db" in with_the_name(folder)
    reader = sqlite3.connect(planted)  # a program that has the file open, and reads nothing at the moment
    reader.execute("SELECT count(*) FROM return_order").fetchall()
    done = called("erase", "M-0", "M-1", "M-2", "--by", "anna", "--reason", "asked by letter")
    assert (done.exit_code, done.stderr) == (0, "3 returns erased\n")
    assert done.stdout == "".join(f"M-{n}: personal data erased\n" for n in range(3))
    assert NAME not in done.output
    assert with_the_name(folder) == []
    reader.close()
    shown = called("show", "M-0").stdout
    assert "anna: asked by letter" in shown and "its personal data was erased at" in shown
    assert "what you can do now" not in shown
    said = called("label", "M-1").stderr
    assert "no label 1" in said or "removed" in said
    for words in (("retry", "M-1"), ("poll", "M-1"), ("label", "M-1", "--refetch", "-o", "-")):
        done = called(*words)
        assert (done.exit_code, "was erased at" in done.stderr) == (1, True), done.stderr
    assert called("erase", "M-1").stderr == "0 returns erased, 1 erased before\n"


@on_sqlite
def test_a_copy_that_sqlite_left_where_rows_grew_and_moved_to_another_page_is_gone_too(
    folder: Path, database: str
) -> None:
    pick = random.Random(2).choice  # most sizes leave none
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as shop, shop:
        shop.execute("PRAGMA secure_delete = ON")
        for number in range(150):
            payload = json.dumps({"customer": {"name": NAME * pick([1, 5, 40])}})
            shop.execute("INSERT INTO return_order (reference, payload) VALUES (?, ?)", (f"G-{number}", payload))
        for number in range(150):
            shop.execute(
                "UPDATE return_order SET state = 'completed', next_step = 'track', carrier_ref = reference,"
                " due_at = NULL, updated_at = '2024-01-01 00:00:00.000', return_url = ? WHERE reference = ?",
                (NAME * pick([1, 20]), f"G-{number}"),
            )
    assert called("erase", "--older-than", "400d", "--yes").exit_code == 0
    assert with_the_name(folder) == []


@on_sqlite
def test_a_reader_of_an_older_state_is_told_and_the_next_try_ends_it(planted: Path, folder: Path) -> None:
    with closing(sqlite3.connect(planted, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM return_order").fetchone()
        done = called("erase", "M-1")
        assert done.exit_code == 1
        assert (
            "1 erased in the database, but not yet on the disk: the database's journal cannot be cut off" in done.stderr
        )
        assert [name for name in with_the_name(folder) if name.startswith("N1-")] == []  # a dashboard may read for days
    assert called("erase", "M-1", "M-0", "M-2").exit_code == 0
    assert with_the_name(folder) == []


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say which"),
        (("R-1", "--email", "a@b"), "say which"),
        (("--older-than", "soon"), "--older-than"),
        (("R-1", "--limit", "2"), "--limit goes with"),
        (("--email", "a@b", "--account", "default"), "looks in all accounts"),
        (("--email", "nobody"), "is no e-mail address"),
        (("--older-than", "0s"), "say --yes"),
    ],
)
@on_sqlite
def test_what_makes_no_sense_is_usage_and_changes_nothing(words: tuple[str, ...], said: str) -> None:
    done = called("erase", *words)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


@on_sqlite
def test_a_live_return_is_refused_with_the_way_there_and_the_others_are_erased(planted: Path) -> None:
    done = called("erase", "T-1", "M-1", "--dry-run")
    assert (done.exit_code, done.stdout) == (1, "M-1: would be erased\n")
    done = called("erase", "T-1", "M-1")
    assert (done.exit_code, done.stdout) == (1, "M-1: personal data erased\n")
    assert done.stderr == (
        "left: T-1: it is tracking: only what is over is erased; `cancel` withdraws it\n1 return erased, 1 refused\n"
    )
    assert called("erase", "nothing").exit_code == 1


@on_sqlite
def test_a_customer_is_exported_and_erased_by_address_and_many_are_asked_back(planted: Path, folder: Path) -> None:
    for words in (("erase", "--yes"), ("export",)):
        done = called(words[0], "--email", "mina@example.org", "--limit", "2", *words[1:])
        assert (done.exit_code, "more than 2 returns have that address" in done.stderr) == (2, True)
    assert called("erase", "--email", "mina@example.org").exit_code == 2  # there is no terminal to ask at
    done = called("export", "--email", "MINA@example.org", "--labels", str(folder / "out"))
    held: dict[str, Any] = json.loads(done.stdout)
    assert [each["payload"]["customer"]["name"] for each in held["returns"]] == [NAME] * 3
    assert [each["archived_at"] is not None for each in held["returns"]] == [True, False, False]
    assert all(NAME in each["transitions"][0]["reason"] for each in held["returns"])
    assert sum(path.is_file() for path in (folder / "out").rglob("*")) == 6
    assert (folder / "out" / "default" / "N0-1-0123456789ab.pdf").stat().st_mode & 0o777 == 0o600
    done = called("erase", "--email", "mina@example.org", "--yes")
    assert (done.exit_code, done.stderr) == (0, "3 returns erased\n")
    assert called("export", "--email", "mina@example.org").exit_code == 1


@on_sqlite
def test_what_is_old_is_counted_then_asked_then_erased_oldest_first(planted: Path) -> None:
    assert called("erase", "--older-than", "400d", "--dry-run").stderr == "3 returns would be erased\n"
    assert called("erase", "--older-than", "400d", "--limit", "1", "--yes").stderr == "1 return erased\n"
    assert called("erase", "--older-than", "400d", "--yes").stderr == "2 returns erased\n"
    assert called("erase", "--older-than", "400d").stderr == "0 returns erased\n"
