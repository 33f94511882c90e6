"""What a command says, and the exit codes it ends with."""

import sys
from enum import IntEnum
from typing import NoReturn

import typer

from worker.telemetry.terminal import shown

__all__ = ["MOST", "Exit", "answer", "counted", "fail", "say", "shown"]


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
    # Named, since left to itself it takes ASCII for a mistake and writes UTF-8.
    typer.echo(message, file=sys.stdout)


def say(message: str) -> None:
    """A message for a person, on stderr."""
    typer.echo(message, file=sys.stderr)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """End the command with a message."""
    say(message)
    raise typer.Exit(code)
