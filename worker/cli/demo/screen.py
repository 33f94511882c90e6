"""The demo's progress: redrawn in place on a terminal, a plain line now and then anywhere else."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli.demo.shop import News, Progress
from worker.domain.lifecycle import State
from worker.domain.tracking import TrackingStatus

_LINE_EVERY = 2.0  # seconds between lines where nothing can be redrawn
_STATUSES = tuple(status for status in TrackingStatus if status is not TrackingStatus.FAILED)
_COLOURS = {
    "completed": "green",
    "delivered": "green",
    "rejected": "yellow",
    "needs_attention": "yellow",
    "unknown": "yellow",
    "cancelled": "yellow",
    "expired": "yellow",
}

Show = Callable[[Progress], None]


@contextmanager
def screen(console: Console) -> Iterator[Show]:
    """Hands out what shows a progress; what it drew in place is gone afterwards, to make room for the summary."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines(console).show
        return
    picture = _Picture(console)
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield lambda progress: live.update(picture.drawn(progress), refresh=True)


class _Lines:
    """For files, pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = monotonic()
        self._next_at = 0.0

    def show(self, progress: Progress) -> None:
        seconds = monotonic() - self._started
        if seconds < self._next_at and not progress.finished:
            return
        self._next_at = seconds + _LINE_EVERY
        states = ", ".join(f"{count} {state}" for state in State if (count := progress.by_state.get(state, 0)))
        line = f"{seconds:5.1f} s  {progress.inserted} inserted: {states}; {progress.labels} labels"
        self._console.print(Text(line), soft_wrap=True)


class _Picture:
    """For a terminal of any size: the counts always, and as much of the latest news as there is room for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = monotonic()
        self._news: deque[tuple[float, News]] = deque(maxlen=60)

    def drawn(self, progress: Progress) -> RenderableType:
        seconds = monotonic() - self._started
        self._news.extend((seconds, news) for news in progress.news)
        counts = self._counts(progress)
        room = self._console.height - len(State) - 7
        return Group(
            Text(f"shop -> SQLite -> worker -> HTTP -> simulated Izipack, {seconds:.0f} s", style="dim"),
            Text(),
            self._total(progress),
            Text(),
            counts,
            Text(),
            *(self._lines(min(room, 14)) if room > 1 else ()),
        )

    def _total(self, progress: Progress) -> RenderableType:
        total = Table.grid(padding=(0, 2, 0, 0))
        total.add_row(
            Text("  at their end", style="bold"),
            ProgressBar(progress.expected, progress.ended, width=max(10, min(30, self._console.width - 45))),
            Text(f"{progress.ended} of {progress.expected}"),
            Text(f"{progress.labels} labels", style="dim"),
        )
        return total

    def _counts(self, progress: Progress) -> RenderableType:
        both = Table.grid(padding=(0, 4, 0, 2))
        states = _column("state", tuple(State), progress.by_state)
        statuses = _column("tracking_status", _STATUSES, progress.by_tracking_status)
        both.add_row(states, statuses)
        return both

    def _lines(self, room: int) -> Iterator[RenderableType]:
        for seconds, news in list(self._news)[-room:]:
            said = news.carrier_status or (news.reason or "").partition(";")[0]
            line = Text.assemble(
                (f"  {seconds:4.1f}  ", "dim"),
                f"{news.reference:8}",
                (f"{news.old_value or '':>15} -> " if news.old_value else " " * 19, "dim"),
                (f"{news.new_value or '':17}", _COLOURS.get(news.new_value or "", "")),
                (said, "dim"),
            )
            line.truncate(self._console.width - 1, overflow="ellipsis")
            yield line


def _column(title: str, names: tuple[str, ...], counts: Mapping[str, int]) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_row("", Text(title, style="dim"))
    for name in names:
        count = counts.get(name, 0)
        style = _COLOURS.get(name, "") if count else "dim"
        table.add_row(Text(f"{count:4}", style=style), Text(f"{name:16}", style=style))
    return table
