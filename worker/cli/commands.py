"""The commands by name; what one of them needs is imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

import worker
from worker.cli.lazy import Entry, LazyGroup
from worker.cli.output import answer


class Commands(LazyGroup):
    """Every command, in the order in which they are listed."""

    entries = {  # noqa: RUF012
        "run": Entry("service:run_worker", takes_signals=True),
        "demo": Entry("demo:demo"),
        "migrate": Entry("service:migrate_schema"),
        "check": Entry("check:check"),
        "config": Entry("config:config"),
        "health": Entry("health:health"),
        "schedule": Entry("schedule:schedule"),
        "add": Entry("intake:add"),
        "adopt": Entry("adopt:adopt"),
        "find": Entry("find:find"),
        "list": Entry("list_and_show:list_returns"),
        "show": Entry("list_and_show:show"),
        "label": Entry("label:label"),
        "retry": Entry("decisions:retry"),
        "resolve": Entry("decisions:resolve"),
        "cancel": Entry("decisions:cancel"),
        "poll": Entry("poll:poll"),
        "statuses": Entry("statuses:statuses"),
        "archive": Entry("archive:archive"),
        "erase": Entry("erase:erase"),
        "export": Entry("export:export"),
        "backup": Entry("backup:backup"),
        "restored": Entry("decisions:restored"),
        "copy-to": Entry("copy_to:copy_to_postgresql"),
        "simulate": Entry("simulate:simulate"),
        "accounts": Entry("accounts:accounts"),
        "webhooks": Entry("webhooks:webhooks"),
    }


application = typer.Typer(
    name="returns-worker",
    cls=Commands,
    help="Creates a shop's return orders at the carrier, stores their labels and follows them to their end.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and so keys
)


def _version(wanted: bool) -> None:
    if wanted:
        answer(f"returns-worker {worker.__version__}")
        raise typer.Exit


@application.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Configuration file; else RETURNS_WORKER_CONFIG, else returns-worker.toml if there is one.",
            show_default=False,
            readable=False,  # the settings look at it: a bad file is bad configuration (78), not wrong usage
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = config
