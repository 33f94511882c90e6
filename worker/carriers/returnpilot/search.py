"""Tells from pages of the list whether a creation without an answer happened: exactly that order, or surely none."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from worker.carriers.answers import as_document, read_moment
from worker.carriers.port import Unintelligible
from worker.carriers.returnpilot.answers import adopted, read_id
from worker.domain.outcomes import Absent, Ambiguous, Created

CLOCK_SLACK = timedelta(hours=15)
"""How far the carrier's clock and the database's may be apart: more than any time zone, should its UTC be none.

Looking back further only costs pages; too little could cost a second creation.
"""


class Search:
    """Looks for one reference among orders that are listed the newest first."""

    def __init__(self, reference: str, first_attempt_at: datetime) -> None:
        self._reference = reference
        self._since = first_attempt_at - CLOCK_SLACK
        self._found: dict[str, dict[str, Any]] = {}
        self._unreadable: list[Any] = []

    def look_at(self, documents: Sequence[Any]) -> bool:
        """Take in a page; whether the search may end there, since all that follows is older than the first attempt."""
        for document in documents:
            reference = _reference(document)
            if reference is None or read_id(document.get("id")) is None:
                self._unreadable.append(document)
            elif _folded(reference) == _folded(self._reference):
                self._found[str(read_id(document["id"]))] = document  # pages shift: one may be seen twice
        made = [_made_at(document) for document in documents]
        moments = [moment for moment in made if moment is not None]
        in_order = len(moments) == len(made) and moments == sorted(moments, reverse=True)
        return bool(moments) and in_order and moments[-1] < self._since

    def result(self) -> Created | Absent | Ambiguous:
        """What the pages come to; raises `Unintelligible` when an order among them could be the one."""
        found = list(self._found.values())
        if not found and self._unreadable:
            raise Unintelligible("an order in the list has no readable reference", raw=as_document(self._unreadable[0]))
        if not found:
            return Absent()
        if len(found) == 1 and _reference(found[0]) == self._reference and not self._is_older(found[0]):
            return adopted(found[0])
        numbers = ", ".join(sorted(self._found, key=int)[:20])
        return Ambiguous(
            f"what bears this reference at the carrier (order {numbers}) is not surely, or not only, this creation",
            as_document([{name: each.get(name) for name in ("id", "reference", "created_at")} for each in found[:20]]),
        )

    def _is_older(self, document: dict[str, Any]) -> bool:
        made = _made_at(document)
        return made is not None and made < self._since


def _reference(document: Any) -> str | None:
    value = document.get("reference") if isinstance(document, dict) else None
    if isinstance(value, str) and "\ufffd" in value:  # bytes that did not decode: it could be any, ours too
        return None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _made_at(document: Any) -> datetime | None:
    return read_moment(document.get("created_at")) if isinstance(document, dict) else None


def _folded(reference: str) -> str:
    """As a carrier might have changed it on the way; then a person decides whether it is the same."""
    visible = "".join(char for char in unicodedata.normalize("NFKC", reference) if unicodedata.category(char) != "Cf")
    return " ".join(visible.casefold().split())
