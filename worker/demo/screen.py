"""How the demo shows itself: its progress on a terminal or as plain lines, and its end as a picture."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from worker.demo.fates import CARRIERS
from worker.demo.shop import Progress

_LINE_EVERY = 2.0  # seconds between lines where nothing can be redrawn
_WIDTH = 92  # characters: the longest line of the demo's end
_FONT_FACE = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


@contextmanager
def screen(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Hands out what shows a progress; what it drew in place is gone afterwards, to make room for the summary."""
    next_at = 0.0

    def print_line(progress: Progress) -> None:
        nonlocal next_at
        if progress.seconds >= next_at or progress.finished:
            next_at = progress.seconds + _LINE_EVERY
            console.print(_line(progress), soft_wrap=True)

    if not console.is_terminal or console.is_dumb_terminal:
        yield print_line
        return
    with Live(console=console, auto_refresh=False, transient=True, redirect_stderr=False) as live:
        yield lambda progress: live.update(counts_table(progress), refresh=True)


def counts_table(progress: Progress) -> Table:
    """How many returns are where, with a column for each carrier."""
    title = f"after {progress.seconds:.1f} s, with {progress.labels} labels"
    table = Table("", *CARRIERS.values(), title=title, title_justify="left", box=None, header_style="dim")
    for place in dict.fromkeys(place for _, place in progress.counts):
        table.add_row(place, *(str(progress.counts.get((account, place), 0)) for account in CARRIERS))
    return table


def _line(progress: Progress) -> str:
    places: Counter[str] = Counter()
    for (_, place), count in progress.counts.items():
        places[place] += count
    told = ", ".join(f"{count} {place}" for place, count in places.items())
    return f"{progress.seconds:5.1f} s  {places.total()} returns: {told}; {progress.labels} labels"


def blank() -> Console:
    """A console whose output is kept for the picture, and shown nowhere."""
    return Console(file=io.StringIO(), record=True, width=_WIDTH, highlight=False, markup=False)


def drawn(console: Console) -> str:
    """All that was printed, as an SVG that fetches nothing and says nothing of the machine or the time."""
    # rich names fonts of another host, which a reader's browser would fetch.
    return _FONT_FACE.sub("", console.export_svg(title="returns-worker demo", unique_id="demo"))
