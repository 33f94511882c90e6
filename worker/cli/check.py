"""The command `check`: says what is wrong before it matters."""

from contextlib import suppress
from typing import Annotated

import typer

from worker.cli.output import Exit, answer, say
from worker.cli.progress import progress
from worker.cli.session import opened_settings, run, settings_of
from worker.from_settings import in_force
from worker.settings import ConfigurationError, show
from worker.telemetry.terminal import shown_lines
from worker.usecases.check import find_faults
from worker.usecases.findings import Verdict

_SAID = {Verdict.GOOD: "ok", Verdict.WARNING: "warning"}  # the others are errors
_CODES = {
    Verdict.BAD: Exit.FAILED,
    Verdict.BAD_CONFIGURATION: Exit.BAD_CONFIGURATION,
    Verdict.UNAVAILABLE: Exit.DATABASE_UNAVAILABLE,
}


def check(
    context: typer.Context,
    show_settings: Annotated[bool, typer.Option("--show", help="Print the settings in force, secrets masked.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Ask each carrier one harmless question.")] = False,
) -> None:
    """Say what is wrong before it matters."""

    async def work() -> None:
        if show_settings:
            with suppress(ConfigurationError):  # said below, together with what is missing
                shown_settings = settings_of(context)
                answer(show(shown_settings, {name: in_force(shown_settings, name) for name in shown_settings.accounts}))
        settings, _ = opened_settings(context, need_keys=True)
        with progress("looking at everything"):
            findings = await find_faults(settings, online=online)
        for each in findings:
            say(shown_lines(f"{_SAID.get(each.verdict, 'error'):8} {each.line}"))
        code = max((_CODES.get(each.verdict, 0) for each in findings), default=0)
        if code:
            raise typer.Exit(code)

    run(work())
