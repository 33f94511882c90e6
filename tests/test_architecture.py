"""The rule of the house: imports point one way, and each library has one home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "worker"

# Each room and the rooms it may import; standing in none means every room.
ALLOWED = {
    "domain": set(),
    "listening": set(),
    "settings": {"listening"},
    "simulator": set(),
    "telemetry": set(),
    "labels": set(),
    "carriers": {"domain"},
    "store": {"domain"},
    "steps": {"carriers", "store", "labels", "domain", "telemetry"},
    "runtime": set(),
    "configured": {"carriers", "domain", "settings"},
    "app": {"configured", "runtime", "steps", "carriers", "store", "labels", "domain", "telemetry", "settings"},
    "cli": {
        "app",
        "configured",
        "runtime",
        "steps",
        "carriers",
        "store",
        "labels",
        "domain",
        "telemetry",
        "settings",
        "listening",
        "simulator",
    },
    "__main__": {"cli"},
    "__init__": set(),
}

# Each library and the files it may be imported from.
HOMES = {
    "httpx": {"carriers/addresses.py", "carriers/endings.py", "carriers/http.py", "carriers/transport.py"},
    "uvloop": {"runtime/loop.py"},
    "aiohttp": {"carriers/addresses.py", "carriers/transport.py", "telemetry/http.py", "simulator/"},
    "sqlalchemy": {"store/"},
    "sqlmodel": {"store/"},
    "alembic": {"store/upgrade.py", "store/migrations/"},
    "asyncpg": {"store/database.py", "store/hints.py", "store/move/target.py"},
    "apscheduler": {"runtime/scheduler.py"},
    "prometheus_client": {"telemetry/"},
    "pydantic": {"settings/"},
    "pydantic_core": {"settings/"},
    "pypdf": {"labels/pages.py"},
    "obstore": {"labels/objects.py"},
    "typer": {"cli/"},
    "click": {"cli/"},
    "rich": {"cli/"},
    "structlog": {"telemetry/logs.py", "app.py", "runtime/", "steps/", "cli/"},
}

STANDARD_LIBRARY_ONLY = ("domain",)

FILES = sorted(ROOT.rglob("*.py"))


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""


def _place(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _room(file: Path) -> str:
    first = file.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=_place)
def test_imports_point_one_way(file: Path) -> None:
    room = _room(file)
    for name in _imports(file):
        parts = name.split(".")
        if parts[0] == "worker" and len(parts) > 1 and parts[1] != room:
            assert parts[1] in ALLOWED[room], f"{_place(file)} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=_place)
def test_each_library_has_its_home(file: Path) -> None:
    for name in _imports(file):
        library = name.split(".")[0]
        if library in HOMES:
            assert any(_place(file).startswith(home) for home in HOMES[library]), f"{_place(file)} imports {name}"


@pytest.mark.parametrize("file", [file for file in FILES if _room(file) in STANDARD_LIBRARY_ONLY], ids=_place)
def test_the_domain_needs_nothing_but_the_standard_library(file: Path) -> None:
    import sys

    for name in _imports(file):
        assert name.split(".")[0] in sys.stdlib_module_names or name.startswith("worker.domain"), name


@pytest.mark.parametrize("file", FILES, ids=_place)
def test_a_concrete_carrier_is_named_only_where_carriers_are_registered(file: Path) -> None:
    if _place(file) == "carriers/registry.py" or _place(file).startswith(("carriers/izipack", "carriers/returnpilot")):
        return
    named = [name for name in _imports(file) if name.startswith(("worker.carriers.izipack", "worker.carriers.returnp"))]
    assert named == [], _place(file)


@pytest.mark.parametrize("file", FILES, ids=_place)
def test_every_module_opens_with_its_purpose(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring, f"{_place(file)} says not what it is for"
    assert docstring.splitlines()[0].endswith((".", "!", "?", "`.", ":")), _place(file)


@pytest.mark.parametrize("file", FILES, ids=_place)
def test_no_file_grows_beyond_a_room(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 360, _place(file)
