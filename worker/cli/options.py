"""The arguments and options that several commands have, and what they come to."""

import getpass
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import timedelta
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from worker.cli.output import Exit, fail
from worker.domain.by_hand import Person
from worker.domain.lifecycle import State
from worker.settings import parse_duration
from worker.store import leases
from worker.usecases.not_done import is_utf8

ReferenceArgument = Annotated[str, typer.Argument(help="The shop's reference.")]
NameArgument = Annotated[str, typer.Argument(help="The account's name.", metavar="NAME")]
AccountOption = Annotated[str | None, typer.Option("--account", help="Which account's return it is.")]
AccountFilter = Annotated[str | None, typer.Option("--account", help="Only this account.")]
StateFilter = Annotated[
    list[State] | None,
    # Left to itself typer names them all in a narrow column, and folds them within a word.
    typer.Option(
        "--state", metavar="STATE", help=f"Only these states: {', '.join(State)}; may be given several times."
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
EmailOption = Annotated[str | None, typer.Option("--email", help="All returns whose customer has this address.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who decides; else the user and the machine.")]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have a group of options, a dataclass, as one parameter: each field is an option of its own."""
    own = signature(command).parameters.values()
    groups: dict[str, Any] = {each.name: each.annotation for each in own if is_dataclass(each.annotation)}
    flat = [
        part.replace(kind=Parameter.KEYWORD_ONLY)
        for each in own
        for part in (signature(groups[each.name]).parameters.values() if each.name in groups else [each])
    ]

    @wraps(command)
    def called(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    called.__signature__ = Signature(flat)  # type: ignore[attr-defined]
    return called


@dataclass(frozen=True, slots=True)
class Decider:
    """The options of a command that writes into the history."""

    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the history.")] = ""
    by: ByOption = None

    @property
    def person(self) -> Person:
        """Who decides, and why."""
        return person_of(self.by, self.reason)


def duration_of(option: str, text: str | None) -> timedelta | None:
    """An option's duration, such as "2h"; None where it is not given."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        fail(f"error: {option}: {error}", Exit.USAGE)


owner_of_command = leases.owner_of_command
"""What a lease that a command takes is signed with."""


def person_of(by: str | None, reason: str) -> Person:
    """The person who decides."""
    if not is_utf8((by or "") + reason):
        fail("error: an argument is not UTF-8", Exit.USAGE)
    return Person.of(by or _user(), reason)


def _user() -> str:
    user = os.environ.get("SUDO_USER")
    if not user:
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
