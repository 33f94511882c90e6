"""At 80 columns nothing that is to be copied is cut or folded, in a pipe nothing at all, nor is any help."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from tests.cli.calls import ACCOUNTS, called, configured
from worker.cli.commands import Commands
from worker.cli.printing import print_table
from worker.cli.shown_return import print_return
from worker.store.tables import ReturnOrderRow, StatusTransitionRow
from worker.store.upkeep.history import History
from worker.usecases.show import ShownReturn

HEADER = ("reference", "account", "state", "tracking", "carrier says", "carrier ref", "due", "error")
DUE = datetime(2026, 6, 1, tzinfo=UTC)
WORDS = "held at the depot since nobody was at home twice and the third time the door was shut"


def of_50(start: str) -> str:
    return start + "-" * (50 - len(start))


def drawn(*rows: tuple[object, ...], terminal: bool = True, width: int = 80) -> list[str]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=width, color_system=None)
    print_table(HEADER, list(rows), console)
    return screen.getvalue().splitlines()


@pytest.mark.parametrize("long", [0, 1, 5, 7])
def test_a_name_of_50_characters_is_whole_in_a_list_whatever_is_beside_it(long: int) -> None:
    row = ["RMA-1001", "default", "needs_attention", "pre_transit", WORDS, "9RET10012", DUE, "create_outcome_unknown"]
    row[long] = of_50("X")
    for rows in ([tuple(row)], [tuple(row)] * 3):
        lines = drawn(*rows)
        assert all(len(line) <= 80 for line in lines)
        for kept in (0, 1, 5, 7):
            assert sum(str(row[kept]) in line for line in lines) == len(rows), lines


def test_where_all_of_them_are_long_each_return_has_lines_of_its_own_and_loses_nothing() -> None:
    row = (of_50("R"), of_50("A"), "needs_attention", "in_transit", WORDS, of_50("C"), DUE, of_50("e"))
    lines = drawn(row)
    assert [line.split()[-1] for line in lines[:2]] == [of_50("R"), of_50("A")]
    assert WORDS in " ".join(" ".join(lines).replace("carrier says", "").split())
    assert "2026-06-01 00:00:00" in "".join(lines)
    assert all(len(line) <= 80 for line in lines)


def test_what_is_piped_is_never_cut_and_a_row_is_a_line() -> None:
    row = ("R" * 5000, "default", "tracking", "in_transit", "w " * 3000, "C", DUE, "e")
    for width in (20, 80):
        (head, line) = drawn(row, terminal=False, width=width)
        assert head.split()[:2] == ["reference", "account"]
        assert "R" * 5000 in line and "w " * 2999 in line


def test_a_pipe_is_none_the_less_one_where_the_environment_asks_for_colours(
    filled_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    configured(folder, f'database.url = "{filled_url}"\n{ACCOUNTS}')
    done = called("list", "--limit", "1")
    assert done.stdout.split()[:2] == ["reference", "account"] and " due " in done.stdout
    assert done.stderr == ""


def test_a_wide_terminal_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    row = ("RMA-1001", "default", "needs_attention", "pre_transit", "InTransit", "9RET10012", DUE, "carrier_error")
    (head, _) = drawn(row, width=140)
    assert all(name in head for name in HEADER)
    assert capsys.readouterr().err == ""
    (head, _) = drawn(row)
    assert "due" not in head
    assert "no room here for due, carrier says" in capsys.readouterr().err


def test_long_texts_of_a_return_wrap_at_words_and_what_is_copied_is_whole() -> None:
    order = ReturnOrderRow(
        **{"id": 1, "account": of_50("A"), "reference": of_50("R"), "carrier_ref": of_50("C"), "state": "tracking"},
        **{"error_code": of_50("e"), "error_message": WORDS},
    )
    line = StatusTransitionRow(
        **{"observed_at": DUE, "field": "tracking_status", "old_value": "pre_transit", "new_value": "in_transit"},
        **{"carrier_status": "InTransit", "reason": WORDS},
    )
    screen = io.StringIO()
    found = ShownReturn(History(order, [line], [], []))
    print_return(found, Console(file=screen, force_terminal=True, width=80, color_system=None))
    lines = screen.getvalue().splitlines()
    assert all(len(each) <= 80 for each in lines)
    assert all(any(of_50(name) in each for each in lines) for name in "ARCe")
    assert " ".join(screen.getvalue().split()).count(WORDS) == 2


def test_no_help_is_cut_or_folded_within_a_word_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, entry in Commands.entries.items():
        loaded = entry.load()
        for words in [(name,), *((name, inner) for inner in getattr(loaded, "commands", {}))]:
            said = called(*words, "--help").output
            assert all(len(line) <= 80 for line in said.splitlines()), words
            assert "…" not in said, words
            assert "|" not in re.sub(r"[│─]", "", said), f"{words}: typer's list of choices is folded within a word"
