"""Label addresses as file stores give them: signed over their very bytes for a time, behind a redirect, relative."""

import hmac
import re
import time
from collections.abc import Callable, Mapping

from worker.simulator.changes import Change, by_word, chosen, in_objects

LABELS = "/labels/"
SIGNED, MOVED = f"{LABELS}signed/", f"{LABELS}moved/"

_PLAIN = re.compile(rf"(.*){LABELS}(\d+/\d+)")  # an address that is not changed yet
_DEFAULT_SECONDS = 300
_LONGEST_SECONDS = 10**6
_KEY = b"returns-worker simulate"  # signs no labels but the simulator's
_SIGNATURE = "&signature="
# Each is another text once a library has read it and written it again: RFC 3986, 6.2.2.
_QUERY = "file=returns%2F2024%2flabel%40shop+1.pdf"


def signed_target(name: str, seconds: float) -> str:
    """The path and query of a label (`ORDER/SHIPMENT`) that are good for `seconds`, letter for letter."""
    unsigned = f"{SIGNED}{name}?{_QUERY}&expires={int(time.time() + seconds)}"
    return unsigned + _SIGNATURE + _signature(unsigned)


def is_good(target: str) -> bool:
    """Whether this is, byte for byte, what `signed_target` gave, and its time is not over."""
    unsigned, _, given = target.rpartition(_SIGNATURE)
    return given == _signature(unsigned) and time.time() < int(unsigned.rpartition("=")[2])


def changed_labels(change: str, seconds: float = _DEFAULT_SECONDS) -> Callable[[object], object]:
    """A document with its label addresses as that change leaves them; ValueError for an unknown one."""
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"seconds must be 0 to {_LONGEST_SECONDS}, not {seconds}")
    form = chosen(_FORMS, change)

    def edit(each: dict[str, object]) -> dict[str, object]:
        plain = _PLAIN.fullmatch(str(each.get("label_url")))
        return {**each, "label_url": form(plain[1], plain[2], seconds)} if plain else each

    return in_objects(edit)


def _signature(unsigned: str) -> str:
    return hmac.digest(_KEY, unsigned.encode("utf-8", "surrogateescape"), "sha256").hex()


_FORMS: Mapping[str, Callable[[str, str, float], str]] = {
    "signed": lambda origin, name, seconds: origin + signed_target(name, seconds),
    "moved": lambda origin, name, seconds: f"{origin}{MOVED}{name}?seconds={int(seconds)}",
    "relative": lambda origin, name, seconds: LABELS + name,
}

LINK_CHANGES: Mapping[str, Change[object]] = {
    name: Change(f"ReturnPilot: {meaning}", changed_labels(name))
    for name, meaning in (
        ("signed", "the label's address is signed: sent otherwise than letter for letter, or late, it is 403"),
        ("moved", "the label's address redirects to a signed one"),
        ("relative", "the label's address is relative to the API's"),
    )
}
"""What may become of `label_url`, by name; the magic word is `sim:NAME-label`, and a signature then lasts 300 s."""

LINK_WORDS = by_word(LINK_CHANGES, "sim:{}-label")
