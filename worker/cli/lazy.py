"""A group of commands each of which is imported when it is called, so that a command pays for its own imports alone."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from worker.runtime.signals import let_signals_through


@dataclass(frozen=True, slots=True)
class Entry:
    """A command before it is imported: where in `worker.cli`, as `module:name`, and what the list of commands says."""

    place: str
    summary: str
    takes_signals: bool = False
    """Whether it takes the signals that were kept since the process began; else they are let through first."""

    def load(self) -> Any:
        """Import it, and make what typer makes of a function, or of a group of its own."""
        module, _, name = self.place.partition(":")
        with _no_collection():
            found = getattr(import_module(f"worker.cli.{module}"), name)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(add_completion=False)
        alone.command()(found)
        return typer.main.get_command(alone)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Imports make a great many objects that stay: to look through them for garbage costs a tenth of a start."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class LazyGroup(TyperGroup):
    """Knows the names of its `entries`, and one line of help for each."""

    entries: ClassVar[Mapping[str, Entry]]

    def __init__(self, **attributes: Any) -> None:
        """Take what typer gives a group, and put a stand-in in the place of each command."""
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=entry.summary) for name, entry in self.entries.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, and not its stand-in: it is called, or asked for its help."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            entry = self.entries[name]
            if not entry.takes_signals:
                let_signals_through()
            command = entry.load()
            command.name = name
        return name, command, rest
