"""The units for systemd keep their promises, as far as that shows unbooted; tests/trials/systemd.py boots them."""

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from worker.app import _ENDED
from worker.cli.output import Exit
from worker.settings import Settings, load
from worker.settings.checks import key_source

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(file for file in FOLDER.iterdir() if file.suffix in {".service", ".timer"})
SERVICES = [file for file in UNITS if file.suffix == ".service"]
WORKER = FOLDER / "returns-worker@.service"
INSTALLED = "/opt/returns-worker/bin/returns-worker"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)"
)


def directives(unit: Path) -> dict[str, list[str]]:
    """Every value of each directive of a unit."""
    found = defaultdict(list)
    for line in unit.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            name, value = line.split("=", 1)
            found[name].append(value)
    return found


def seconds(value: str) -> float:
    """What one of our own time spans means; systemd.time(7) has more units than we use."""
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", value).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_the_exposure_is_at_most_1_1(unit: Path) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=11", str(unit)]  # in tenths
    ran = subprocess.run(words, text=True, capture_output=True, check=False)
    assert "Overall exposure level" in ran.stdout, ran.stderr
    assert ran.returncode == 0, ran.stdout.splitlines()[-1]


@needs_systemd
def test_the_threshold_is_heeded(tmp_path: Path) -> None:
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n", encoding="utf-8")
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=11", str(bare)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1


@needs_systemd
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    for unit in UNITS:  # instances, and a program that is there
        text = unit.read_text(encoding="utf-8").replace(INSTALLED, "/bin/true")
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    instances = [str(tmp_path / unit.name.replace("@", "@shop")) for unit in UNITS]
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *instances], text=True, capture_output=True, check=False
    )
    assert not [line for line in ran.stderr.splitlines() if "returns-worker" in line], ran.stderr
    broken = tmp_path / "returns-worker-broken.service"
    broken.write_text("[Service]\nExecStart=/bin/true\nNonsense=1\n", encoding="utf-8")
    ran = subprocess.run(["systemd-analyze", "verify", str(broken)], text=True, capture_output=True, check=False)
    assert "returns-worker-broken" in ran.stderr  # so that silence above means something


def test_a_stop_has_more_time_than_the_worker_takes() -> None:
    (stop,) = directives(WORKER)["TimeoutStopSec"]
    assert seconds(stop) > Settings().worker.grace.total_seconds() + _ENDED


def test_the_watchdog_waits_for_several_beats() -> None:
    from worker.runtime.systemd import _BEAT

    (watchdog,) = directives(WORKER)["WatchdogSec"]
    assert seconds(watchdog) >= 3 * _BEAT


def test_a_start_has_time_for_the_beat_that_asks_for_more() -> None:
    from worker.runtime.systemd import _BEAT, _START_PATIENCE

    (start,) = directives(WORKER)["TimeoutStartSec"]
    assert seconds(start) > Settings().database.wait.total_seconds()
    assert _START_PATIENCE > 2 * _BEAT


def test_bad_configuration_is_not_tried_again_and_an_absent_database_for_ever() -> None:
    unit = directives(WORKER)
    assert unit["Restart"] == ["on-failure"]
    assert unit["RestartPreventExitStatus"] == [str(int(Exit.BAD_CONFIGURATION))]
    assert unit["StartLimitIntervalSec"] == ["0"]


def test_the_credential_is_the_one_that_the_worker_looks_for(tmp_path: Path) -> None:
    (loaded,) = directives(WORKER)["LoadCredential"]
    (default,) = directives(WORKER)["SetCredential"]
    name = loaded.partition(":")[0]
    assert default == f"{name}:\\n"  # what stands for a missing file: an empty key
    config = tmp_path / "shop.toml"
    config.write_text("[accounts.default]\n", encoding="utf-8")
    (tmp_path / name).write_text("IZI-key\n", encoding="utf-8")
    source = key_source(load(config, {}), "default", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert source.current() == "IZI-key"


def test_both_services_run_the_same_program_as_the_same_user() -> None:
    (user,) = re.findall(r"^u (\S+)", (FOLDER / "returns-worker.sysusers.conf").read_text(), re.MULTILINE)
    for unit in SERVICES:
        found = directives(unit)
        assert found["User"] == found["Group"] == [user]
        (command,) = found["ExecStart"]
        assert command.startswith(f"{INSTALLED} --config /etc/returns-worker/%i.toml ")


def test_a_copy_is_kept_where_the_backup_may_write() -> None:
    unit = directives(FOLDER / "returns-worker-backup@.service")
    (command,) = unit["ExecStart"]
    destination = command.split(" backup ")[1].split()[0]
    assert f"-{destination}" in unit["ReadWritePaths"]
    assert unit["ExecStartPre"][0].endswith(f" {destination}")
    assert directives(FOLDER / "returns-worker-backup@.timer")["Persistent"] == ["true"]


def test_every_file_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "operate" / "deployment.md").read_text(encoding="utf-8")
    for file in FOLDER.iterdir():
        assert file.name in page
