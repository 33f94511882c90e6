"""The documents are true: every setting, command, metric, state and code is in its page, and every snippet runs."""

import asyncio
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import asyncpg
import pytest
import typer.main
from sqlmodel import SQLModel

from tests.cadence.ledger import HEADER as CADENCE_HEADER
from tests.chaos.test_chaos import HEADER
from tests.documents.pages import ROOT, read, snippet
from tests.postgres import PostgresServer
from tests.scaling.capacity import HEADER as CAPACITY_HEADER
from worker.carriers.registry import CARRIERS
from worker.cli.commands import application
from worker.domain.decision import StepOutcome
from worker.domain.lifecycle import State, Step
from worker.settings import Settings, load
from worker.settings.table import Table
from worker.store.database import Database
from worker.store.queries import Backlog
from worker.store.schema import migrate
from worker.telemetry.metrics import Metrics
from worker.usecases.plan import overloads

README = read("README.md")
TABLES = read("docs/reference/tables.md")
COMMANDS = read("docs/reference/commands.md")
METRICS = read("docs/reference/metrics.md")
STATES = read("docs/reference/states.md")
REFERENCE = read("config/worker.toml")
CADENCE = read("docs/operate/cadence.md")
SCALING = read("docs/operate/scaling.md")
CI = read(".ci/run")


@pytest.mark.parametrize("name", sorted(typer.main.get_command(application).commands))  # type: ignore[attr-defined]
def test_every_command_is_in_its_page(name: str) -> None:
    assert f"`returns-worker {name}" in COMMANDS


def test_every_metric_is_in_its_page_with_its_type_and_labels() -> None:
    for family in Metrics("1").registry._collector_to_names:
        name = getattr(family, "_name", None)
        if name is None or not name.startswith("returns_worker_"):
            continue
        name = name.removeprefix("returns_worker_") + ("_total" if family._type == "counter" else "")
        labels = ", ".join(family._labelnames)
        assert f"| `{name}` | {family._type} | {labels}".rstrip() in METRICS, name


@pytest.mark.parametrize("value", [*StepOutcome, *Step], ids=str)
def test_every_step_and_outcome_is_in_the_page_of_the_metrics(value: str) -> None:
    assert f"`{value}`" in METRICS


@pytest.mark.parametrize("state", State, ids=str)
def test_every_state_is_in_the_readme(state: str) -> None:
    assert re.search(rf"\b{state}\b", README)


@pytest.mark.parametrize("table", sorted(SQLModel.metadata.tables))
def test_every_column_is_documented_in_the_section_of_its_table(table: str) -> None:
    sections = [part for part in TABLES.split("\n## ") if f"`{table}`" in part.partition("\n")[0]]
    assert len(sections) == 1, f"docs/reference/tables.md has no section about {table}"
    assert [c.name for c in SQLModel.metadata.tables[table].c if f"`{c.name}`" not in sections[0]] == []


def test_every_setting_is_in_the_reference_and_nothing_else_is() -> None:
    settings, written = set(_settings(Settings, "")), set(_written(REFERENCE))
    assert len(settings) > 70
    # An override has the keys of what it overrides; the reference shows its table with one of them and names the rest.
    overrides = {(table, key) for table, key in settings if "*" in table or table == "accounts.default.polling"}
    assert {key for _, key in overrides} == {key for table, key in settings if table == "polling"}
    assert settings - overrides - written == set()
    assert {table for table, _ in overrides} - {table for table, _ in written} == set()
    free = {"accounts.default.receiver", "accounts.default.status_map"}  # their keys are the shop's and the carrier's
    assert {(table, key) for table, key in written if table not in free} - settings == set()


