"""Creations in doubt are one file: `list --worklist` writes it, a person fills it in, `resolve --from` does it."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere, on_sqlite
from tests.process.shop import Shop

FORMULA = "=HYPERLINK(1)"
HELD = (
    ("default", "R-1", "Anna"),
    ("default", FORMULA, "\x1b=Bob;\x1b[2J"),
    ("default", "'R-3", "Carol"),
    ("pilot", "R-1", "Dave"),
)
HEAD = "reference,account,name,postal_code,sent_at,carrier_ref\n"
States = Callable[[], dict[tuple[str, str], tuple[str, str | None]]]


@pytest.fixture
def states(folder: Path, filled_url: str) -> States:
    """Four creations in doubt beside returns that are followed; what each return's state and number are."""
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    elsewhere(_fill(filled_url))
    statement = "SELECT account, reference, state, carrier_ref FROM return_order WHERE reference NOT LIKE 'T-1_'"
    return lambda: {
        (row["account"], row["reference"]): (row["state"], row["carrier_ref"])
        for row in elsewhere(Shop(filled_url).execute(statement))
    }


async def _fill(url: str) -> None:
    shop = Shop(url)
    for account, reference, name in HELD:
        address = {"name": name, "address": {"postal_code": "1601 LK"}}
        await shop.insert(reference, {"customer": address}, account)
    await shop.execute(
        "UPDATE return_order SET state = 'needs_attention', error_code = 'create_outcome_unknown', due_at = NULL,"
        " create_started_at = '2026-06-04 10:00:00', first_attempt_at = '2026-06-04 09:00:00' WHERE carrier_ref IS NULL"
    )


def resolved(folder: Path, content: str | bytes, *words: str) -> Any:
    (folder / "list.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return called("resolve", "--from", "list.csv", *words)


def test_what_is_in_doubt_is_written_filled_in_and_done_and_no_cell_is_a_formula(folder: Path, states: States) -> None:
    done = called("list", "--state", "needs_attention", "--worklist")
    assert (done.exit_code, done.stderr) == (0, "4 returns in doubt\n")
    assert done.stdout.startswith(HEAD)
    lines = list(csv.reader(io.StringIO(done.stdout)))
    assert lines[1:] == [
        ["R-1", "default", "Anna", "1601 LK", "2026-06-04 09:00:00", ""],
        ["'=HYPERLINK(1)", "default", "' =Bob; [2J", "1601 LK", "2026-06-04 09:00:00", ""],
        ["''R-3", "default", "Carol", "1601 LK", "2026-06-04 09:00:00", ""],
        ["R-1", "pilot", "Dave", "1601 LK", "2026-06-04 09:00:00", ""],
    ]
    for line, number in zip(lines, ("carrier_ref", " 9RET1 ", "9RET2", "None", ""), strict=True):
        line[5] = number
    # As a spreadsheet in the Netherlands saves it.
    filled = "\ufeff" + "".join(";".join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)
    before = states()
    would = resolved(folder, filled, "--dry-run")
    assert (would.exit_code, would.stderr, states()) == (0, "3 returns would be changed\n", before)
    done = resolved(folder, filled, "--by", "anna", "--reason", "portal")
    assert (done.exit_code, done.stderr) == (0, "3 returns changed\n")
    assert "resolved: it is 9RET1 at the carrier; by anna: portal" in done.stdout
    assert states() == before | {
        ("default", "R-1"): ("tracking", "9RET1"),
        ("default", FORMULA): ("tracking", "9RET2"),
        ("default", "'R-3"): ("pending", None),
    }


@on_sqlite
def test_what_makes_no_sense_is_said_by_line_and_nothing_is_done(folder: Path, states: States) -> None:
    before = states()
    lines = [
        "R-1,default,,,,9RET1",
        "'=HYPERLINK(1),default,,,,T-0",
        "''R-3,default,,,,1.23E+11",
        "R-1,pilot,,,,7",
        "R-1,pilot,,,,8",
        "9,default,,,,9RET3",
        "R-1,nobody,,,,9RET4",
        "'=HYPERLINK(1),default,,,9RET5",
        "''R-3,default,,,,../x",
        "R-1,,,,,9RET6",
        "R-1,default,,,,geen",
    ]
    done = resolved(folder, HEAD + "\n".join(lines))
    assert (done.exit_code, done.stdout, states()) == (1, "", before)
    assert done.stderr.splitlines() == [
        "line 3: T-0 is T-0's already",
        "line 4: 1.23E+11: a spreadsheet has shortened the number; make its column text, and type it once more",
        "line 5: R-1 is on another line too",
        "line 6: R-1 is on another line too",
        "line 7: there is no return with reference '9' in account default; has a spreadsheet changed it?",
        "line 8: account nobody is not configured here",
        "line 9: has 5 cells, and the header 6: quote a cell that has a delimiter in it",
        "line 10: carrier_ref: ../x is no number of this carrier's",
        "line 11: account: is empty",
        "line 12: carrier_ref: geen has no digit; write none where the carrier has none",
        "nothing was changed",
    ]
    done = resolved(folder, f"{HEAD}R-1,default,,,,9RET1\n''R-3,default,,,,9RET1\n")
    assert done.stderr.splitlines()[:2] == [f"line {number}: 9RET1 is on another line too" for number in (2, 3)]
    assert resolved(folder, "PK\x03\x04").stderr.startswith("line 1: there is no column 'reference', 'account'")
    assert states() == before


@on_sqlite
def test_an_old_list_changes_no_number_that_was_given_since(folder: Path, states: States) -> None:
    assert called("resolve", "R-1", "--account", "default", "--carrier-ref", "9RET1").exit_code == 0
    before = states()
    for words in ([], ["--dry-run"]):
        done = resolved(folder, f"{HEAD}R-1,default,,,,9RET2\n", *words)
        assert (done.exit_code, states()) == (1, before)
        assert "it is at the carrier by now, as 9RET1: correct that by resolving it by itself" in done.output
    done = resolved(folder, f"{HEAD}R-1,default,,,,9RET2\n''R-3,default,,,,9RET3\n")
    assert (done.exit_code, states()) == (1, before | {("default", "'R-3"): ("tracking", "9RET3")})


@on_sqlite
def test_a_list_names_what_it_leaves_out(folder: Path, states: States) -> None:
    done = called("list", "--worklist", "--limit", "2", "--account", "default")
    assert done.stderr == "2 returns in doubt, and there are more: --limit says how many are listed\n"
    for words in (["list", "--worklist", "--json"], ["list", "--worklist", "--state", "tracking"]):
        assert called(*words).exit_code == 2
    for words in (["R-1"], ["--not-created"], ["--state", "rejected"], ["--carrier-ref", "1"]):
        assert called("resolve", "--from", "x", *words).exit_code == 2
    assert called("resolve", "--from", "nowhere.csv").stderr.startswith("error: the worklist cannot be read: ")
