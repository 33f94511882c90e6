"""`check` looks and makes nothing; where there is no database it says so by its whole path, and makes no second one."""

from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_check_makes_neither_a_database_nor_a_folder(folder: Path) -> None:
    configured(folder, ACCOUNTS + '[labels]\nstore = "file:some/labels"\n')
    before = everything(folder)
    result = called("check")
    assert result.exit_code == 0, result.output
    assert everything(folder) == before
    assert f"warning  database: there is no database at {folder}/returns.db" in result.output
    assert "labels: the store is not there yet, and can be made" in result.output


def test_check_leaves_a_database_and_a_label_store_as_they_are(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    assert called("migrate").exit_code == 0
    (folder / "labels").mkdir()
    names = set(everything(folder))
    content = (folder / "returns.db").read_bytes()
    result = called("check")
    assert "labels: the store can be written" in result.output
    assert set(everything(folder)) == names
    assert (folder / "returns.db").read_bytes() == content


def test_check_says_where_no_folder_for_labels_can_be_made(folder: Path) -> None:
    (folder / "file").touch()
    configured(folder, ACCOUNTS + '[labels]\nstore = "file:file/labels"\n')
    result = called("check")
    assert result.exit_code == 1
    assert f"error    labels: cannot write to the label store {folder}/file/labels" in result.output


@pytest.mark.parametrize("words", [("check",), ("list",), ("show", "R-1")], ids=" ".join)
def test_a_database_that_is_missing_because_the_folder_is_another_suggests_no_migration(
    folder: Path, words: tuple[str, ...]
) -> None:
    configured(folder, ACCOUNTS)
    said = called(*words).output
    assert f"there is no database at {folder}/returns.db" in said
    assert "call it in the worker's folder" in said
    assert "migrate" not in said


def test_a_database_that_is_missing_where_it_is_named_whole_is_made_by_migrate(folder: Path) -> None:
    configured(folder, ACCOUNTS + f'[database]\nurl = "sqlite:///{folder}/here.db"\n')
    assert f"there is no database at {folder}/here.db; run: returns-worker migrate" in called("list").output
