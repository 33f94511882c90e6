"""Tells whether two texts that differ may mean the same: a reference that a carrier changed, a customer it describes.

What carriers were seen to do to a reference: to keep it as a number (`00123` becomes 123), to write entities (`&amp;`)
or percent signs (`%2F`), to put `-` for `/`, to change width, case or marks, to drop what they do not know, to cut its
end off, to read UTF-8 as Latin-1. A change too many that is thought possible asks a person; one too few may mail a
customer twice. So this leans towards "may be", but a digit is never dropped nor changed: R-1001 is not R-1002.
"""

import html
import math
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from worker.domain.returns import Party

SHORTEST_CUT = 10
"""Characters that a carrier keeps at least where it cuts a reference: a shorter beginning is another reference."""

Tokens = tuple[str, ...]

_LONGEST = 200  # characters of a carrier's text that are looked at; a reference has 50 at most
_MOST_DIGITS = 60
_NAMED = re.compile(r"LATIN (?:SMALL|CAPITAL) (?:LETTER|LIGATURE) ([A-Z]{1,2})(?: WITH .*)?")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})
_CUT_ENTITY = re.compile(r"(?:&[#0-9A-Za-z]{0,8}|%[0-9A-Fa-f]?)$")
_EXACT = 2**53  # beyond it a number that was kept as a double is another one


def may_be_the_reference(ours: str, theirs: Any) -> bool:
    """Whether what a carrier shows as a reference may be `ours` after it was changed; equal ones may be, of course.

    `theirs` is what JSON makes of it: text or a number; anything else is no reference.
    """
    if isinstance(theirs, bool) or not isinstance(theirs, (str, int, float)):
        return False
    if isinstance(theirs, float) or (isinstance(theirs, int) and _is_number(ours, theirs)):
        return _is_number(ours, theirs)
    text = str(theirs)[:_LONGEST]
    if text.strip() == ours.strip():
        return True
    mine = _forms_of_ours(ours)
    may_be_cut = len(text.strip()) >= SHORTEST_CUT
    return any(_alike(form, other, may_be_cut) for other in _forms_of_theirs(text) for form in mine)


def may_be_the_customer(ours: Party, theirs: Party) -> bool:
    """Whether two descriptions are of one customer: the same e-mail address, or the same name at the same address.

    An address is its postal code, since carriers abbreviate streets; where one of them has none, it is the street with
    its number.
    """
    mine, other = _folded(ours.email), _folded(theirs.email)
    if mine and mine == other:
        return True
    (name, code, street), (their_name, their_code, their_street) = map(_described, (ours, theirs))
    place, their_place = (code, their_code) if code and their_code else (street, their_street)
    return bool(name and place) and (name, place) == (their_name, their_place)


def _described(party: Party) -> tuple[str, str, str]:
    address = party.address
    return _joined(party.name), _joined(address.postal_code), _joined(f"{address.street} {address.house_number}")


@lru_cache(maxsize=64)
def _forms_of_ours(reference: str) -> frozenset[Tokens]:
    """As it is, in capitals, read as HTML or an address, with letters for umlauts, and without what is not ASCII."""
    plain = unicodedata.normalize("NFC", reference)
    forms = (
        plain,
        plain.upper(),  # not every letter comes back from there
        _undone(plain),
        plain.casefold().translate(_UMLAUTS),
        "".join(char for char in plain if char.isascii()),
    )
    return frozenset(map(_tokens, forms))


def _forms_of_theirs(text: str) -> Iterator[Tokens]:
    """As it is shown, with what was written for HTML or for an address undone, and with bytes read the right way."""
    for form in {text, _undone(text), _undone(_CUT_ENTITY.sub("", text))}:
        yield _tokens(form)
        for encoding in ("cp1252", "latin-1"):
            try:
                yield _tokens(form.encode(encoding).decode("utf-8"))
            except UnicodeError:
                continue  # it was not read that way


def _undone(text: str) -> str:
    for _ in range(3):  # a text that passes several programs is written so by each of them
        text = unquote(html.unescape(text))
    return text


def _tokens(text: str) -> Tokens:
    """The runs of letters and digits, without width, case and marks; what stands between them does not count."""
    return tuple("".join(char if char.isalnum() else " " for char in _folded(text)).split())


def _joined(text: str) -> str:
    return "".join(_tokens(html.unescape(text)))


def _folded(text: str) -> str:
    for _ in range(2):  # what has no mark any more is folded otherwise, and may then have one
        text = "".join(_letter(char) for char in unicodedata.normalize("NFKD", text)).casefold()
    return text.strip()


def _letter(char: str) -> str:
    """One character without its mark; invisible ones are dropped, digits of any script are ASCII's."""
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category in ("Mn", "Me", "Cf", "Cc"):
        return ""
    if category == "Nd":
        return str(unicodedata.digit(char))
    named = _NAMED.fullmatch(unicodedata.name(char, ""))  # no decomposition leads from an o with a stroke to an o
    return named[1].lower() if named else char


def _alike(ours: Tokens, theirs: Tokens, may_be_cut: bool) -> bool:
    mine, other = "".join(ours), "".join(theirs)
    if not ours or not theirs:
        return False
    if ours == theirs or (may_be_cut and len(other) < len(mine) and mine.startswith(other)):
        return True
    if len(theirs) == 1 and mine.isdecimal() and other.isdecimal():
        return mine.lstrip("0") == other.lstrip("0")  # the zeros that a number does not keep
    # As many parts, and others: it is no separator that was changed, so that 1-11 is not 11-1.
    return len(ours) != len(theirs) and mine == other


def _is_number(ours: str, theirs: int | float) -> bool:
    """Whether a number is what ours became when it was read as one, exactly or as a double, as JavaScript does."""
    if len(ours) > _MOST_DIGITS or not math.isfinite(theirs):
        return False
    try:
        exact = Decimal(ours.strip())
    except InvalidOperation:
        return False
    if not exact.is_finite() or abs(exact.adjusted()) > _MOST_DIGITS:
        return False
    number = Decimal(theirs) if isinstance(theirs, int) else Decimal(repr(theirs))
    rounded = Decimal(repr(float(exact)))
    return number == exact or (abs(exact) > _EXACT and number in (rounded, Decimal(float(exact))))
