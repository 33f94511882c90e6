"""`check` looks and makes nothing; where there is no database it says so by its whole path, and makes no second one."""

import sqlite3
import subprocess
import sys
import tomllib
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


def test_check_names_subscribers_that_are_gone_and_one_that_a_start_would_refuse(folder: Path) -> None:
    configured(folder, ACCOUNTS + "[news.shop]\nkind = 'table'\n")
    assert called("migrate").exit_code == 0
    assert "ok       subscriber shop: configured, and told of what happens once a worker" in called("check").output
    with sqlite3.connect(folder / "returns.db") as connection:
        connection.execute("INSERT INTO news_subscriber (name, kind) VALUES ('old', 'table'), ('shop', 'table')")
    said = called("check")
    assert said.exit_code == 0, said.output
    assert "warning  subscriber old: registered, but neither configured here nor served" in said.output
    assert (
        "returns-worker webhooks retire old" in said.output and "ok       subscriber shop: configured\n" in said.output
    )
    with sqlite3.connect(folder / "returns.db") as connection:
        connection.execute("UPDATE news_subscriber SET kind = 'webhook' WHERE name = 'shop'")
    said = called("check")
    assert said.exit_code == 78
    assert "error    news.shop.kind: it is registered already, and not as a table" in said.output


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


RECEIVER = '[accounts.default.receiver]\nname = "Webshop"\n[accounts.default.receiver.address]\nstreet = "Dam"\n'


@pytest.mark.parametrize("command", ["check", "check --show", "poll R-1", "run"])
def test_a_receiver_with_which_every_return_would_be_rejected_is_bad_configuration(folder: Path, command: str) -> None:
    configured(folder, ACCOUNTS + RECEIVER + 'country = "NL"\nhousenumber = "1"\npostal_code = "1012 JS"\n')
    if command == "run":  # whose signals are a process' own
        done = subprocess.run([sys.executable, "-m", "worker", "run"], capture_output=True, text=True, check=False)
        code, said = done.returncode, done.stderr
    else:
        result = called(*command.split())
        code, said = result.exit_code, result.stderr
    assert code == 78
    address, lines = "accounts.default.receiver.address", said.splitlines()
    assert lines[0] == "bad configuration, 3 problems:"
    assert f"  {address}.housenumber: is not known here; did you mean house_number?" in lines[1]
    assert lines[2:] == [f"  {address}.house_number: is required", f"  {address}.city: is required"]
    assert not (folder / "returns.db").exists()


def test_a_receiver_that_only_lacks_something_keeps_nobody_from_looking_at_returns(folder: Path) -> None:
    configured(folder, ACCOUNTS + RECEIVER)
    assert called("migrate").exit_code == 0
    assert called("list").exit_code == 0


def test_show_says_what_is_in_force_where_the_carrier_or_a_file_decides_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "america.key").write_text("key-of-america")
    (folder / "credentials").mkdir()
    (folder / "credentials" / "europe.api_key").write_text("key-of-europe")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder / "credentials"))
    configured(
        folder,
        ACCOUNTS
        + 'api_key_file = "unread"\n[accounts.pilot.status_map]\n"３" = "in_transit"\nLost = "failed"\n'
        + '[accounts.america]\napi_key_file = "america.key"\nbase_url = "https://host.example/"\n'
        + '[accounts.europe]\n[accounts.europe.polling]\ncap = "20m"\n[accounts.europe.polling.by_status.unknown]\n'
        + 'max_age = "14d"\n',
    )
    result = called("check", "--show")
    assert result.exit_code == 0, result.output
    for key in ("IZI-a-key", "a-token", "key-of-america", "key-of-europe"):
        assert key not in result.output
    shown = tomllib.loads(result.stdout)["accounts"]
    assert {name: account["base_url"] for name, account in shown.items()} == {
        "default": "https://shipping-api.izipack.nl",
        "pilot": "https://app.returnpilot.co/api/v1",
        "america": "https://host.example",
        "europe": "https://shipping-api.izipack.nl",
    }
    assert shown["default"]["status_map"] == {"Created": "pre_transit", "Delivered": "delivered"}
    assert shown["pilot"]["status_map"] == {
        **{"1": "pre_transit", "2": "in_transit", "4": "cancelled"},
        **{"３": "in_transit", "Lost": "failed"},
    }
    sections = dict(zip(shown, result.stdout.partition("[accounts.default]")[2].split("\ncarrier = ")[1:], strict=True))
    assert 'api_key = "********"\n# api_key_file: not set\n' in sections["default"]
    assert 'api_key = "********"\n# api_key_file: not read, since api_key is set\n' in sections["pilot"]
    assert '# api_key: from api_key_file\napi_key_file = "america.key"\n' in sections["america"]
    assert "# api_key: from the systemd credential europe.api_key\n# api_key_file: not set\n" in sections["europe"]
    always = 'jitter = 0.1, max_age = "60d", near_pickup = "1h"'
    others = "pending, pre_transit, unknown"
    assert f'# polling of {others}: first = "15m", factor = 1.5, cap = "6h", {always}' in sections["default"]
    assert f'# polling of in_transit: first = "30m", factor = 1.5, cap = "6h", {always}' in sections["default"]
    assert f'# polling of in_transit: first = "20m", factor = 1.5, cap = "20m", {always}' in sections["europe"]
    assert '# polling of unknown: first = "15m", ' in sections["europe"]
    assert ', timezone = "Europe/Amsterdam"; expired after 14d in it\n' in sections["europe"]


def test_what_is_shown_to_be_in_force_is_in_force_when_it_is_loaded(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    shown = called("check", "--show").stdout
    (folder / "again").mkdir()
    assert called("--config", str(configured(folder / "again", shown)), "check", "--show").stdout == shown
