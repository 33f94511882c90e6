"""Prints rows and values for a reader; what a carrier or a shop wrote is never taken for markup."""

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.output import answer_json, say, shown

T = TypeVar("T")

_WRAPPED = ("carrier says", "reason", "matched", "waits for", "mapped to")  # at words; all other columns stay whole
_GIVES_WAY = ("created", "due", "carrier says", "tracking", "archived")  # in this order, where a terminal is too narrow
_LEAST = 12  # characters of a column that is wrapped
_LONGEST = 200  # characters of one value in a terminal's table; a reason is what was wrong with a payload, in full


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
    """No wider than a terminal is; into a pipe each row is one whole line, for grep and awk.

    What a terminal has no room for is left out column by column, and said; where that is not enough, each row becomes
    lines of its own. References, numbers and codes are never cut nor folded.
    """
    console = console or of_stdout()
    if not rows:
        return
    cells = [["" if value is None else text_of(value) for value in row] for row in rows]
    if not console.is_terminal:
        _print_lines(console, [list(header), *cells])
        return
    longest = [None if name == "reason" else _LONGEST for name in header]
    cells = [[each[:most] for each, most in zip(row, longest, strict=True)] for row in cells]
    least = [_least(name, [row[place] for row in cells]) for place, name in enumerate(header)]
    gap = 2 if console.width >= 100 else 1
    places, left_out = list(range(len(header))), list[str]()

    def is_too_wide() -> bool:
        return sum(least[place] + gap for place in places) > console.width

    for name in _GIVES_WAY:
        if is_too_wide() and name in header:
            places.remove(header.index(name))
            left_out.append(name)
    if is_too_wide():
        _print_one_by_one(console, header, cells)
        return
    table = Table(box=None, padding=(0, gap, 0, 0))
    for place in places:
        table.add_column(header[place], overflow="fold", no_wrap=header[place] not in _WRAPPED, min_width=least[place])
    for row in cells:
        table.add_row(*(Text(row[place]) for place in places))
    console.print(table)
    if left_out:
        say(f"no room here for {', '.join(left_out)}: a wider terminal, a pipe and --json have them")


def of_stdout() -> Console:
    """Stdout, as the terminal that it is or is not: rich takes a pipe for one where the environment has FORCE_COLOR."""
    return Console(force_terminal=sys.stdout.isatty())


def print_facts(console: Console, facts: Mapping[str, str], *, wrapped: Sequence[str] = ()) -> None:
    """A line for each, by its name; what is there to be copied stays on one line, which the terminal may fold.

    `wrapped`: names of long texts, which a terminal wraps at words.
    """
    width = max(map(len, facts), default=0) + 2
    for name, value in facts.items():
        lines = [value]
        if name in wrapped and console.is_terminal:
            lines = textwrap.wrap(value, max(console.width - width, 20), break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            console.print(Text.assemble((f"{name if number == 0 else '':{width}}", "dim"), line), soft_wrap=True)


def text_of(value: Any) -> str:
    """A value on one line that is safe on a terminal."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return shown(str(value))


def _least(name: str, values: Sequence[str]) -> int:
    longest = max(map(cell_len, (name, *values)))
    return min(longest, max(_LEAST, len(name))) if name in _WRAPPED else longest


def _print_lines(console: Console, rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (each + " " * (width - cell_len(each)) for each, width in zip(row, widths, strict=True))
        console.print(Text("  ".join(padded).rstrip()), soft_wrap=True)


def _print_one_by_one(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for number, row in enumerate(rows):
        if number:
            console.print()
        facts = {name: value for name, value in zip(header, row, strict=True) if value}
        print_facts(console, facts, wrapped=_WRAPPED)
