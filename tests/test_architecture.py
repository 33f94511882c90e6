"""The rule of the house: imports point one way, and each library has one home."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "worker"

# Each room and the rooms it may import; standing in none means every room.
ALLOWED = {
    "domain": set(),
    "listening": set(),
    "dsn": {"domain"},
    "settings": {"domain", "dsn", "listening"},
    "simulator": set(),
    "telemetry": {"domain"},
    "labels": {"domain"},
    # A leaf that knows of no carrier: what else asks over HTTP stands on it, too.
    "http": {"domain"},
    "news": {"domain", "http"},
    "carriers": {"domain", "http"},
    "store": {"domain", "dsn"},
    "engine": {"carriers", "news", "store", "labels", "domain", "telemetry"},
    "runtime": set(),
    "from_settings": {"carriers", "domain", "http", "news", "settings"},
    # Faces stand on it, and nothing else; it has no library to print with (see HOMES), nor what ends a process.
    "usecases": {
        "from_settings",
        "runtime",
        "engine",
        "carriers",
        "news",
        "store",
        "labels",
        "domain",
        "dsn",
        "settings",
    },
    "renewed": {"carriers", "domain", "dsn", "settings", "telemetry"},
    "app": {
        "from_settings",
        "renewed",
        "runtime",
        "engine",
        "carriers",
        "news",
        "store",
        "labels",
        "domain",
        "telemetry",
        "settings",
        "web",
    },
    # A face like `cli`: its pages ask use cases.
    "web": {"usecases", "labels", "store", "domain", "telemetry", "settings"},
    "cli": {
        "app",
        "demo",
        "usecases",
        "from_settings",
        "renewed",
        "runtime",
        "carriers",
        "store",
        "labels",
        "domain",
        "dsn",
        "telemetry",
        "settings",
        "listening",
        "simulator",
    },
    "demo": {"app", "usecases", "runtime", "telemetry", "settings", "simulator"},
    "__main__": {"cli"},
    "__init__": set(),
}

# Each library and the files it may be imported from.
HOMES = {
    "httpx": {
        "http/addresses.py",
        "carriers/endings.py",
        "carriers/edge.py",
        "http/links.py",
        "http/transport.py",
        "news/sender.py",
    },
    "uvloop": {"runtime/loop.py"},
    "aiohttp": {
        "http/addresses.py",
        "http/connections.py",
        "http/transport.py",
        "telemetry/connections.py",
        "telemetry/http.py",
        "simulator/",
        "web/pages.py",
    },
    "jinja2": {"web/frame.py"},
    "markupsafe": {"web/frame.py"},
    "sqlalchemy": {"store/"},
    "sqlmodel": {"store/"},
    "alembic": {"store/upgrade.py", "store/migrations/"},
    "asyncpg": {"store/failures.py", "store/hints.py", "store/upkeep/move/target.py", "store/search_path.py"},
    "apscheduler": {"runtime/scheduler.py"},
    "prometheus_client": {"telemetry/"},
    "pydantic": {"settings/", "web/api/"},
    "pydantic_core": {"settings/"},
    "pypdf": {"labels/printed.py", "simulator/labels.py"},
    "obstore": {"labels/objects.py"},
    "typer": {"cli/"},
    "click": {"cli/"},
    "rich": {"cli/", "demo/"},
    "structlog": {"telemetry/logs.py", "app.py", "renewed.py", "runtime/", "engine/", "cli/", "web/"},
}

STANDARD_LIBRARY_ONLY = ("domain",)

MOST_IMPORTS = 15  # modules of ours in one file; app.py puts the parts together, and so may import more
FILES = sorted(ROOT.rglob("*.py"))
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in FILES}


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield node.module or ""


IMPORTS = [(file, name) for file in FILES for name in _imports(file)]


def _place(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def _room(file: Path) -> str:
    first = file.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def test_imports_point_one_way() -> None:
    wrong = [
        f"{_place(file)} imports {name}"
        for file, name in IMPORTS
        if (parts := name.split("."))[0] == "worker" and len(parts) > 1 and parts[1] != _room(file)
        if parts[1] not in ALLOWED[_room(file)]
    ]
    assert wrong == []


def test_the_loop_needs_nothing_of_the_store_s_upkeep() -> None:
    wrong = [
        f"{_place(file)} imports {name}"
        for file, name in IMPORTS
        if name.startswith("worker.store.upkeep") and not _place(file).startswith("store/upkeep/")
        if _room(file) in {"store", "engine", "runtime", "app"}
    ]
    assert wrong == []


def test_a_function_of_the_store_is_synchronous_within_its_transaction() -> None:
    """So it runs on either database, and waits for nothing but that."""
    wrong = [f"{_place(file)} imports {name}" for file, name in IMPORTS if name.startswith("sqlalchemy.ext.asyncio")]
    assert [each for each in wrong if not each.startswith(("store/database.py", "store/postgresql.py"))] == []


def test_what_sql_says_differently_on_each_database_is_said_once() -> None:
    """Of the database's time, what is later than it, and the members of a JSON list; migrations stay what they were."""
    said = ("'now'", "clock_timestamp()", "make_interval", "interval '", "json_array_elements")
    wrong = [
        f"{_place(file)}: {words}"
        for file in FILES
        if _room(file) == "store" and not _place(file).startswith(("store/dialect.py", "store/migrations/"))
        for node in ast.walk(TREES[file])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for words in said
        if words in node.value
    ]
    assert wrong == []


