"""The command `demo`: the whole job on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from worker.cli.explained import explained
from worker.cli.output import fail, say
from worker.cli.session import logs_for
from worker.cli.shown_return import print_return
from worker.demo.folder import LOG, make_folder
from worker.demo.play import play
from worker.demo.screen import blank, drawn
from worker.runtime.loop import run_loop

_INTERRUPTED = 130  # what a shell says of a command that was ended by Ctrl-C


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for database, labels and log; default: a temporary one.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw its end there; a file of that name is written over.")
    ] = None,
) -> None:
    """The whole job on this machine: simulated carriers, sample returns, the worker; it takes some ten seconds."""
    console, picture = Console(highlight=False, markup=False), blank()
    try:
        with explained():
            folder = make_folder(keep)
            console.print(f"returns-worker demo in {folder}", style="bold", soft_wrap=True)
            as_promised = run_loop(play(folder, console, picture, logs_for, print_return))
    except OSError as error:  # a folder that cannot be written to, a port that cannot be had
        where = f"{error.filename}: " if error.filename else ""
        fail(f"error: the demo cannot run: {where}{error.strerror or error}")
    if as_promised is None:
        say(f"interrupted; what there is so far: {folder}")
        raise typer.Exit(_INTERRUPTED)
    if svg is not None:
        try:
            svg.write_text(drawn(picture), encoding="utf-8")
        except OSError as error:
            fail(f"error: the picture cannot be written: {svg}: {error.strerror}")
    if not as_promised:
        fail(f"the log may say why: {folder / LOG}")
