"""docs/integrate/testing.md: its fixtures and tests are written out, and run by pytest and by Node as a shop would."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents.pages import read, snippet

pytestmark = pytest.mark.long  # half a dozen processes that import everything; .ci/run has them
PAGE = read("docs/integrate/testing.md")


def _ran(folder: Path, files: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """What a program says whose folder holds the page's settings and these of its snippets."""
    for name, mark in {"returns-worker.test.toml": "testing-settings", **files}.items():
        (folder / name).write_text(snippet(mark, PAGE), encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RETURNS_WORKER_", "PYTEST_"))}
    ours["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of this project take a second to be loaded
    ours["PATH"] = f"{Path(sys.executable).parent}:{ours['PATH']}"
    return subprocess.run(words, cwd=folder, env=ours, capture_output=True, text=True, check=False, timeout=100)


def test_the_fixture_for_pytest_follows_a_return_to_its_end_in_no_time(tmp_path: Path) -> None:
    files = {"conftest.py": "testing-conftest", "test_returns.py": "testing-pytest"}
    ran = _ran(tmp_path, files, sys.executable, "-m", "pytest", "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node 20 or newer (Debian: nodejs)")
def test_the_fixture_for_node_follows_a_return_to_its_end_in_no_time(tmp_path: Path) -> None:
    ran = _ran(tmp_path, {"returns.test.mjs": "testing-node"}, "node", "--test", str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# pass 1" in ran.stdout
