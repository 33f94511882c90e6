"""A figure: what was measured in several rounds, what it comes to, and whether that is enough, or cannot be said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

NOISE_BOUND = 0.25
"""How far the rounds may lie apart, as a part of their median, where they do not agree about the reach."""

_MANY = 5  # rounds; from here on the lowest and the highest do not count as spread


@dataclass(frozen=True, slots=True)
class Reach:
    """What a figure is to come to: at most `limit`, or at least."""

    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value is within it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a figure is about, known before anything is measured; `unit` is empty where it is a ratio.

    `measured_in` is the unit of the two values a ratio is made of.
    """

    name: str
    meaning: str
    reach: Reach
    unit: str = ""
    measured_in: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """What the rounds brought; the first measured value belongs to the first baseline. A ratio has baselines.

    `note` stands beside the verdict, `details` in the JSON file only.
    """

    measured: Sequence[float]
    baselines: Sequence[float] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Figures measured together; `measure(databases, quick)` brings the samples of each subject in their order."""

    name: str
    subjects: Sequence[Subject]
    measure: Callable[[Any, bool], Sequence[Samples]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A subject and its samples: one line of the table."""

    subject: Subject
    samples: Samples
    quick: bool = False

    def __post_init__(self) -> None:
        measured, baselines = len(self.samples.measured), len(self.samples.baselines)
        if not measured or baselines not in ({measured} if not self.subject.unit else {0}):
            raise ValueError(f"{self.subject.name}: {measured} values, {baselines} baselines")

    @property
    def rounds(self) -> list[float]:
        """Each round's ratio, or value."""
        if not self.samples.baselines:
            return list(self.samples.measured)
        return [value / base for value, base in zip(self.samples.measured, self.samples.baselines, strict=True)]

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart, as a part of their median; with five or more without the two outermost."""
        rounds = sorted(self.rounds)
        kept = rounds[1:-1] if len(rounds) >= _MANY else rounds
        return (kept[-1] - kept[0]) / self.value if self.value else 0.0

    @property
    def too_noisy(self) -> bool:
        """Whether the rounds lie so far apart, and on both sides of the reach, that nothing can be said."""
        return self.spread > NOISE_BOUND and len({self.subject.reach.holds(value) for value in self.rounds}) > 1

    @property
    def verdict(self) -> str:
        """A word or two for the table."""
        if self.too_noisy:
            return "too noisy to say"
        return "reached" if self.subject.reach.holds(self.value) else "MISSED"

    def as_document(self) -> dict[str, Any]:
        """Everything, for the JSON file."""
        return {
            "name": self.subject.name,
            "meaning": self.subject.meaning,
            "value": self.value,
            "unit": self.subject.unit or "ratio",
            "reach": str(self.subject.reach),
            "verdict": self.verdict,
            "spread": self.spread,
            "rounds": self.rounds,
            "measured": list(self.samples.measured),
            "baselines": list(self.samples.baselines),
            "measured_in": self.subject.measured_in or self.subject.unit,
            "quick": self.quick,
            "note": self.samples.note,
            "details": dict(self.samples.details),
        }
