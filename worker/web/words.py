"""What is said to a person of a way out, of what ends a wait, and of an error code; and which addresses are links."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from worker.domain.error_codes import MEANING as _MEANING
from worker.domain.error_codes import WhoActs
from worker.domain.waits import WaitsFor
from worker.usecases.missing_label import LabelWay
from worker.usecases.ways import Way


class Offer(NamedTuple):
    """A way out as a page offers it: where its own page is, below the return's, and what it does."""

    path: str
    text: str


WAYS: Mapping[Way, Offer] = {
    Way.FOUND: Offer("resolve", "Say that the carrier has it, and under which number"),
    Way.NOT_CREATED: Offer("resolve", "Say that the carrier does not have it, so that it is sent again"),
    Way.RETRY: Offer("retry", "Do again what failed"),
    Way.POLL: Offer("poll", "Ask the carrier about it now"),
    Way.CANCEL: Offer("cancel", "Withdraw it"),
}


class Remedy(NamedTuple):
    """What leads on where a label is missing; `command`: what it takes on the worker's machine, if anything."""

    text: str
    command: str = ""


LABEL_WAYS: Mapping[LabelWay, tuple[Remedy, ...]] = {
    LabelWay.ACCEPT: (
        Remedy("Look at what came", "returns-worker label REFERENCE --refetch --unchecked -o FILE"),
        Remedy("Take it as it is", "returns-worker label REFERENCE --accept"),
    ),
    LabelWay.RETRY: (Remedy("It is sought no longer: do again what failed, and it is sought again"),),
    LabelWay.REFETCH: (
        Remedy("It is sought again by itself"),
        Remedy("Ask for it now", "returns-worker label REFERENCE --refetch"),
    ),
}

ENDS: Mapping[WaitsFor, str] = {
    WaitsFor.WORKER_ABSENT: "It goes on when a worker is started.",
    WaitsFor.ACCOUNT_NOT_CONFIGURED: "It goes on when a worker has its account in its configuration.",
    WaitsFor.KEY_REFUSED: "It goes on when the account has another key, or is released.",
    WaitsFor.PAUSED_BY_PERSON: "It goes on when the account is released, or its hold is over.",
    WaitsFor.ACCOUNT_HELD: "It goes on by itself when that time is over; an address that takes no creations is"
    " released by a person.",
    WaitsFor.CARRIER_FAILING: "It goes on by itself when the carrier is well again; a release tries at once.",
}

# In needs_attention nothing passes by itself any more.
MEANING: Mapping[str, tuple[str, str]] = {
    code: (
        meaning.text,
        f"{WhoActs.OPERATOR}, when the carrier is well again"
        if meaning.who_acts is WhoActs.NOBODY
        else str(meaning.who_acts),
    )
    for code, meaning in _MEANING.items()
}
"""What an error code of a return that needs attention means, and who acts."""

_ADDRESS = re.compile(r"https?://[!#-;=?-\[\]-~]{1,2000}", re.IGNORECASE)


def sentence(text: str) -> str:
    """Half a sentence, as the domain has it, as a whole one."""
    return f"{text[:1].upper()}{text[1:]}."


def is_link(address: object) -> bool:
    """Whether what a carrier calls an address may be clicked: it is one of the web, and all of it can be seen."""
    return isinstance(address, str) and _ADDRESS.fullmatch(address) is not None
