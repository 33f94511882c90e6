"""What happens to a simulated return as time passes, and the magic words that ask for trouble."""

import re
from collections.abc import Mapping, Sequence

from worker.simulator.answers import ANSWER_WORDS
from worker.simulator.labels import LABEL_WORDS
from worker.simulator.links import LINK_WORDS

DEFAULT_JOURNEY = ("Created", "PickedUp", "InTransit", "Delivered")
"""The words of a return's status, one stage after the other.

Only `Created` is documented by Izipack; the other words are made up by the simulator.
"""

MAGIC_WORDS: Mapping[str, str] = {
    "sim:busy": "the first create is answered 503 with Retry-After: 1, later ones succeed",
    "sim:refuse": "create is refused: 400 with a problem document; nothing is made",
    "sim:server-error": "create is answered 500; nothing is made",
    "sim:lost-answer": "create makes the order, then cuts the connection without an answer",
    "sim:no-number": "create makes the order and answers with success, but without its number",
    "sim:slow-label": "the label is first 404, then 200 with JSON, and the PDF from the third request on"
    " (ReturnPilot: no label_url at the first two looks)",
    "sim:bad-label": "the label is 200 and application/pdf, but its bytes are HTML, for ever",
    "sim:unknown-status": "the journey passes through AtDepot7, a word that is in no map, then goes on",
    "sim:other-codes": "the status names the label codes of the order made before it, if there is one",
    "sim:new-codes": "the status names label codes that no answer to a create had",
    "sim:stuck": "the status stays Created for ever (ReturnPilot: no shipment ever)",
    "sim:cancelled": "the journey ends in Cancelled (ReturnPilot: Refunded, the link run out)",
    "sim:expired-link": "ReturnPilot: the customer's link ran out two days ago, and there is no shipment ever",
    "sim:two-parcels": "ReturnPilot: a second shipment, with a label of its own, appears one stage later",
    "sim:png": "ReturnPilot: the label is a PNG",
    "sim:zpl": "ReturnPilot: the label is ZPL",
    "sim:dead-label": "ReturnPilot: the label's address is 404 for ever",
    "sim:long-ids": "ReturnPilot: ids have 19 digits",
    **{word: change.meaning for word, change in LINK_WORDS.items()},
    **{word: change.meaning for word, change in LABEL_WORDS.items()},
    **{word: change.meaning for word, change in ANSWER_WORDS.items()},
}
"""Magic word -> what it does. Put one, or several, anywhere in a description; at ReturnPilot, in any field."""

_JOURNEYS: Mapping[str, tuple[str, ...]] = {
    "sim:stuck": ("Created",),
    "sim:cancelled": ("Created", "Cancelled"),
    "sim:unknown-status": ("Created", "PickedUp", "AtDepot7", "InTransit", "Delivered"),
}

# A shop's reference is unique, so `sim:busy-1` and `sim:busy2` must count as `sim:busy`.
_WORD = re.compile(rf"({'|'.join(map(re.escape, MAGIC_WORDS))})(?![a-z])", re.IGNORECASE)


def magic_words(text: str) -> frozenset[str]:
    """The magic words in `text`, in lower case; no letter may follow one."""
    return frozenset(word.lower() for word in _WORD.findall(text))


def journey_for(words: frozenset[str], default: Sequence[str] = DEFAULT_JOURNEY) -> tuple[str, ...]:
    """The journey that `words` ask for; if several do, the first of stuck, cancelled, unknown-status."""
    return next((stages for word, stages in _JOURNEYS.items() if word in words), tuple(default))


def stage_at(journey: Sequence[str], elapsed: float, stage_seconds: float) -> str:
    """The word of `journey` that is current `elapsed` seconds after creation; with 0 per stage, the last."""
    return journey[stages_passed(elapsed, stage_seconds, len(journey) - 1)]


def stages_passed(elapsed: float, stage_seconds: float, last: int) -> int:
    """How many stages are over `elapsed` seconds after creation, `last` at most."""
    return last if stage_seconds <= 0 else int(min(max(elapsed / stage_seconds, 0), last))
