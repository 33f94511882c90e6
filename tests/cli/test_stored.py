"""What is stored never breaks a command: each says what is wrong with that row, and the others are fine."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere
from tests.postgres import PostgresServer

DIGITS = '{"a": ' + "9" * 5000 + "}"
DEEP = '{"a": ' + "[" * 1500 + "]" * 1500 + "}"
LARGE = '{"a": "' + "x" * 1_500_000 + '"}'
ROWS = {"DIGITS": DIGITS, "DEEP": DEEP, "LARGE": LARGE, "FINE": '{"items": []}'}
WHY = {
    "DIGITS": "a number of more than 4,300 digits",
    "DEEP": "nested too deeply",
    "LARGE": "larger than 1,000,000 bytes",
}


@pytest.fixture
def url(migrated_url: str, folder: Path) -> str:
    """A database with such rows: completed, so that they can be archived."""
    if migrated_url.startswith("sqlite:"):
        with sqlite3.connect(migrated_url.removeprefix("sqlite:///")) as connection:
            connection.execute("DROP TRIGGER return_order_payload_size_insert")
            connection.executemany(_INSERT.format("?, ?, ?"), [(name, name, text) for name, text in ROWS.items()])
        connection.close()
    else:
        elsewhere(_fill(migrated_url))
    configured(folder, f'[database]\nurl = "{migrated_url}"\n{ACCOUNTS}')
    return migrated_url


_INSERT = (
    "INSERT INTO return_order (reference, carrier_ref, payload, state, next_step, due_at, updated_at)"
    " VALUES ({}, 'completed', 'track', NULL, '2020-01-01 00:00:00')"
)


async def _fill(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("SET session_replication_role = replica")
    for name, payload in ROWS.items():
        await connection.execute(_INSERT.format("$1, $2, $3"), name, name, payload)
    await connection.close()


def _shown(reference: str) -> tuple[Any, str]:
    done = called("show", reference, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), done.stderr


def test_list_show_and_check_are_fine_with_what_cannot_be_read(url: str) -> None:
    for options in ([], ["--json"]):
        done = called("list", *options)
        assert done.exit_code == 0, done.output
        assert all(name in done.stdout for name in ROWS)
    for name in ROWS:
        document, said = _shown(name)
        assert (document["payload"] is None) == (name in WHY)
        assert WHY.get(name, "") in said
    assert called("check").exit_code == 0


def test_archive_takes_it_and_show_says_so_of_that_one(url: str) -> None:
    done = called("archive", "--older-than", "400d")
    assert done.exit_code == 0, done.output
    assert _shown("FINE")[0]["payload"] == {"items": []}
    done = called("show", "DIGITS")
    assert done.exit_code == 1
    assert "its document cannot be read: it holds a number of more than 4,300 digits" in done.stderr


@pytest.mark.parametrize("kind", ["sqlite"])
def test_copy_to_takes_it_along(url: str, postgres_server: PostgresServer) -> None:
    target = postgres_server.create_database()
    done = called("copy-to", target)
    assert done.exit_code == 0, done.output
    configured(Path.cwd(), f'[database]\nurl = "{target}"\n{ACCOUNTS}')
    assert WHY["DIGITS"] in _shown("DIGITS")[1]
    postgres_server.drop_database(target)


def test_add_says_what_is_wrong_and_where(migrated_url: str, folder: Path) -> None:
    configured(folder, f'[database]\nurl = "{migrated_url}"\n{ACCOUNTS}')
    for name, payload in ROWS.items():
        (folder / "new.json").write_text(f'{{"reference": "{name}", "payload": {payload}}}')
        done = called("add", "new.json")
        assert done.exit_code == (1 if name in WHY else 0), done.output
        assert WHY.get(name, "") in done.stderr
        assert "9999" not in done.stderr
