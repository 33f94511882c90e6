"""What is said on the command line of `archive`."""

import sqlite3
from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import on_sqlite


@pytest.fixture
def database(folder: Path, filled_url: str) -> str:
    configured(folder, f'database.url = "{filled_url}"\n{ACCOUNTS}')
    return filled_url


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("words", [(), ("--older-than", "long"), ("--older-than", "1h", "--limit", "0")], ids=str)
def test_how_long_ago_must_be_said_and_everything_must_make_sense(words: tuple[str, ...]) -> None:
    done = called("archive", *words)
    assert done.exit_code == 2
    assert "--older-than" in done.output or "--limit" in done.output


@pytest.mark.usefixtures("database")
def test_only_what_is_over_long_enough_and_of_the_account_is_counted_and_moved() -> None:
    for words, count in (
        (("--older-than", "1h"), 0),
        (("--older-than", "0s", "--account", "default"), 0),
        (("--older-than", "0s", "--account", "pilot"), 1),
    ):
        assert called("archive", *words, "--dry-run").stderr.startswith(f"{count} return")
        assert called("archive", *words).stderr.startswith(f"{count} return")
    assert called("list", "--state", "completed").stdout.strip() == ""
    shown = called("show", "D-1")
    assert "was archived at" in shown.stderr and "nothing more is done about it" in shown.stdout
    assert "D-1" in called("find", "D-1").stdout
    assert called("show", "D-1", "--account", "default").exit_code == 1


@on_sqlite
def test_what_a_shop_refers_to_is_named_and_left_and_nothing_has_failed(database: str) -> None:
    with sqlite3.connect(database.removeprefix("sqlite:///")) as shop:
        shop.execute("CREATE TABLE refund (return_id INTEGER REFERENCES return_order ON DELETE CASCADE)")
        shop.execute("INSERT INTO refund SELECT id FROM return_order WHERE reference = 'D-1'")
    refers = '"refund" ("return_id") refers to it [foreign key 0]'
    done = called("archive", "--older-than", "0s", "--dry-run")
    assert (done.exit_code, done.stderr) == (0, f"0 returns would be archived\n1 return would be left: {refers}\n")
    done = called("archive", "--older-than", "0s")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (0, f"left: D-1: {refers}")
    assert "0 returns archived, 1 left in" in done.stderr
    assert shop.execute("SELECT count(*) FROM refund").fetchone() == (1,)


@on_sqlite
def test_what_the_database_does_not_let_go_is_named_and_the_command_has_failed(database: str) -> None:
    with sqlite3.connect(database.removeprefix("sqlite:///")) as shop:
        shop.execute("UPDATE return_order SET state = 'completed', due_at = NULL WHERE reference LIKE 'T-%'")
        shop.execute(
            "CREATE TRIGGER kept BEFORE DELETE ON return_order WHEN OLD.reference <> 'T-3'"
            " BEGIN SELECT RAISE(ABORT, 'kept for the tax office'); END"
        )
    done = called("archive", "--older-than", "0s")
    first, last, error = done.stderr.splitlines()
    assert first == "left: T-0, T-1, T-2, T-4, T-5, T-6, T-7, T-8, T-9, T-10, and 2 more: kept for the tax office"
    assert last.startswith("1 return archived, 12 left in")
    assert (done.exit_code, "by a rule that was added to it" in error) == (1, True)


@on_sqlite
def test_a_rule_that_meets_any_other_command_is_one_line(database: str) -> None:
    with sqlite3.connect(database.removeprefix("sqlite:///")) as shop:
        shop.execute(
            "CREATE TRIGGER kept BEFORE INSERT ON carrier_account BEGIN SELECT RAISE(ABORT, 'not on a Friday'); END"
        )
    done = called("accounts", "hold", "default")
    said = "error: the database refuses it by a rule that was added to it: not on a Friday\n"
    assert (done.exit_code, done.stderr) == (1, said)
