"""`returns-worker-at` runs a command as the unit has it; what it asks of systemd is looked at here, unbooted."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_systemd import FOLDER, INSTALLED, WORKER, directives

AT = FOLDER / "returns-worker-at"
DROP_IN = """
# /etc/systemd/system/returns-worker@shop.service.d/override.conf
[Service]
LoadCredential=america.api_key:/etc/returns-worker/%i/america.api_key
SetCredential=america.api_key:\\n
LoadCredentialEncrypted=asia.api_key:/etc/credstore/%i.asia
Environment="RETURNS_WORKER_LOG__LEVEL=debug" A=b
UMask=0077
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment in which systemd is what this test says: the shipped unit with a drop-in, as an instance."""
    (tmp_path / "state").mkdir()
    settings = tmp_path / "shop.toml"
    settings.touch()
    unit = WORKER.read_text().replace("/etc/returns-worker/%i.toml", str(settings))
    assert str(settings) in unit
    (tmp_path / "unit").write_text(unit + DROP_IN)
    shown = {
        "User": directives(WORKER)["User"][0],
        "Group": directives(WORKER)["Group"][0],
        "UMask": "0077",
        "WorkingDirectory": str(tmp_path / "state"),
        "ExecStart": f"{{ path={INSTALLED} ; argv[]={INSTALLED} --config {settings} run ; ignore_errors=no ; pid=0 }}",
    }
    for name, value in shown.items():
        (tmp_path / f"show-{name}").write_text(f"{value}\n")
    programs = tmp_path / "programs"
    programs.mkdir()
    stubs = {
        "systemctl": f'case $1 in cat) cat {tmp_path}/unit ;; show) cat "{tmp_path}/show-${{2#--property=}}" ;; esac',
        "systemd-run": "printf '%s\\0' \"$@\"; exit 3",
        "id": "cat " + str(tmp_path / "uid"),
    }
    (tmp_path / "uid").write_text("0\n")
    for name, script in stubs.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}", "SETTINGS": str(settings), "STATE": str(tmp_path / "state")}


def at(machine: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(AT), *words], env=machine, text=True, capture_output=True, check=False)


def test_a_command_has_the_units_user_folder_settings_environment_and_credentials(machine: dict[str, str]) -> None:
    ran = at(machine, "shop", "label", "R 1 $x 'y'", "-o", "-")
    words = ran.stdout.split("\0")[:-1]
    begins = words.index(INSTALLED)
    assert words[begins:] == [INSTALLED, "--config", machine["SETTINGS"], "label", "R 1 $x 'y'", "-o", "-"]
    assert set(words[:begins]) == {
        *("--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"),
        *("--uid=returns-worker", "--gid=returns-worker", f"--working-directory={machine['STATE']}"),
        "--property=UMask=0077",
        "--property=LoadCredential=default.api_key:/etc/returns-worker/shop/default.api_key",
        "--property=SetCredential=default.api_key:\\n",
        "--property=LoadCredential=america.api_key:/etc/returns-worker/shop/america.api_key",
        "--property=SetCredential=america.api_key:\\n",
        "--property=LoadCredentialEncrypted=asia.api_key:/etc/credstore/shop.asia",
        "--property=Environment=PYTHONFAULTHANDLER=1",
        '--property=Environment="RETURNS_WORKER_LOG__LEVEL=debug" A=b',
    }
    assert (ran.returncode, ran.stderr) == (3, "")  # the command's own exit code


def test_what_is_set_for_one_command_reaches_it(machine: dict[str, str]) -> None:
    ran = at(machine | {"RETURNS_WORKER_DATABASE__URL": "postgresql://db/x", "OTHER": "1"}, "shop", "migrate")
    assert [word for word in ran.stdout.split("\0") if word.startswith("--setenv")] == [
        "--setenv=RETURNS_WORKER_DATABASE__URL"
    ]


@pytest.mark.parametrize("words", [(), ("shop",), ("--help",), ("a/b", "check"), ("a&b", "check"), ("a b", "check")])
def test_without_an_instance_and_a_command_it_says_how_it_is_used(
    machine: dict[str, str], words: tuple[str, ...]
) -> None:
    ran = at(machine, *words)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("error: usage: returns-worker-at ")


def test_what_is_missing_is_said(machine: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "uid").write_text("1000\n")
    assert "needs root" in at(machine, "shop", "check").stderr
    (tmp_path / "uid").write_text("0\n")
    (tmp_path / "state").rmdir()
    assert f"there is no folder {machine['STATE']}" in at(machine, "shop", "check").stderr
    Path(machine["SETTINGS"]).unlink()
    assert (
        f"there is no instance shop: its settings would be in {machine['SETTINGS']}"
        in at(machine, "shop", "check").stderr
    )
    (tmp_path / "show-ExecStart").write_text("\n")
    assert "systemd knows no returns-worker@shop.service" in at(machine, "shop", "check").stderr


def test_the_installation_puts_it_in_place() -> None:
    page = (FOLDER.parents[1] / "docs" / "operate" / "deployment.md").read_text(encoding="utf-8")
    assert "install -m 0755 deploy/systemd/returns-worker-at /usr/local/sbin/" in page
    assert AT.stat().st_mode & 0o111