def test_no_file_but_the_composition_root_needs_more_than_fifteen_of_our_modules() -> None:
    modules = {".".join(("worker", *file.relative_to(ROOT).with_suffix("").parts)) for file in FILES}
    counts = {
        _place(file): len(
            {
                f"{node.module}.{name.name}" if f"{node.module}.{name.name}" in modules else node.module
                for node in ast.walk(TREES[file])
                if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "worker"
                for name in node.names
            }
        )
        for file in FILES
    }
    above = {place for place, count in counts.items() if count > MOST_IMPORTS}
    assert above == {"app.py"}


def test_a_use_case_prints_nothing_and_ends_nothing() -> None:
    """What it comes to is a value or an exception: a page, or another program, shows it its own way."""
    wrong = [
        f"{_place(file)}: {name}"
        for file in FILES
        if _room(file) == "usecases"
        for node in ast.walk(TREES[file])
        if (name := node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else "")
        in {"print", "input", "exit", "_exit", "quit", "SystemExit", "stdin", "stdout", "stderr"}
    ]
    assert wrong == []


def test_each_library_has_its_home() -> None:
    wrong = [
        f"{_place(file)} imports {name}"
        for file, name in IMPORTS
        if (library := name.split(".")[0]) in HOMES
        and not any(_place(file).startswith(home) for home in HOMES[library])
    ]
    assert wrong == []


def test_the_domain_needs_nothing_but_the_standard_library() -> None:
    wrong = [
        f"{_place(file)} imports {name}"
        for file, name in IMPORTS
        if _room(file) in STANDARD_LIBRARY_ONLY
        and name.split(".")[0] not in sys.stdlib_module_names
        and not name.startswith("worker.domain")
    ]
    assert wrong == []


def test_a_concrete_carrier_is_named_only_where_carriers_are_registered() -> None:
    wrong = [
        f"{_place(file)} imports {name}"
        for file, name in IMPORTS
        if name.startswith(("worker.carriers.izipack", "worker.carriers.returnpilot"))
        and not _place(file).startswith(("carriers/registry.py", "carriers/izipack", "carriers/returnpilot"))
    ]
    assert wrong == []


def test_every_module_opens_with_its_purpose() -> None:
    first_lines = {_place(file): (ast.get_docstring(TREES[file]) or "").partition("\n")[0] for file in FILES}
    assert {place: line for place, line in first_lines.items() if not line.endswith((".", "!", "?", ":"))} == {}


def test_no_file_grows_beyond_a_room() -> None:
    lines = {_place(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {place: count for place, count in lines.items() if count > 360} == {}
