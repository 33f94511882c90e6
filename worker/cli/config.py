"""The commands that begin a configuration: a commented file to fill in, and its schema for editors."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import Exit, answer, fail, say, shown
from worker.listening import DEFAULT_FILE, configuration_file
from worker.settings.schema import schema, start_file

config = typer.Typer(
    help="Write a commented file of all settings to start from, or their schema for editors.",
    add_completion=False,
    no_args_is_help=True,
)


@config.command("init")
def init(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The file to write, which must not be there yet; - is stdout.")] = str(
        DEFAULT_FILE
    ),
) -> None:
    """Write a file of all settings, each with its default and its reason, to start from."""
    if context.obj is not None:
        fail("error: --config names a file to read; the one to write comes last: config init FILE", Exit.USAGE)
    if file == "-":
        answer(start_file().removesuffix("\n"))
        return
    try:
        _write(start_file(), file)
    except FileExistsError:
        fail(f"error: {shown(file)} is there already and stays as it is; name another file, or - for stdout")
    except (OSError, ValueError) as error:
        fail(f"error: cannot write {shown(file)}: {getattr(error, 'strerror', None) or error}")
    named = "" if configuration_file(None, os.environ) == Path(file) else f" --config {shown(file)}"
    say(f"written to {shown(file)}, for its owner alone (0600), since it may come to hold a key")
    say("yours to fill in: carrier and api_key_file of [accounts.default], for Izipack its receiver and status_map")
    say(f"then: returns-worker{named} check")


@config.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the settings, for editors (Even Better TOML, taplo)."""
    answer(json.dumps(schema(), indent=2))


def _write(text: str, file: str) -> None:
    """Make the file, whole or not at all; raises `FileExistsError` where one is, even a link that leads nowhere."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError:
        with suppress(OSError):
            Path(file).unlink()
        raise
