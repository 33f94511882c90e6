"""The command that inserts returns from files, for shops without a database client at hand and for tests."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.output import answer, counted, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import note, opened_settings, run
from worker.domain.documents import read_json
from worker.store.columns import why_unreadable
from worker.store.upkeep.intake import AlreadyThere, InsertRefused, NewReturn, insert_returns
from worker.usecases.not_done import capped
from worker.usecases.opening import opened_database


def add(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="JSON or JSON Lines; - is stdin.", metavar="FILE...")],
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave references alone that are there already.")
    ] = False,
) -> None:
    """Insert returns: objects with "reference", "payload" and perhaps "account". All of them or none."""

    async def work() -> None:
        settings, _ = opened_settings(context)
        problems: list[str] = []
        returns = [new for name in files for new in _read(name, problems)]
        times = Counter((new.account, new.reference) for new in returns)
        problems += [f"{reference}: is given {count} times" for (_, reference), count in times.items() if count > 1]
        if not returns and not problems:
            problems.append("there are no returns in it")
        if problems:
            fail("\n".join([*map(shown, capped(problems)), "nothing was inserted"]))
        strangers = [
            f"warning: account {account!r} is not configured here: its returns wait until it is"
            for account in sorted({new.account for new in returns} - settings.accounts.keys())
        ]
        for line in capped(strangers, "warning: {} more accounts are not configured here"):
            say(line)
        async with opened_database(settings, tell=note) as database:
            try:
                with progress(f"inserting {counted(len(returns))}"):
                    count = await insert_returns(database, returns, skip_existing=skip_existing)
            except InsertRefused as error:
                fail(f"error: {error}; nothing was inserted")
            except AlreadyThere as error:
                there = ", ".join(capped(error.references))
                fail(shown(f"error: already there: {there}; nothing was inserted (--skip-existing leaves them alone)"))
        answer(f"{counted(count)} inserted")

    run(work())


def _read(name: str, problems: list[str]) -> list[NewReturn]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name}: cannot be read: {error}")
        return []
    returns = []
    for place, value in _values(name, text, problems):
        new = _new_return(value, place, problems)
        if new is not None:
            returns.append(new)
    return returns


def _values(name: str, text: str, problems: list[str]) -> list[tuple[str, Any]]:
    """Each object with its place: a JSON object, a JSON list, or one object a line."""
    try:
        whole = read_json(text)
    except ValueError as error:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        if len(lines) < 2:
            problems.append(f"{name}: {why_unreadable(error)}")
            return []
        values = []
        for number, line in lines:
            try:
                values.append((f"{name}:{number}", read_json(line)))
            except ValueError as line_error:
                problems.append(f"{name}:{number}: {why_unreadable(line_error)}")
        return values
    if isinstance(whole, list):
        return [(f"{name}[{index}]", value) for index, value in enumerate(whole)]
    return [(name, whole)]


def _new_return(value: Any, place: str, problems: list[str]) -> NewReturn | None:
    if not isinstance(value, dict):
        problems.append(f"{place}: must be an object")
        return None
    found = [f"{key[:60]}: is not known here" for key in value.keys() - {"reference", "payload", "account"}]
    reference, payload, account = value.get("reference"), value.get("payload"), value.get("account", "default")
    if not isinstance(reference, str) or not reference.strip():
        found.append("reference: must be text, not empty")
    if not isinstance(payload, dict):
        found.append("payload: is missing" if payload is None else "payload: must be an object")
    if not isinstance(account, str) or not account.strip():
        found.append("account: must be text, not empty")
    problems += [f"{place}: {problem}" for problem in found]
    return None if found else NewReturn(account, str(reference), dict(payload or {}))
