"""Measures the figures of docs/internals/performance.md: `python -m tests.benchmarks`, from the checkout's folder.

Exit code 0 when every figure could be told, whether it reaches what it should or not; 1 when one was too noisy to say.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.databases import Databases
from tests.benchmarks.figure import NOISE_BOUND, Figure, Group
from tests.benchmarks.groups import GROUPS
from tests.benchmarks.plots import draw_claims, draw_cpu
from tests.benchmarks.processes import ROOT
from tests.benchmarks.table import row, table, with_rows

PAGE = ROOT / "docs" / "internals" / "performance.md"
_VERSIONS = ("aiohttp", "asyncpg", "httpx", "sqlalchemy", "uvloop")


def main() -> int:
    """Choose, measure, tell."""
    chosen = arguments_of_the_command()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is stopped then too
    if chosen.plots:
        return _draw(chosen.plots, quick=chosen.quick)
    groups = [group for group in GROUPS if not chosen.only or _is_meant(group, chosen.only)]
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="returns-worker-benchmarks-") as folder:
        for group in groups:
            began = time.monotonic()
            with Databases.private(
                Path(folder)
            ) as databases:  # a server of its own: no figure inherits another's state
                samples = group.measure(databases, chosen.quick)
            figures += [Figure(*pair, quick=chosen.quick) for pair in zip(group.subjects, samples, strict=True)]
            print(f"{group.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            if chosen.json:  # after each group: hours of measuring are not lost to a fault in the last
                chosen.json.write_text(json.dumps(_document(figures, quick=chosen.quick), indent=1) + "\n")
    print(table(map(row, figures)))
    if chosen.write_docs:
        rows = {figure.subject.name: row(figure) for figure in figures}
        order = [subject.name for group in GROUPS for subject in group.subjects]
        PAGE.write_text(with_rows(PAGE.read_text(encoding="utf-8"), rows, order), encoding="utf-8")
    noisy = [figure for figure in figures if figure.too_noisy]
    for figure in noisy:
        print(
            f"TOO NOISY TO SAY: {figure.subject.name}: the rounds lie {figure.spread:.0%} apart, on both sides of the"
            f" reach {figure.subject.reach}; more than {NOISE_BOUND:.0%} is too much. Run it on a quieter machine.",
            file=sys.stderr,
        )
    return 1 if noisy else 0


def _draw(folder: Path, *, quick: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="returns-worker-benchmarks-") as name:
        for draw in (draw_cpu, draw_claims):
            with Databases.private(Path(name)) as databases:
                print(draw(databases, folder, quick), flush=True)
    return 0


def arguments_of_the_command() -> argparse.Namespace:
    """What was asked for."""
    names = sorted({name for group in GROUPS for name in (group.name, *(each.name for each in group.subjects))})
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs and fewer rounds, for a look")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--write-docs", action="store_true", help=f"put the lines into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="measure and draw the two pictures, nothing else")
    return parser.parse_args()


def _is_meant(group: Group, names: Sequence[str]) -> bool:
    return group.name in names or any(subject.name in names for subject in group.subjects)


def _document(figures: Sequence[Figure], *, quick: bool) -> dict[str, Any]:
    return {
        "quick": quick,
        "machine": {"cores": os.cpu_count(), "kind": platform.machine(), "load": os.getloadavg()},
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _VERSIONS},
        "figures": [figure.as_document() for figure in figures],
    }


if __name__ == "__main__":
    sys.exit(main())
