"""How far a command is, for a person who waits: on a terminal, after a second, and never in what is piped."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[int, int | None], None]
"""Told how much is done, and of how much; None: that is not known."""

_AFTER = 1.0  # seconds for which nobody wonders


@contextmanager
def progress(doing: str, *, after: float = _AFTER) -> Iterator[Tell]:
    """Show on stderr what is being done and for how long; gone at the end, so print results and errors afterwards.

    What is said meanwhile appears above it, folded to the terminal's width.
    """
    # Asked of the stream itself: rich takes a pipe for a terminal where the environment has FORCE_COLOR.
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda done, total: None
        return
    from rich import progress as bars  # noqa: PLC0415 - a pipe does without
    from rich.console import Console  # noqa: PLC0415

    bar = bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # it would go to stderr
    )
    task = bar.add_task(doing, total=None)

    def tell(done: int, total: int | None) -> None:
        said = f"{doing}: {done}" if total is None else f"{doing}: {done} of {total}"
        bar.update(task, completed=done, total=total, description=said)

    timer = threading.Timer(after, bar.start)
    timer.start()
    try:
        yield tell
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
