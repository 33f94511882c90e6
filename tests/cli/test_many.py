"""What a command says of many returns: the first ten, how many more there are, and what leads on."""

import json
from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import on_sqlite


@pytest.fixture
def database(folder: Path, filled_url: str) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')


def _file(folder: Path, returns: list[dict[str, object]]) -> str:
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, returns)), encoding="utf-8")
    return str(folder / "in.jsonl")


@on_sqlite
def test_of_five_hundred_bad_lines_the_first_ten_are_said_and_how_many_more_there_are(
    database: None, folder: Path
) -> None:
    done = called("add", _file(folder, [{"reference": "", "payload": {}}] * 500))
    lines = done.stderr.splitlines()
    assert (done.exit_code, len(lines)) == (1, 12)
    assert lines[0].endswith("in.jsonl:1: reference: must be text, not empty")
    assert lines[9:] == [lines[0].replace(":1:", ":10:"), "and 490 more", "nothing was inserted"]


@on_sqlite
def test_of_many_that_are_there_already_ten_are_named_and_the_way_on(database: None, folder: Path) -> None:
    file = _file(folder, [{"reference": f"T-{number}", "payload": {}} for number in range(12)])
    assert called("add", file).stderr == (
        "error: already there: T-0, T-1, T-2, T-3, T-4, T-5, T-6, T-7, T-8, T-9, and 2 more; nothing was inserted"
        " (--skip-existing leaves them alone)\n"
    )


@on_sqlite
def test_an_escape_sequence_in_a_shops_file_never_reaches_the_terminal(database: None, folder: Path) -> None:
    again = [{"reference": "R\x1b[2J", "payload": {}}] * 2
    first, *_ = called("add", _file(folder, again)).stderr.splitlines()
    assert first.endswith(f"in.jsonl:1: reference: R [2J is given 2 times, first in {folder}/in.jsonl:1")


@on_sqlite
def test_of_many_refused_ways_out_ten_are_said_and_each_is_counted(database: None) -> None:
    done = called("retry", "--state", "tracking")
    *lines, more, total = done.stderr.splitlines()
    assert (done.exit_code, done.stdout, len(lines)) == (1, "", 10)
    assert all(": refused: " in line for line in lines)
    assert (more, total) == ("and 2 more", "0 returns changed, 12 refused")


@on_sqlite
def test_of_many_accounts_that_are_not_configured_check_says_ten(database: None, folder: Path) -> None:
    returns = [{"reference": "R", "payload": {}, "account": f"gone{number:02}"} for number in range(12)]
    done = called("add", _file(folder, returns))
    assert done.stderr.count("is not configured here: its returns wait") == 10
    assert "warning: 2 more accounts are not configured here\n" in done.stderr
    lines = [line for line in called("check").stderr.splitlines() if " returns: " in line]
    assert len(lines) == 11
    assert lines[-1] == "error    returns: and 2 more accounts that are not configured"
