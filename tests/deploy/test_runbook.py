"""The runbook's commands are real: each `returns-worker` line parses, each query runs, each link leads somewhere."""

import asyncio
import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.deploy.rules import RUNBOOK
from worker.cli.commands import application
from worker.store.database import Database
from worker.store.schema import migrate

TEXT = RUNBOOK.read_text(encoding="utf-8")
OPERATORS = {"|", "||", "&&", ";", "&", ">", ">>", "<", "(", ")"}


def blocks(kind: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def commands(script: str) -> list[list[str]]:
    """The words after each `returns-worker` in a shell script, up to the end of that command."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        command: list[str] | None = None
        before = ""
        for word in lexer:
            if word in OPERATORS:
                command = None
            elif command is not None:
                command.append(word)
            elif word.rsplit("/", 1)[-1] == "returns-worker" and before not in {"-g", "-o"}:  # a user's name
                command = []
                found.append(command)
            before = word
    return found


def parse(words: list[str]) -> Any:
    """Let the real command line read the words, and run nothing; raises what a user would be told."""
    command: Any = typer.main.get_command(application)
    context = command.make_context("returns-worker", list(words))
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return context  # such as `accounts`, which does something by itself
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
    return context


COMMANDS = [words for script in blocks("sh") for words in commands(script)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_in_the_runbook_is_one_that_the_command_line_takes(words: list[str]) -> None:
    assert parse(words) is not None


def test_there_are_commands_in_it() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("line", ["retry R-1 --no-such-option", "nonsense", "accounts hold", "list --state nowhere"])
def test_a_command_that_there_is_not_is_noticed(line: str) -> None:
    with pytest.raises(Exception) as refused:
        parse(commands(f"sudo -u returns returns-worker {line} | less")[0])
    assert hasattr(refused.value, "format_message")


def test_every_query_in_the_runbook_runs(tmp_path: Path) -> None:
    file = tmp_path / "returns.db"

    async def migrated() -> None:
        database = Database(f"sqlite:///{file}")
        await migrate(database)
        await database.close()

    asyncio.run(migrated())
    connection = sqlite3.connect(file)
    read = blocks("sql")
    for query in read:
        assert query.startswith("SELECT"), query
        connection.execute(query)
    connection.close()
    assert len(read) > 3


async def test_every_query_in_the_runbook_runs_on_postgresql_too(postgres_url: str) -> None:
    import asyncpg

    database = Database(postgres_url)
    await migrate(database)
    await database.close()
    connection = await asyncpg.connect(postgres_url)
    for query in blocks("sql"):
        await connection.fetch(query)
    await connection.close()


def test_every_link_leads_to_a_heading_or_a_file() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", TEXT, re.M)
    }
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert (RUNBOOK.parent / path).exists() if path else anchor in headings, target
