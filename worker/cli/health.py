"""The command that asks the worker on this machine how it is: a container's health check, with no shell and no curl."""

from typing import Annotated

import typer

from worker.cli.output import Exit, fail
from worker.cli.probe import PATIENCE, NotAsked, plain_address, tell


def health(
    context: typer.Context,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask /readyz (database and schema) instead of /livez (the loop turns).")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds to wait for each part of the answer.")
    ] = PATIENCE,
) -> None:
    """Ask the worker on this machine how it is; exit code 0 when it is well.

    Needs no key and opens no database.
    """
    try:
        address = plain_address(context.obj)
    except NotAsked:
        address = _validated(context)
    raise typer.Exit(tell(address, ready=ready, timeout=timeout))


def _validated(context: typer.Context) -> tuple[str, int]:
    """The address after reading all settings, which says everything that is wrong with them."""
    from worker.cli.explained import explained  # noqa: PLC0415 - these cost more than all the rest
    from worker.cli.session import settings_of  # noqa: PLC0415

    with explained():
        http = settings_of(context).http
    if http.port == 0:
        fail(
            f"error: http.listen is {http.listen}: the worker took any free port, and only its log says which",
            Exit.BAD_CONFIGURATION,
        )
    return http.host, http.port
