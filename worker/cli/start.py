"""How the `returns-worker` command starts and ends."""

import os
import sys
from io import TextIOWrapper

from worker.cli.probe import answer_plainly


def main() -> None:
    """The `returns-worker` command."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a terminal or a pipe that is not UTF-8 gets a ? and no traceback
    code = answer_plainly(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from worker.cli.commands import application  # noqa: PLC0415 - the health check does without typer

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
