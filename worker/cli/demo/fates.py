"""What the demo promises: every kind of return it sends in, how each must end, and whether it did."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.cli.demo.samples import SAMPLE_REFERENCE, broken, broken_pilot, made_up, made_up_pilot, sample


@dataclass(frozen=True, slots=True)
class Ending:
    """What a return came to: three columns of its row, the pages of its labels, its creations that were sent."""

    state: str
    tracking_status: str | None = None
    error_code: str | None = None
    label_pages: int | None = None
    creations_sent: int = 1

    def __str__(self) -> str:
        parts = [self.state, self.tracking_status or "", self.error_code or ""]
        parts.append(f"labels of {self.label_pages} page(s)" if self.label_pages else "no label")
        return ", ".join([*filter(None, parts), f"sent {self.creations_sent} time(s)"])


@dataclass(frozen=True, slots=True)
class Fate:
    """A kind of return: how many, what happens to them, and what is promised.

    `passes` is a value that the history must hold besides; `rests` says that the worker must leave it as it is.
    """

    name: str
    count: int
    happening: str
    promise: str
    ending: Ending
    magic_word: str = ""
    passes: str | None = None
    rests: bool = False
    account: str = "default"


_DELIVERED = Ending("completed", "delivered", label_pages=1)
_IN_DOUBT = Ending("needs_attention", error_code="create_outcome_unknown")
_EXPIRED = Ending("completed", "expired")
_UNTOUCHED = Ending("pending", creations_sent=0)

IZIPACK_FATES: Sequence[Fate] = (
    Fate(
        "sample",
        1,
        "the sample of Izipack's manual",
        "delivered; a label of two pages",
        Ending("completed", "delivered", label_pages=2),
    ),
    Fate("ordinary", 24, "nothing unusual", "delivered; label stored", _DELIVERED),
    Fate(
        "slow_label",
        2,
        "label: 404, JSON, then the PDF",
        "delivered; label in the end",
        _DELIVERED,
        "sim:slow-label",
    ),
    Fate(
        "bad_label",
        1,
        "label: HTML said to be a PDF",
        "delivered; no label stored",
        Ending("completed", "delivered", error_code="label_unusable"),
        "sim:bad-label",
    ),
    Fate(
        "unknown_status",
        2,
        "a status word nobody knows",
        "unknown for a while; delivered",
        _DELIVERED,
        "sim:unknown-status",
        passes="unknown",
    ),
    Fate(
        "busy",
        1,
        "503 and Retry-After at first",
        "waited, sent again, delivered",
        Ending("completed", "delivered", label_pages=1, creations_sent=2),
        "sim:busy",
    ),
    Fate("dead_worker", 1, "taken by a worker that died", "taken over after its lease", _DELIVERED),
    Fate(
        "cancelled",
        1,
        "cancelled at the carrier",
        "completed, as cancelled",
        Ending("completed", "cancelled", label_pages=1),
        "sim:cancelled",
    ),
    Fate(
        "withdrawn",
        1,
        "withdrawn by the shop in SQL",
        "cancelled; no longer followed",
        Ending("cancelled", "pre_transit", label_pages=1),
        "sim:stuck",
        passes="tracking",
    ),
    Fate(
        "invalid",
        2,
        "payload full of mistakes",
        "rejected unsent, all named",
        Ending("rejected", error_code="invalid_payload", creations_sent=0),
    ),
    Fate("mended", 1, "the same, mended in SQL", "rejected, put back; delivered", _DELIVERED, passes="rejected"),
    Fate(
        "refused",
        2,
        "refused by the carrier",
        "rejected; nothing exists there",
        Ending("rejected", error_code="carrier_refused"),
        "sim:refuse",
    ),
    Fate(
        "lost_answer",
        1,
        "created, the answer was lost",
        "not sent again; a person decides",
        _IN_DOUBT,
        "sim:lost-answer",
    ),
    Fate(
        "no_number",
        1,
        "created, no number in answer",
        "not sent again; a person decides",
        _IN_DOUBT,
        "sim:no-number",
    ),
    Fate("later", 1, "due tomorrow", "left alone until then", _UNTOUCHED, rests=True),
    Fate("unroutable", 1, "an account nobody configured", "left alone, and counted", _UNTOUCHED, rests=True),
)

PILOT_FATES: Sequence[Fate] = tuple(
    replace(fate, account="pilot")
    for fate in (
        Fate(
            "pilot",
            6,
            "a link; scheduled a while later",
            "pending at first; delivered",
            _DELIVERED,
            passes="pending",
        ),
        Fate(
            "pilot_two",
            1,
            "two parcels, one after the other",
            "delivered; a label for each",
            Ending("completed", "delivered", label_pages=2),
            "sim:two-parcels",
        ),
        Fate("pilot_png", 1, "a label that is a PNG", "delivered; label stored", _DELIVERED, "sim:png"),
        Fate(
            "pilot_dead_label",
            1,
            "a label_url that is dead",
            "delivered; no label stored",
            Ending("completed", "delivered", error_code="label_unreachable"),
            "sim:dead-label",
        ),
        Fate(
            "pilot_lost",
            1,
            "created, the answer was lost",
            "found again, not sent twice",
            _DELIVERED,
            "sim:lost-answer",
        ),
        Fate("pilot_expired", 1, "a link that ran out", "completed, as expired", _EXPIRED, "sim:expired-link"),
        Fate(
            "pilot_withdrawn",
            1,
            "withdrawn by the shop in SQL",
            "deleted at the carrier",
            Ending("cancelled", "pending"),
            "sim:stuck",
            passes="tracking",
        ),
        Fate(
            "pilot_invalid",
            1,
            "limits broken",
            "rejected unsent, all named",
            Ending("rejected", error_code="invalid_payload", creations_sent=0),
        ),
    )
)
FATES: Sequence[Fate] = (*IZIPACK_FATES, *PILOT_FATES)


@dataclass(frozen=True, slots=True)
class SampleReturn:
    """One return that the demo's shop will insert."""

    fate: Fate
    reference: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """What really became of one return, and every value its history holds."""

    ending: Ending
    history: frozenset[str]


