"""What the command `adopt` reads of a file, and how it says what is wrong with a line of it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from worker.cli import adopt


@pytest.fixture
def ready(folder: Path) -> Path:
    configured(folder, f'database.url = "sqlite:///{folder}/returns.db"\n{ACCOUNTS}')
    assert called("migrate").exit_code == 0
    return folder


def rows(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "returns.db")) as database:
        return database.execute(
            "SELECT account, reference, carrier_ref, payload, state FROM return_order ORDER BY id"
        ).fetchall()


CSV = """\ufeffreference,account,carrier_ref,payload
00123,,9RET1,"{""description"":
""two lines""}"
B,pilot,77,
"""
LINES = """{"reference": "00123", "carrier_ref": "9RET1", "payload": {"description": "two lines"}}

{"reference": "B", "carrier_ref": "77", "account": "pilot"}
"""


@pytest.mark.parametrize("text", [CSV, LINES], ids=["csv", "json lines"])
def test_a_file_is_read_as_it_is_meant_and_texts_stay_texts(ready: Path, text: str) -> None:
    (ready / "there").write_text(text)
    done = called("adopt", "--from", "there", "--unasked", "--by", "anna")
    assert (done.exit_code, done.stderr) == (0, "2 returns adopted\n"), done.output
    assert done.stdout == "00123: adopted as 9RET1\nB: adopted as 77\n"
    assert rows(ready) == [
        ("default", "00123", "9RET1", '{"description": "two lines"}', "tracking"),
        ("pilot", "B", "77", "{}", "tracking"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reference,number\nA,9RET1\n", "there:1: there is no column 'carrier_ref'"),
        ("reference,carrier_ref,carrier_ref\n", "there:1: there are several columns 'carrier_ref'"),
        ("reference,carrier_ref\nA,9RET1,x\n", "there:2: has 3 cells, and the header 2"),
        ("reference,carrier_ref\nA,\n", "there:2: carrier_ref: is missing"),
        ('reference,carrier_ref\nA,9RET1\nB,"9RET2\nC,9RET3\n', "there:3: a quote that begins here"),
        ('reference,carrier_ref\nA,"9RET1' + "x" * 1_000_100, "there:2: a quote that begins here"),
        ("reference,carrier_ref,payload\nA,9RET1,[1]\n", "there:2: payload: must be an object"),
        ("reference,carrier_ref,weight\nA,9RET1,3\n", "there:2: weight: is not known here"),
        ('{"reference": "A", "carrier_ref": 9}\n', "there:1: carrier_ref: must be text"),
        ('{"reference": "A", "carrier_ref": "9RET1"}\n{"ref', "there:2: "),
        ("reference,carrier_ref\nA,9RET1\nA,9RET2\nB,9RET2\n", "there:3: the same reference as there:2"),
        ("reference,carrier_ref\n", "there: there are no returns in it"),
    ],
)
def test_a_bad_line_is_said_by_its_number_and_nothing_goes_in(ready: Path, text: str, said: str) -> None:
    (ready / "there").write_text(text)
    done = called("adopt", "--from", "there", "--unasked")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0].startswith(said)
    assert done.stderr.endswith("\nnothing was adopted\n")
    assert rows(ready) == []


def test_a_file_that_is_too_large_is_not_read_to_its_end(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "_MOST_BYTES", 10)
    (ready / "there").write_text(CSV)
    done = called("adopt", "--from", "there", "--unasked")
    assert (done.exit_code, "larger than 10 bytes" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["A"],
        ["--carrier-ref", "9RET1"],
        ["A", "--from", "there"],
        ["--from", "there", "--carrier-ref", "9RET1"],
        ["--from", "there", "--payload", "x"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_wrong_usage(folder: Path, words: list[str]) -> None:
    done = called("adopt", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
