"""What a command says, and the exit codes it ends with."""

import json
import shlex
import sys
from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum
from typing import Any, NoReturn

import typer

from worker.telemetry.terminal import shown
from worker.usecases.not_done import NAMED, capped

__all__ = ["LOOKED_UP", "MOST", "Exit", "Left", "answer", "answer_json", "counted", "fail", "pasted", "say", "shown"]

LOOKED_UP = "is looked up, or needs attention"
"""What becomes of a return that may have been created at the carrier without our knowing."""

_REASONS = 20


class Exit(IntEnum):
    """Exit codes; 69 and 78 are sysexits.h's EX_UNAVAILABLE and EX_CONFIG."""

    FAILED = 1
    USAGE = 2
    DATABASE_UNAVAILABLE = 69
    BAD_CONFIGURATION = 78


MOST = 1_000_000_000
"""The largest number of rows that an option takes; both databases can count so far."""


def counted(returns: int) -> str:
    """So many returns, in words."""
    return f"{returns} {'return' if returns == 1 else 'returns'}"


def answer(message: str) -> None:
    """A line, or several, of a result, on stdout."""
    # Named, because left to itself typer writes UTF-8 where stdout is ASCII.
    typer.echo(message, file=sys.stdout)


def answer_json(value: Any, *, indent: int | None = None) -> None:
    """A result for programs, on stdout; on one line unless it is indented."""
    answer(json.dumps(value, indent=indent, default=datetime.isoformat))


def say(message: str) -> None:
    """A message for a person, on stderr."""
    typer.echo(message, file=sys.stderr)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """End the command with a message."""
    say(message)
    raise typer.Exit(code)


def pasted(command: str, argument: str, *options: str) -> str:
    """A command of ours as a shell takes it, whatever its argument is; options stand as they are to be pasted."""
    words = ["returns-worker", command]
    if argument.startswith("-"):
        return " ".join((*words, *options, "--", quoted(argument)))
    return " ".join((*words, quoted(argument), *options))


def quoted(word: str) -> str:
    """One word for a shell; what a terminal is not shown is written as bytes, as bash, zsh and ksh read them.

    Blanked out, as in other texts, it would be another word: that of another return.
    """
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(char if char.isprintable() and char not in "'\\" else _octal(char) for char in word) + "'"


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


class Left:
    """Which returns a command left as they were, and why: it keeps a handful of each reason, however many there are."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.count = 0
        self._reasons: dict[str, tuple[int, list[str]]] = {}
        self._beyond = 0

    def add(self, left: Iterable[tuple[str, str]]) -> None:
        """References, each with the reason."""
        for reference, why in left:
            self.count += 1
            if why not in self._reasons and len(self._reasons) == _REASONS:
                self._beyond += 1
                continue
            count, references = self._reasons.get(why, (0, []))
            self._reasons[why] = (count + 1, [*references, reference][:NAMED])

    def tell(self) -> None:
        """A line for each reason."""
        for why, (count, references) in self._reasons.items():
            say(shown(f"left: {', '.join(capped(references, count=count))}: {why}"))
        if self._beyond:
            say(f"left: {self._beyond} more, for other reasons")

    def fail_if_any(self) -> None:
        """End the command as failed where the database refused any."""
        if self.count:
            fail("error: the database refuses some by a rule that was added to it; mend that, and run it again")