def sample_returns() -> list[SampleReturn]:
    """Every return of the demo in the order of insertion: ordinary ones between those with a story."""
    number = 1000
    ordinary: list[SampleReturn] = []
    special: list[SampleReturn] = []
    for fate in FATES:
        for _ in range(fate.count):
            number += 1
            letter = "P" if fate.account == "pilot" else "R"
            new = SampleReturn(fate, f"{letter}-{number}", _payload(fate, number))
            if fate.name == "sample":
                new = SampleReturn(fate, SAMPLE_REFERENCE, sample())
            (ordinary if fate.name == "ordinary" else special).append(new)
    mixed = [new for pair in zip(special, ordinary, strict=False) for new in pair]
    return mixed + special[len(ordinary) :] + ordinary[len(special) :]


def broken_promises(returns: Sequence[SampleReturn], observed: dict[str, Observed]) -> dict[str, str]:
    """Reference -> what was promised and what happened instead, for each return where they differ."""
    broken: dict[str, str] = {}
    for each in returns:
        found = observed.get(each.reference)
        if found is None:
            broken[each.reference] = f"promised {each.fate.ending}; it was never inserted"
        elif found.ending != each.fate.ending:
            broken[each.reference] = f"promised {each.fate.ending}; happened {found.ending}"
        elif each.fate.passes and each.fate.passes not in found.history:
            broken[each.reference] = f"promised to pass {each.fate.passes!r}, which its history does not hold"
    return broken


def _payload(fate: Fate, number: int) -> dict[str, Any]:
    if fate.account == "pilot":
        return broken_pilot(number) if fate.name == "pilot_invalid" else made_up_pilot(number, fate.magic_word)
    return broken(number) if fate.name in ("invalid", "mended") else made_up(number, fate.magic_word)
