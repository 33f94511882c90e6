"""What `check` finds, and what it comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from worker.usecases.not_done import capped


class Verdict(Enum):
    """What a finding comes to."""

    GOOD = auto()
    WARNING = auto()  # it works, but somebody should know
    BAD = auto()  # the worker would not start, or not work
    BAD_CONFIGURATION = auto()  # the same, by its configuration
    UNAVAILABLE = auto()  # the same, since the database cannot be reached


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    line: str


class Findings(list[Finding]):
    """All that was found, in the order in which it was looked at."""

    def good(self, line: str) -> None:
        """It is as it should be."""
        self.append(Finding(Verdict.GOOD, line))

    def warn(self, line: str) -> None:
        """It works, but somebody should know."""
        self.append(Finding(Verdict.WARNING, line))

    def bad(self, line: str, verdict: Verdict = Verdict.BAD) -> None:
        """The worker would not start, or not work."""
        self.append(Finding(verdict, line))

    def bad_each(self, begin: str, lines: Sequence[str], rest: str) -> None:
        """The first of many `lines`, and the `rest` with how many more there are; each begins with `begin`."""
        for line in capped(lines, rest):
            self.bad(f"{begin}{line}")
