"""The Dockerfile keeps what it promises, as far as it can be read; tests/trials/container.py builds and runs it."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
from packaging.requirements import Requirement

from worker.cli.commands import application
from worker.settings import load

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FINAL_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
LOCKS = ("requirements.lock", "deploy/container/build.lock", "deploy/container/object-store.lock")


def _hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, str(file)], capture_output=True, text=True, check=False)


def _locked(lock: str) -> dict[str, str]:
    text = (ROOT / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", text, re.MULTILINE))


def test_hadolint_has_nothing_to_say() -> None:
    done = _hadolint(ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("USER 10001:10001", "USER root", "DL3002"),
        ("FROM ${BASE}@${BASE_DIGEST}\n#", "FROM python\n#", "DL3006"),
        ('ENTRYPOINT ["returns-worker"]', "ENTRYPOINT returns-worker", "DL3025"),
        ("WORKDIR /source", "WORKDIR source", "DL3000"),
    ],
)
def test_hadolint_finds_what_is_bad(tmp_path: Path, good: str, bad: str, rule: str) -> None:
    assert good in DOCKERFILE
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace(good, bad))
    done = _hadolint(tmp_path / "Dockerfile")
    assert done.returncode == 1
    assert rule in done.stdout


def test_its_base_is_pinned_by_digest_and_both_can_be_named() -> None:
    assert re.findall(r"^ARG BASE=(.+)$", DOCKERFILE, re.MULTILINE) == ["docker.io/library/python:3.12-slim-bookworm"]
    (digest,) = re.findall(r"^ARG BASE_DIGEST=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${BASE}@${BASE_DIGEST}"}


def test_it_has_the_labels_that_the_image_specification_names() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]*)"', FINAL_STAGE))
    assert {labels.pop("title"), labels.pop("licenses")} == {PROJECT["project"]["name"], PROJECT["project"]["license"]}
    assert labels.pop("description")
    assert labels == {
        "source": "${SOURCE}",
        "version": "${VERSION}",
        "revision": "${REVISION}",
        "created": "${CREATED}",
        "base.name": "${BASE}",
        "base.digest": "${BASE_DIGEST}",
    }
    # An argument from before the first FROM is empty in a stage that does not name it again.
    for name in ("BASE", "BASE_DIGEST", "SOURCE", "VERSION", "REVISION", "CREATED"):
        assert re.search(rf"^ARG {name}\b", FINAL_STAGE, re.MULTILINE), name
    assert _only(r"^ARG SOURCE=(.*)$") == PROJECT["project"]["urls"]["Source"]


def test_it_runs_without_root_and_without_a_shell() -> None:
    assert re.findall(r"^USER (.*)$", FINAL_STAGE, re.MULTILINE) == ["10001:10001"]
    assert json.loads(_only(r"^ENTRYPOINT (.*)$")) == ["returns-worker"]
    for words in (_only(r"^CMD (.*)$"), _only(r"^HEALTHCHECK .* CMD (.*)$")):
        command = json.loads(words)[-1]
        assert command in typer.main.get_command(application).commands  # type: ignore[attr-defined]


def test_it_stops_by_the_signal_that_the_worker_heeds() -> None:
    assert _only(r"^STOPSIGNAL (.*)$") == "SIGTERM"


def test_it_listens_where_the_image_says() -> None:
    listen = _only(r"RETURNS_WORKER_HTTP__LISTEN=(\S+)")
    assert load(environ={"RETURNS_WORKER_HTTP__LISTEN": listen}).http.port == int(_only(r"^EXPOSE (.*)$"))


def test_its_version_is_the_projects() -> None:
    assert _only(r"^ARG VERSION=(.*)$") == PROJECT["project"]["version"]


def test_everything_that_is_installed_is_locked_by_hash() -> None:
    installs = re.findall(r"--python \S+ install ((?:[^\n]|\\\n)*?)(?:\n\w|\n#| \\\n &&)", DOCKERFILE)
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install
    for lock in LOCKS:
        assert f" {lock.rpartition('/')[2]}" in " ".join(installs)
        entries = re.split(r"\n(?=[a-z0-9-]+==)", (ROOT / lock).read_text(encoding="utf-8"))[1:]
        assert entries
        assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize(
    ("wanted", "lock"),
    [
        (PROJECT["project"]["dependencies"], "requirements.lock"),
        (PROJECT["build-system"]["requires"], "deploy/container/build.lock"),
        (PROJECT["project"]["optional-dependencies"]["object-store"], "deploy/container/object-store.lock"),
    ],
    ids=["run", "build", "object-store"],
)
def test_what_is_locked_is_what_the_project_asks_for(wanted: list[str], lock: str) -> None:
    locked = _locked(lock)
    for line in wanted:
        requirement = Requirement(line)
        assert locked[requirement.name] in requirement.specifier, line


def test_what_opens_an_encrypted_label_is_locked() -> None:
    assert "cryptography" in _locked("requirements.lock")


def test_nothing_goes_into_the_build_but_what_is_copied() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    copied = " ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)).split()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert let_in == {"deploy/container/*.lock" if name.startswith("deploy/") else name for name in copied}
    assert {"README.md", *PROJECT["project"]["license-files"]} <= let_in


def _only(pattern: str) -> str:
    found = re.findall(pattern, FINAL_STAGE, re.MULTILINE)
    assert len(found) == 1, pattern
    return str(found[0])
