"""The command that asks the worker on this machine how it is: a container's health check, with no shell and no curl."""

import http.client
from typing import Annotated

import typer

from worker.cli.context import Exit, explained, fail, settings_of, shown
from worker.settings import Settings

_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what listens everywhere is asked on loopback
_LONGEST_ANSWER = 64 * 1024  # bytes; /readyz has a short line for each account


def health(
    context: typer.Context,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask /readyz (database and schema) instead of /livez (the loop turns).")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds to wait for each part of the answer.")
    ] = 3.0,
) -> None:
    """Ask the worker on this machine how it is; exit code 0 when it is well. Needs no key and opens no database."""
    path = "/readyz" if ready else "/livez"
    with explained():
        host, port = _address(settings_of(context))
    status, answer = _ask(host, port, path, timeout)
    typer.echo(shown(answer.strip()))
    if status != http.client.OK:
        raise typer.Exit(Exit.FAILED)


def _address(settings: Settings) -> tuple[str, int]:
    if settings.http.port == 0:
        fail(
            f"error: http.listen is {settings.http.listen}: the worker took any free port, and only its log says which",
            Exit.BAD_CONFIGURATION,
        )
    return _THIS_MACHINE.get(settings.http.host, settings.http.host), settings.http.port


def _ask(host: str, port: int, path: str, timeout: float) -> tuple[int, str]:
    """Status and text; http.client, because it heeds no proxy of the environment: this is never for one."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(_LONGEST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        reason = f"nothing within {timeout:g} s" if isinstance(error, TimeoutError) else str(error)
        shown_host = f"[{host}]" if ":" in host else host
        fail(f"error: no answer from http://{shown_host}:{port}{path}: {shown(reason) or type(error).__name__}")
    finally:
        connection.close()
