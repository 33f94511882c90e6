"""The table of the figures in Markdown, as it is printed and as it stands in docs/internals/performance.md."""

import re
from collections.abc import Iterable, Mapping
from statistics import median

from tests.benchmarks.figure import Figure

HEADER = "| figure | measured | over | comes to | reach | verdict | spread | rounds |"
_RULE = "|---|---|---|---|---|---|---|---|"
_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"


def row(figure: Figure) -> str:
    """One line."""
    subject, samples = figure.subject, figure.samples
    unit = f" {subject.measured_in or subject.unit}".rstrip()
    over = f"{shown(median(samples.baselines))}{unit}" if samples.baselines else ""
    cells = (
        f"`{subject.name}`",
        f"{shown(median(samples.measured))}{unit}",
        over,
        f"**{shown(figure.value)}**" + (f" {subject.unit}" if subject.unit else ""),
        str(subject.reach),
        figure.verdict + (f"; {samples.note}" if samples.note else ""),
        f"{figure.spread:.0%}",
        f"{len(figure.rounds)}" + (", quick" if figure.quick else ""),
    )
    return f"| {' | '.join(cells)} |"


def table(rows: Iterable[str]) -> str:
    """The whole of it."""
    return "\n".join((HEADER, _RULE, *rows))


def shown(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rows_of(page: str) -> dict[str, str]:
    """The lines of the table in a page, by the figure's name."""
    _, inside, _ = _parts(page)
    return {found[1]: line for line in inside.splitlines() if (found := re.match(r"\| `([\w-]+)`", line))}


def with_rows(page: str, rows: Mapping[str, str], order: Iterable[str]) -> str:
    """The page with these lines in its table; those of figures that were not run stay as they are."""
    before, _, after = _parts(page)
    known = rows_of(page) | dict(rows)
    return f"{before}\n{table(known[name] for name in order if name in known)}\n{after}"


def _parts(page: str) -> tuple[str, str, str]:
    """What is before the table, the table, and what is after it; the marks belong to the outer two."""
    before, found, rest = page.partition(_BEGIN)
    inside, also_found, after = rest.partition(_END)
    if not found or not also_found:
        raise ValueError(f"the page has no {_BEGIN} ... {_END}")
    return before + _BEGIN, inside, _END + after
