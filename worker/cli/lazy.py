"""A group of commands each of which is imported when it is called, so that a command pays for its own imports alone."""

import ast
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup

from worker.runtime.signals import let_signals_through


@dataclass(frozen=True, slots=True)
class Entry:
    """A command before it is imported: where in `worker.cli`, as `module:name`."""

    place: str
    takes_signals: bool = False
    """Whether it takes the signals that were kept since the process began; else they are let through first."""

    def summary(self) -> str:
        """The first paragraph of its help, read in its source: a list of commands must not import each of them."""
        module, _, name = self.place.partition(":")
        source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            match node:
                case ast.FunctionDef(name=found) if found == name:
                    return (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
                case ast.Assign(targets=[ast.Name(id=found)], value=ast.Call(keywords=given)) if found == name:
                    return next(str(ast.literal_eval(each.value)) for each in given if each.arg == "help")
        return ""

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
    """Knows the names of its `entries`, and where to find the rest."""

    entries: ClassVar[Mapping[str, Entry]]

    def __init__(self, **attributes: Any) -> None:
        """Take what typer gives a group, and put a stand-in in the place of each command."""
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name) for name in self.entries}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the commands, each with its line of help."""
        for name, entry in self.entries.items():
            self.commands[name].help = entry.summary()
        super().format_help(ctx, formatter)

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
