"""Asks the worker on this machine how it is, with the standard library alone: a container does so all day long."""

import http.client
import os
import sys
from pathlib import Path

from worker.listening import read_listen
from worker.telemetry.terminal import shown

PATIENCE = 3.0
"""Seconds to wait for each part of the answer, unless told otherwise."""

_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what listens everywhere is asked on loopback
_LONGEST_ANSWER = 64 * 1024  # bytes; /readyz has a short line for each account


class NotAsked(Exception):
    """Where the worker listens is not plain: only the whole configuration tells it, or what is wrong with it."""


class NoAnswer(Exception):
    """No answer came, or none of HTTP; the message says who was asked."""


def plain_address(config: Path | None) -> tuple[str, int]:
    """Where `http.listen` says that the worker listens; raises `NotAsked`."""
    try:
        host, port = read_listen(config, os.environ)
    except (OSError, ValueError) as error:
        raise NotAsked from error
    if port == 0:
        raise NotAsked
    return host, port


def ask(address: tuple[str, int], *, ready: bool, timeout: float) -> tuple[bool, str]:
    """Whether it is well, and what it says; raises `NoAnswer`."""
    host, port, path = _THIS_MACHINE.get(address[0], address[0]), address[1], "/readyz" if ready else "/livez"
    # http.client, because it heeds no proxy of the environment: this is never for one.
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == http.client.OK, answer.read(_LONGEST_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        reason = f"nothing within {timeout:g} s" if isinstance(error, TimeoutError) else str(error)
        shown_host = f"[{host}]" if ":" in host else host
        raise NoAnswer(f"no answer from http://{shown_host}:{port}{path}: {reason or type(error).__name__}") from error
    finally:
        connection.close()


def tell(address: tuple[str, int], *, ready: bool, timeout: float) -> int:
    """Ask, and say what came of it; the exit code."""
    try:
        well, text = ask(address, ready=ready, timeout=timeout)
    except NoAnswer as error:
        sys.stderr.write(f"error: {shown(str(error))}\n")
        return 1
    sys.stdout.write(f"{shown(text.strip())}\n")
    return 0 if well else 1


def answer_plainly(words: list[str]) -> int | None:
    """The exit code of `health` and `health --ready`; None for anything else, which takes the whole command line."""
    if words not in (["health"], ["health", "--ready"]):
        return None
    try:
        address = plain_address(None)
    except NotAsked:
        return None
    return tell(address, ready=len(words) > 1, timeout=PATIENCE)
