"""The commands by name; what one of them needs is imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

import worker
from worker.cli.lazy import Entry, LazyGroup
from worker.cli.output import answer


class Commands(LazyGroup):
    """Every command. What is said of each here is the first paragraph of its own help; a test holds that."""

    entries = {  # noqa: RUF012
        "run": Entry(
            "service:run_worker",
            "Pick up returns and follow them, until told to stop by SIGTERM, SIGINT or SIGHUP.",
            takes_signals=True,
        ),
        "demo": Entry(
            "demo.command:demo",
            "The whole job on this machine: simulated carriers, sample returns, the worker; it takes some ten seconds.",
        ),
        "migrate": Entry("service:migrate_schema", "Bring the database's schema up to date; its data is kept."),
        "check": Entry("check:check", "Say what is wrong before it matters."),
        "config": Entry(
            "config:config", "Write a commented file of all settings to start from, or their schema for editors."
        ),
        "health": Entry("health:health", "Ask the worker on this machine how it is; exit code 0 when it is well."),
        "schedule": Entry(
            "schedule:schedule",
            "Say when a return would be polled over its life, and what many of them cost; asks no carrier.",
        ),
        "add": Entry(
            "intake:add",
            'Insert returns: objects with "reference", "payload" and perhaps "account". All of them or none.',
        ),
        "list": Entry("list_and_show:list_returns", "List returns, newest first."),
        "show": Entry("list_and_show:show", "Show one return with its whole history."),
        "label": Entry("label:label", "Write a return's stored label to a file or to stdout."),
        "retry": Entry(
            "decisions:retry",
            "Do again what was rejected, or held after failing too often; a creation in doubt is only looked up.",
        ),
        "resolve": Entry(
            "decisions:resolve", "Say what became of a creation in doubt, after looking for it at the carrier."
        ),
        "cancel": Entry(
            "decisions:cancel",
            "Withdraw returns: at the carrier where that takes it, else they are followed no longer.",
        ),
        "poll": Entry(
            "poll:poll",
            "Ask the carrier now where a return is, out of turn and within the pace; also one that is completed.",
        ),
        "statuses": Entry(
            "statuses:statuses", "List the carrier's words seen so far, how often, and what they are mapped to."
        ),
        "archive": Entry(
            "archive:archive",
            "Move completed and cancelled returns, with their history, to `archived_return`, while work goes on.",
        ),
        "erase": Entry(
            "erase:erase", "Erase the personal data of returns that are completed, cancelled or rejected, for good."
        ),
        "export": Entry(
            "export:export",
            "Print everything that is held about a return, or about a customer, as JSON; the archive's too.",
        ),
        "backup": Entry(
            "backup:backup", "Copy the SQLite database while work goes on, check the copy, and put it in place."
        ),
        "restored": Entry(
            "decisions:restored",
            "Say that the database was set back by a snapshot: what may have been created since is looked up, or held.",
        ),
        "copy-to": Entry(
            "copy_to:copy_to_postgresql", "Retire the SQLite file, and move everything from it to an empty PostgreSQL."
        ),
        "simulate": Entry(
            "simulate:simulate",
            "Serve the simulated carriers, for one's own tests; what the carriers do not document is made up.",
        ),
        "accounts": Entry("accounts:accounts", "Show what each account waits for, hold one, release it."),
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
            readable=False,  # not looked at here: it is bad configuration, 78, and no wrong usage
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and exit.")
    ] = False,
) -> None:
    """Options of every command."""
    context.obj = config
