"""Puts the commands together and starts them."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

import worker
from worker.cli import (
    accounts,
    backup,
    demo,
    health,
    inspect,
    intake,
    leaving,
    move,
    poll,
    schedule,
    service,
    statuses,
    ways_out,
)

application = typer.Typer(
    name="returns-worker",
    help="Creates a shop's return orders at the carrier, stores their labels and follows them to their end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and so keys
)
application.command("run")(service.run_worker)
application.command("demo")(demo.demo)
application.command("migrate")(service.migrate_schema)
application.command("check")(service.check)
application.command("health")(health.health)
application.command("schedule")(schedule.schedule)
application.command("add")(intake.add)
application.command("list")(inspect.list_returns)
application.command("show")(inspect.show)
application.command("label")(inspect.label)
application.command("retry")(ways_out.retry)
application.command("resolve")(ways_out.resolve)
application.command("cancel")(ways_out.cancel)
application.command("poll")(poll.poll)
accounts.accounts.command("rename")(leaving.rename)
accounts.accounts.command("retire")(leaving.retire)
application.add_typer(accounts.accounts, name="accounts")
application.command("statuses")(statuses.statuses)
application.command("backup")(backup.backup)
application.command("restored")(ways_out.restored)
application.command("copy-to")(move.copy_to_postgresql)
application.command("simulate")(service.simulate)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"returns-worker {worker.__version__}")
        raise typer.Exit


@application.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Configuration file; else RETURNS_WORKER_CONFIG, else returns-worker.toml if there is one.",
            show_default=False,
            readable=False,  # not looked at here: it is bad configuration, 78, and no wrong usage
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = config


def main() -> None:
    """The `returns-worker` command."""
    try:
        application()
    except SystemExit as ended:
        if "obstore" in sys.modules:
            # Its threads answer into an interpreter that is being taken down, and now and then abort the process: the
            # exit code would be chance. Nothing is left to be tidied up here.
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(_code_of(ended))
        raise


def _code_of(ended: SystemExit) -> int:
    return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
