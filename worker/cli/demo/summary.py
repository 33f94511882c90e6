"""The demo's end: what was promised and what happened, one whole history, and where to go on."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.demo.fates import IZIPACK_FATES, PILOT_FATES, SampleReturn
from worker.cli.demo.folder import DATABASE, LABELS, LOG
from worker.cli.demo.samples import SAMPLE_REFERENCE
from worker.cli.inspect import print_history
from worker.store.queries import History

# A shop's plain SQL, with the sample's payload for want of another.
_INSERT_AGAIN = """INSERT INTO return_order (reference, payload)
    SELECT 'my-first', payload FROM return_order WHERE reference = '345'"""

# The metrics that tell the same story, each with the labels that belong to it.
_METRICS = (
    ("steps_total", ('step="create"', 'outcome="stored"', 'outcome="completed"', 'outcome="cancelled"')),
    ("carrier_requests_total", ('operation="create"',)),
    ("unknown_carrier_status_total", ("",)),
    ("orders_unroutable", ("",)),
)


@dataclass(frozen=True, slots=True)
class Creations:
    """The carrier's own count: returns it was asked to create, requests for that, and what it did with them."""

    asked_for: int
    requests: int
    turned_away: int
    refused: int
    made: int
    made_twice: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything the summary tells; `broken` holds the returns whose promise was not kept."""

    returns: Sequence[SampleReturn]
    broken: dict[str, str]
    izipack: Creations
    returnpilot: Creations
    polls: int
    pilot_polls: int
    labels_recorded: int
    labels_on_disk: int
    history: History | None
    metrics_url: str
    metrics: str
    seconds: float
    in_time: bool

    @property
    def as_promised(self) -> bool:
        """Whether everything happened that was promised, and nothing else."""
        return (
            self.in_time
            and not self.broken
            and not self.izipack.made_twice
            and not self.returnpilot.made_twice
            and self.labels_recorded == self.labels_on_disk
        )


def print_summary(findings: Findings, folder: Path, console: Console) -> None:
    """Tell the whole story; wide lines that are there to be copied are left to the terminal to wrap."""
    _print_fates(findings, console)
    _print_counts(findings, folder, console)
    if findings.history is not None:
        _print_heading("One return from beginning to end: the sample of Izipack's manual", console)
        print_history(findings.history, console)
    _print_heading(f"The same told by {findings.metrics_url}", console)
    _print_metrics(findings.metrics, console)
    _print_next_steps(folder, console)
    _print_verdict(findings, folder, console)


def _print_fates(findings: Findings, console: Console) -> None:
    _print_heading(f"What became of {len(findings.returns)} returns in {findings.seconds:.0f} seconds", console)
    for carrier, fates in (("Izipack", IZIPACK_FATES), ("ReturnPilot", PILOT_FATES)):
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        for header, width in (("", 4), (f"at {carrier}", 32), ("what is promised", 32), ("kept", 8)):
            table.add_column(header, min_width=width)
        for fate in fates:
            broken = sum(each.reference in findings.broken for each in findings.returns if each.fate is fate)
            kept = Text(f"{fate.count - broken} of {fate.count}", style="red" if broken else "green")
            table.add_row(f"{fate.count:4}", fate.happening, fate.promise, kept)
        console.print(table)


def _print_counts(findings: Findings, folder: Path, console: Console) -> None:
    _print_heading("What there is now", console)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for header in ("", "Izipack", "ReturnPilot"):
        table.add_column(header)
    both = (findings.izipack, findings.returnpilot)
    for name, told in (
        ("  creations", [f"{each.asked_for} asked for, {each.requests} requests seen" for each in both]),
        ("", [f"{each.made} there, {_twice(each)}" for each in both]),
        ("", [f"{each.turned_away} turned away and sent again" for each in both]),
        ("", [f"{each.refused} refused" for each in both]),
        ("  polls", [f"{findings.polls}, one for each look", f"{findings.pilot_polls}, pages of the list too"]),
    ):
        table.add_row(Text(name, style="dim"), *told)
    console.print(table)
    for name, place in (
        ("labels", f"{findings.labels_on_disk} files in {folder / LABELS}"),
        ("database", str(folder / DATABASE)),
        ("log", str(folder / LOG)),
    ):
        console.print(Text.assemble((f"  {name:11}", "dim"), place), soft_wrap=True)


def _twice(creations: Creations) -> str:
    return f"{creations.made_twice} TWICE" if creations.made_twice else "none twice"


def _print_metrics(exposition: str, console: Console) -> None:
    for name, wanted in _METRICS:
        metric = f"returns_worker_{name}"
        lines = [line for line in exposition.splitlines() if line.startswith((f"{metric}{{", f"{metric} "))]
        found = [line.rpartition(" ") for line in lines if any(label in line for label in wanted)]
        told = [(series.removeprefix(metric), float(value)) for series, _, value in found]
        told = [(labels, value) for labels, value in told if value]
        console.print(Text(f"  {metric}"))
        for labels, value in told:
            console.print(Text(f"    {value:4.0f}  ") + Text(labels or "in all", style="dim"), soft_wrap=True)


def _print_next_steps(folder: Path, console: Console) -> None:
    _print_heading("Next", console)
    for command, remark in (
        (f"cd {shlex.quote(str(folder))}", ""),
        ("returns-worker list --state needs_attention", "what a person has to decide"),
        (f"returns-worker label {SAMPLE_REFERENCE} -o label.pdf", "the sample's label"),
        ("returns-worker simulate --rate-limit 0", "carriers that stay"),
        ("returns-worker run", "the worker, in a 2nd terminal"),
        (f'sqlite3 {DATABASE} "{_INSERT_AGAIN}"', ""),
        ("returns-worker show my-first", "again and again: it moves"),
    ):
        note = Text(f"  # {remark}" if remark else "", style="dim")
        console.print(Text(f"  {command:43}" if remark else f"  {command}") + note, soft_wrap=True)


def _print_verdict(findings: Findings, folder: Path, console: Console) -> None:
    console.print()
    if findings.as_promised:
        console.print(Text("Everything happened as promised.", style="bold green"))
        return
    if not findings.in_time:
        console.print(Text("The time was over before every return had reached its end.", style="bold red"))
    for reference, difference in findings.broken.items():
        console.print(Text(f"{reference}: {difference}", style="red"), soft_wrap=True)
    if findings.labels_recorded != findings.labels_on_disk:
        both = f"{findings.labels_recorded} labels are recorded, {findings.labels_on_disk} files are there"
        console.print(Text(both, style="red"))
    console.print(Text(f"Not everything happened as promised; the log may say why: {folder / LOG}"), soft_wrap=True)


def _print_heading(text: str, console: Console) -> None:
    console.print()
    console.print(Text(text, style="bold"), soft_wrap=True)
    console.print()
