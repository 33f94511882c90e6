"""Fixtures that every part of the suite may use, and how many test files run at a time."""

import pytest

from tests.databases import (
    kind,
    migrated_file,
    migrated_postgres,
    migrated_postgres_url,
    migrated_url,
    own_database,
    untouched,
)
from tests.pgbouncer import pgbouncer
from tests.postgres import postgres_server, postgres_url

__all__ = [
    "kind",
    "migrated_file",
    "migrated_postgres",
    "migrated_postgres_url",
    "migrated_url",
    "own_database",
    "pgbouncer",
    "postgres_server",
    "postgres_url",
    "untouched",
]


_PROCESSES = {"process", "chaos", "deploy", "store", "cli", "integrate", "browser"}
"""Where tests wait for processes and databases: begun last, a single one would keep the end of a run waiting."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; else the order stays as it was drawn."""
    items.sort(key=lambda item: item.path.parent.name not in _PROCESSES)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Four: most tests wait for a process or a moment. The long forms measure, and have the machine to themselves."""
    return 4 if "not long" in config.option.markexpr else 0
