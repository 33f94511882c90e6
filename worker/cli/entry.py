"""How the `returns-worker` command starts and ends."""

import errno
import os
import sys

from worker.cli.streams import Unwritable, forget_stdout, put_in_order
from worker.runtime.signals import keep_signals

_FAILED = 1
_INTERRUPTED = 130  # what a shell says of a command that was ended by Ctrl-C


def main() -> None:
    """The `returns-worker` command."""
    put_in_order()
    words = sys.argv[1:]
    if "run" in words:  # which takes them once it is ready to; any other command lets them through
        keep_signals()
    try:
        code = _code_of(words)
        sys.stdout.flush()
    except Unwritable as error:
        forget_stdout()
        if error.errno != errno.EPIPE:  # else the reader has seen enough
            sys.stderr.write(f"error: cannot write to stdout: {error}\n")
        code = _FAILED
    if "obstore" in sys.modules:
        # Its threads answer into an interpreter that is being taken down, and now and then abort the process: the
        # exit code would be chance. Nothing is left to be tidied up here.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _code_of(words: list[str]) -> int:
    """Do what the words say; returns the exit code."""
    try:
        from worker.cli.probe import answer_plainly  # noqa: PLC0415 - it takes a while, in which Ctrl-C is obeyed

        code = answer_plainly(words)
        if code is not None:
            return code
        from worker.cli.commands import application  # noqa: PLC0415 - the health check does without typer

        application()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
