"""Prints rows and values for a reader; what a carrier or a shop wrote is never taken for markup."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from worker.cli.output import answer_json, shown

T = TypeVar("T")

_SHORT = ("reference", "account", "carrier says", "carrier ref", "error")  # cut on a narrow terminal
_WHOLE = ("observed at", "what", "from", "to", "state", "tracking", "due", *_SHORT[:2], *_SHORT[3:])  # never wrapped
_LEAST = {"state": 15, "tracking": 11, "carrier says": 9}  # columns a narrow terminal must not swallow
_LONGEST = 200  # characters of one field
_LONGEST_REASON = 2100  # what was wrong with a payload is named in full
_PIPED_WIDTH = 4000


def print_list(
    items: Sequence[T],
    header: tuple[str, ...],
    row: Callable[[T], tuple[Any, ...]],
    plain: Callable[[T], Mapping[str, Any]],
    *,
    as_json: bool,
) -> None:
    """A table with a `row` for each; as JSON a line for each, of what `plain` makes of it."""
    if as_json:
        for each in items:
            answer_json(plain(each))
    else:
        print_table(header, [row(each) for each in items])


def print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]], console: Console | None = None) -> None:
    """No wider than a terminal is; into a pipe each row is one whole line, for grep and awk."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=_PIPED_WIDTH, file=console.file)
    table = Table(box=None, padding=(0, 2 if console.width >= 100 else 1, 0, 0), show_header=bool(rows))
    for name in header:
        overflow: OverflowMethod = "ellipsis" if name in _SHORT else "fold"
        table.add_column(name, overflow=overflow, no_wrap=name in _WHOLE, min_width=_LEAST.get(name))
    longest = [_LONGEST_REASON if name == "reason" else _LONGEST for name in header]
    for row in rows:
        table.add_row(
            *(Text("" if value is None else text_of(value)[:most]) for value, most in zip(row, longest, strict=True))
        )
    console.print(table)


def text_of(value: Any) -> str:
    """A value on one line that is safe on a terminal."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return shown(str(value))
