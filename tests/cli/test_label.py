"""What the command `label` takes and refuses, for labels that were refused."""

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
