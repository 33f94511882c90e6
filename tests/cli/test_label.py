"""What the command `label` takes and refuses, for labels that were refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured


@pytest.mark.parametrize(
    "words",
    [
        ["--unchecked"],
        ["--unchecked", "-o", "x"],
        ["--accept", "--refetch"],
        ["--accept", "--refetch", "--unchecked"],
        ["--accept", "--unchecked"],
        ["--accept", "-o", "x"],
        ["--by", "anna"],
        ["--refetch", "--reason", "it prints"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_of_a_refused_label_is_wrong_usage(folder: Path, words: list[str]) -> None:
    done = called("label", "R-1", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --")


@pytest.mark.parametrize("words", [["--accept"], ["--refetch", "--unchecked", "-o", "x"]], ids=" ".join)
def test_what_is_not_at_the_carrier_has_no_label(folder: Path, words: list[str]) -> None:
    configured(folder, ACCOUNTS)
    assert called("migrate").exit_code == 0
    (folder / "returns.jsonl").write_text('{"reference": "R-1", "payload": {}}\n')
    assert called("add", "returns.jsonl").exit_code == 0
    done = called("label", "R-1", *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'R-1' is not at the carrier" in done.stderr
    assert not (folder / "x").exists()


def test_a_return_that_is_over_says_why_it_has_no_label_and_what_leads_on(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    assert called("migrate").exit_code == 0
    (folder / "returns.jsonl").write_text('{"reference": "R-1", "payload": {}}\n')
    assert called("add", "returns.jsonl").exit_code == 0
    with closing(sqlite3.connect(folder / "returns.db")) as database, database:
        database.execute(
            "UPDATE return_order SET state = 'completed', tracking_status = 'delivered', due_at = NULL,"
            " carrier_ref = '9RET1', label_error_code = 'label_unusable', label_error_message = 'the PDF is cut off'"
        )
    for command in ("label", "show"):
        done = called(command, "R-1")
        assert "label_unusable: the PDF is cut off" in done.output
        assert "`returns-worker label R-1 --accept`" in done.output
