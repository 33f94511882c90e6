"""`config init` writes a file to start from, and never over another one; `config schema` prints what editors read."""

import json
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cli.calls import called
from worker.settings.schema import start_file


def test_the_start_file_is_its_owners_alone_and_lacks_nothing_but_a_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = called("config", "init")
    file = folder / "returns-worker.toml"
    assert (result.exit_code, result.stdout) == (0, "")
    assert file.read_text(encoding="utf-8") == start_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert result.stderr.splitlines()[-1] == "then: returns-worker check"
    # Yours to fill in: the key.
    key_file = tomllib.loads(start_file())["accounts"]["default"]["api_key_file"]
    checked = called("check")
    assert checked.exit_code == 78
    assert checked.stderr.splitlines() == [
        "bad configuration, 1 problem:",
        f"  accounts.default.api_key_file: {key_file}: cannot be read: No such file or directory [returns-worker.toml]",
    ]
    monkeypatch.setenv("RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY", "IZI-a-key")
    checked = called("check")
    assert checked.exit_code == 0
    # And the words of the carrier that end the polling.
    warnings = [line.removeprefix("warning  ") for line in checked.stderr.splitlines() if not line.startswith("ok ")]
    assert [line.partition(": ")[0] for line in warnings] == ["database", "account default"]
    assert "status_map has no terminal word" in warnings[1]


def test_a_file_that_is_there_is_left_as_it_is(folder: Path) -> None:
    (folder / "mine.toml").write_text("mine")
    (folder / "link.toml").symlink_to(folder / "elsewhere")
    for name in ("mine.toml", "link.toml", "."):
        result = called("config", "init", name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"error: {name} is there already and stays as it is; name another file, or - for stdout\n"
        )
    assert (folder / "mine.toml").read_text() == "mine"
    assert not (folder / "elsewhere").exists()


def test_a_file_that_cannot_be_written_is_said_and_leaves_nothing(folder: Path) -> None:
    result = called("config", "init", "nowhere/worker.toml")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: cannot write nowhere/worker.toml: No such file or directory\n",
    )
    assert called("config", "init", "a\0b").stderr == "error: cannot write a b: embedded null byte\n"
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_leaves_no_half_of_a_file(folder: Path) -> None:
    words = 'ulimit -f 1; exec "$0" -m worker config init'
    done = subprocess.run(["sh", "-c", words, sys.executable], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: cannot write returns-worker.toml: File too large\n")
    assert not (folder / "returns-worker.toml").exists()


def test_the_command_that_comes_next_names_the_file_where_it_would_not_be_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        called("config", "init", "shop.toml").stderr.splitlines()[-1] == "then: returns-worker --config shop.toml check"
    )
    monkeypatch.setenv("RETURNS_WORKER_CONFIG", "other.toml")
    said = called("config", "init").stderr.splitlines()[-1]
    assert said == "then: returns-worker --config returns-worker.toml check"
    result = called("--config", "new.toml", "config", "init")
    assert (result.exit_code, (folder / "new.toml").exists()) == (2, False)
    assert "config init FILE" in result.stderr


def test_the_start_file_and_the_schema_go_to_stdout_whole(folder: Path) -> None:
    assert called("config", "init", "-").stdout == start_file()
    printed = json.loads(called("config", "schema").stdout)
    # [news.NAME] stands there as a comment, since with it a worker would register somebody who is to be told.
    assert printed["properties"].keys() == tomllib.loads(start_file()).keys() | {"news"}
    assert list(folder.iterdir()) == []
