"""What is said on the command line of `archive`."""

from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured


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
    assert "was archived at" in called("show", "D-1").stderr
    assert called("show", "D-1", "--account", "default").exit_code == 1
