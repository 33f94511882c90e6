"""The sdist and the wheel as they are built: what is in them, and what they do in a place where the checkout is not."""

import email.message
import email.parser
import email.policy
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAME = f"returns_worker-{PROJECT['version']}"
FOLDERS = (".ci", "config", "deploy", "docs", "tests", "worker")
FILES = {
    *(".dockerignore", ".gitignore", "CHANGELOG.md", "Dockerfile", "LICENSE", "README.md"),
    *("pyproject.toml", "requirements.lock"),
}
# What lies about in a checkout that is worked with, and is nobody else's business.
OWN = {
    *(
        "deploy/secrets/postgres_password",
        "returns.db",
        "returns.db-wal",
        "returns-worker.toml",
        "labels/default/1.pdf",
    ),
    *(".venv/bin/python", "worker/__pycache__/cli.cpython-311.pyc", "dist/old.whl"),
}


@dataclass(frozen=True)
class Built:
    """An sdist, unpacked, and the wheel that was built from it."""

    tree: Path
    wheel: Path
    names: frozenset[str]


def _files(root: Path) -> Iterator[str]:
    """What a checkout of this state holds, with git or without."""
    yield from FILES
    for folder in FOLDERS:
        for file in (root / folder).rglob("*"):
            place = file.relative_to(root)
            if file.is_file() and "__pycache__" not in place.parts and place.parts[:2] != ("deploy", "secrets"):
                yield place.as_posix()


def _build(source: Path, kind: str, into: Path) -> Path:
    """As `pip` and `build` call it, but without an environment of its own, which would need a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = into.glob("*.tar.gz" if kind == "sdist" else "*.whl")
    return file


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    checkout = tmp_path_factory.mktemp("checkout")
    for name in _files(ROOT):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    for name in OWN:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("mine")
    with tarfile.open(_build(checkout, "sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        names = frozenset(member.name.removeprefix(f"{NAME}/") for member in archive if member.isfile())
        archive.extractall(tree := tmp_path_factory.mktemp("unpacked"), filter="data")
    return Built(tree / NAME, _build(tree / NAME, "wheel", tmp_path_factory.mktemp("wheel")), names)


@pytest.fixture(scope="module")
def metadata(built: Built) -> email.message.EmailMessage:
    with zipfile.ZipFile(built.wheel) as archive:
        content = archive.read(f"{NAME}.dist-info/METADATA")
    return email.parser.BytesParser(policy=email.policy.EmailPolicy(utf8=True)).parsebytes(content)  # type: ignore[return-value]


def test_the_sdist_holds_the_whole_checkout_and_nothing_of_whoever_built_it(built: Built) -> None:
    assert built.names == {*_files(ROOT), "PKG-INFO"}
    assert built.names & OWN == set()
    for script in (".ci/run", "deploy/systemd/returns-worker-at"):
        assert os.access(built.tree / script, os.X_OK) == os.access(ROOT / script, os.X_OK), script


def test_the_wheel_holds_the_whole_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in built.names if name.startswith("worker/")}
    assert "worker/py.typed" in names


def test_a_package_index_is_told_whose_it_is_and_what_it_may_be_used_for(metadata: email.message.EmailMessage) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    assert urls == PROJECT["urls"]
    assert set(urls) == {"Source", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(urls["Source"]) for url in urls.values())


def test_as_long_as_the_projects_address_is_nobodys_no_index_takes_it(metadata: email.message.EmailMessage) -> None:
    nobodys = re.search(r"://[^/]+\.example(/|$)", PROJECT["urls"]["Source"]) is not None
    assert nobodys == ("Private :: Do Not Upload" in metadata.get_all("Classifier", []))


def test_every_link_of_the_readme_leads_somewhere_from_a_package_index(
    built: Built, metadata: email.message.EmailMessage
) -> None:
    readme = (built.tree / "README.md").read_text(encoding="utf-8")
    shown = metadata.get_payload()
    assert re.sub(r"\]\([^)]*\)", "", shown).strip() == re.sub(r"\]\([^)]*\)", "", readme).strip()
    links = re.findall(r"\]\(([^)]*)\)", shown)
    version = f"{PROJECT['urls']['Source']}/blob/v{PROJECT['version']}/"
    ours = [link.removeprefix(version) for link in links if link.startswith(version)]
    assert len(ours) > 30
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert [link for link in ours if link.partition("#")[0] not in built.names] == []


@dataclass(frozen=True)
class Elsewhere:
    """An environment that holds the wheel, and an empty folder to work in; nothing leads back to the checkout."""

    programs: Path
    folder: Path

    def run(self, program: str, *words: str, **environ: str) -> tuple[str, str]:
        """What it says on stdout and on stderr."""
        environ |= {"PATH": f"{self.programs}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        command = [str(self.programs / program), *words]
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip(), done.stderr.strip()


@pytest.fixture(scope="module")
def elsewhere(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    """With what the wheel itself asks for, from the package index: what only the tests ask for is not there."""
    place = tmp_path_factory.mktemp("elsewhere")
    venv.create(place, with_pip=True)
    done = subprocess.run(
        [place / "bin" / "pip", "install", "-q", str(built.wheel)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Elsewhere(place / "bin", tmp_path_factory.mktemp("work"))


@pytest.mark.long
def test_the_wheel_installed_elsewhere_plays_the_demo_and_makes_a_schema(elsewhere: Elsewhere) -> None:
    file, _ = elsewhere.run("python", "-I", "-c", "import worker; print(worker.__file__)")
    assert Path(file).is_relative_to(elsewhere.programs.parent)
    assert elsewhere.run("returns-worker", "demo")[0].endswith("Everything happened as promised.")
    url = {"RETURNS_WORKER_DATABASE__URL": "sqlite:///returns.db"}
    assert "migrated from nothing to " in elsewhere.run("returns-worker", "migrate", **url)[1]
    assert "the schema is current" in elsewhere.run("returns-worker", "migrate", **url)[1]


@pytest.mark.long
def test_the_wheel_installed_elsewhere_brings_its_start_file(elsewhere: Elsewhere) -> None:
    elsewhere.run("returns-worker", "config", "init")
    assert "accounts" in tomllib.loads((elsewhere.folder / "returns-worker.toml").read_text(encoding="utf-8"))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_sdists_own_tests_pass(built: Built) -> None:
    """A share of them that reads every kind of file; the README's command runs all of them there too."""
    tests = ("domain", "settings", "deploy", "test_architecture.py", "test_documents.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests)],
        cwd=built.tree,
        env={**os.environ, "PYTHONPATH": str(built.tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