def _settings(model: type[Table], path: str) -> Iterator[tuple[str, str]]:
    """Each setting as its table and its key, by the names of the start file; `*` stands for a tracking status."""
    for name, field in model.model_fields.items():
        parts = (part for part in _parts(field.annotation) if isinstance(part, type))
        inner = next((part for part in parts if issubclass(part, Table)), None)
        if inner is None:
            yield (f"{path}.{name}", "*") if name in {"receiver", "status_map"} else (path, name)
            continue
        place = f"{path}.{name}".lstrip(".")
        named = {
            "accounts": "accounts.default",
            "news": "news.shop",
            "tokens": "http.tokens.support",
            "by_status": f"{place}.*",
        }
        yield from _settings(inner, named.get(name, place))


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _written(toml: str) -> Iterator[tuple[str, str]]:
    """Each key of the reference with its table, those that are commented out too."""
    table = ""
    for line in toml.splitlines():
        if header := re.fullmatch(r"(?:# )?\[([\w.]+)\]", line):
            table = re.sub(r"(by_status)\.\w+", r"\1.*", header[1])
            if table.endswith(("receiver", "status_map")):
                yield table, "*"
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            yield table, key[1]


def test_the_configuration_in_the_readme_is_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "returns-worker.toml"
    file.write_text(snippet("config", README), encoding="utf-8")
    settings = load(file, {}, need_accounts=True, carriers=CARRIERS)
    assert settings.accounts["default"].status_map == {"Delivered": "delivered"}


@pytest.mark.parametrize("name", ["worker.toml", "local.toml"])
def test_the_shipped_configurations_are_good(name: str) -> None:
    assert load(ROOT / "config" / name, {}, need_accounts=True, carriers=CARRIERS).accounts


def test_ci_runs_the_readmes_test_command() -> None:
    assert "<!-- tests -->" in CI
    assert "pytest" in snippet("tests", README)


def test_the_two_commands_need_nothing_but_python() -> None:
    for mark in ("demo", "tests"):
        assert snippet(mark, README).startswith("python3 -m venv .venv && .venv/bin/pip install -q")


def test_the_version_is_the_same_everywhere() -> None:
    import worker

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == worker.__version__
    assert f"## {worker.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_sql_for_sqlite_runs_as_written(tmp_path: Path) -> None:
    file = tmp_path / "returns.db"
    asyncio.run(_migrated(f"sqlite:///{file}"))
    connection = sqlite3.connect(file)
    connection.executescript(snippet("sqlite", README))
    connection.executescript(snippet("both", README))
    connection.executescript(snippet("sqlite-requests", STATES))
    connection.executescript(snippet("overview", TABLES))
    (count,) = connection.execute("SELECT shop_changes FROM return_order WHERE state = 'pending'").fetchone()
    connection.close()
    assert count == 3  # the mended payload, the retry, the withdrawal


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell (Debian: sqlite3)")
def test_a_return_can_be_inserted_with_the_sqlite3_shell(tmp_path: Path) -> None:
    file = tmp_path / "returns.db"
    asyncio.run(_migrated(f"sqlite:///{file}"))
    subprocess.run(["sqlite3", str(file)], input=snippet("sqlite", README), text=True, check=True, capture_output=True)
    shown = subprocess.run(
        [sys.executable, "-m", "worker", "show", "RMA-1001"],
        env={"RETURNS_WORKER_DATABASE__URL": f"sqlite:///{file}", "PATH": "/usr/bin"},
        cwd=tmp_path,
        text=True,
        check=True,
        capture_output=True,
    )
    assert "RMA-1001" in shown.stdout


async def test_the_sql_for_postgresql_runs_as_written(postgres_url: str) -> None:
    await _migrated(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(snippet("sqlite", README))
    await connection.execute(snippet("both", README))
    await connection.execute(snippet("postgresql", STATES))
    await connection.execute(snippet("overview", TABLES))
    (row,) = await connection.fetch("SELECT cancel_requested_at, shop_changes FROM return_order")
    await connection.close()
    assert row["cancel_requested_at"] is not None
    assert row["shop_changes"] == 2


@pytest.mark.skipif(shutil.which("psql") is None, reason="needs the psql shell (Debian: postgresql-client)")
def test_a_return_can_be_inserted_with_the_psql_shell(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    asyncio.run(_migrated(url))
    sql = snippet("sqlite", README) + "SELECT state FROM return_order;"
    ran = subprocess.run(["psql", url, "-qtA"], input=sql, text=True, check=True, capture_output=True)
    postgres_server.drop_database(url)
    assert ran.stdout.strip() == "pending"


def test_every_promise_names_tests_that_there_are() -> None:
    promises = read("docs/internals/promises.md")
    named = set(re.findall(r"`(test_\w+)`", promises))
    written = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in written} == set()


def test_the_way_out_in_the_page_of_commands_runs_as_written(tmp_path: Path) -> None:
    file = tmp_path / "returns.db"
    asyncio.run(_migrated(f"sqlite:///{file}"))
    words = shlex.split(snippet("ways-out", COMMANDS))
    assert words[0] == "returns-worker"
    ran = subprocess.run(
        [sys.executable, "-m", "worker", *words[1:]],
        env={"RETURNS_WORKER_DATABASE__URL": f"sqlite:///{file}", "PATH": "/usr/bin"},
        cwd=tmp_path,
        text=True,
        check=True,
        capture_output=True,
    )
    assert ran.stderr == "0 returns would be changed\n"


def test_the_table_of_a_thousand_kills_is_printed_by_the_command_beside_it(request: pytest.FixtureRequest) -> None:
    assert snippet("chaos", README).split()[-2:] == ["-m", "chaos"]
    assert any(line.startswith("chaos:") for line in request.config.getini("markers"))
    assert HEADER in README


def test_the_table_of_ninety_days_is_printed_by_the_command_beside_it() -> None:
    command = snippet("cadence", CADENCE).split()
    assert command[-3:-1] == ["-m", "long"]
    assert "def test_ninety_days_of_a_hundred_thousand_returns" in (ROOT / command[-1]).read_text(encoding="utf-8")
    assert CADENCE_HEADER in CADENCE


def test_the_figures_of_sweeps_are_printed_by_the_command_beside_them() -> None:
    command = snippet("sweeps", CADENCE).split()
    assert command[command.index("-m", 2) :][:2] == ["-m", "long"]
    assert "def test_open_returns_cost_at_most_a_tenth" in (ROOT / command[-1]).read_text(encoding="utf-8")


def test_the_figures_of_a_big_database_are_printed_by_the_command_beside_them() -> None:
    *_, module = snippet("scaling", SCALING).split()
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert CAPACITY_HEADER in SCALING


def test_the_drawing_of_a_cadence_is_what_the_command_beside_it_prints(tmp_path: Path) -> None:
    words = shlex.split(snippet("schedule", CADENCE))
    assert words[0] == "returns-worker"
    ran = subprocess.run(
        [sys.executable, "-m", "worker", *words[1:]],
        env={"PATH": "/usr/bin"},
        cwd=tmp_path,
        text=True,
        check=True,
        capture_output=True,
    )
    assert f"```\n{ran.stdout}```\n" in CADENCE
    requests = re.search(r"(\d+ x \d+) requests in ([\d.]+) days are (\d+) a minute", ran.stdout)
    assert requests, ran.stdout
    assert f"{requests[1]} / ({requests[2]} x 1440) = {requests[3]}." in CADENCE


def test_the_warning_of_too_many_polls_is_what_check_says(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").touch()
    default = load(tmp_path / "empty.toml", {"RETURNS_WORKER_ACCOUNTS__DEFAULT__API_KEY": "IZI-a-key"})
    rows = [
        Backlog("default", "tracking", status, count, 0, None, 0)
        for status, count in (("in_transit", 20_000), ("pre_transit", 3000))
    ]
    (line,) = overloads(default, rows)
    assert f"warning  {line}\n" in CADENCE


async def _migrated(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()
