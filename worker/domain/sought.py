"""What a person looks for when he has a word of a return: what it may be, and what counts as the same; pure."""

import unicodedata
from enum import StrEnum

LONGEST = 500
"""Characters of a text that is looked for; no number, name or address has more."""

SHORTEST_PART = 3
"""Characters, blanks left out, that a part of a name has at least: with fewer nearly every name would be found."""


class Matched(StrEnum):
    """What of a return a text was found to be, the surest first; the value of `matched` in `find --json`."""

    REFERENCE = "reference"
    CARRIER_REF = "carrier_ref"
    LABEL_CODE = "label_code"
    TRACKING_NUMBER = "tracking_number"
    EMAIL = "email"
    NAME = "name"
    POSTAL_CODE = "postal_code"


BLANKS = " \t\n\r\u00a0\u2009\u202f\u3000"
"""What `folded` leaves out: the blanks that are met in names; each more of them costs a look at every payload time."""

_NO_BLANKS = str.maketrans("", "", BLANKS)


def problem_of(text: str) -> str | None:
    """Why no return can have this text, and what to do; None: it may."""
    if not text.strip():
        return "there is nothing to look for: say a number, a name, an e-mail address or a postal code"
    if len(text) > LONGEST:
        return f"a text of {len(text):,} characters is not looked for: the longest has {LONGEST}"
    if "\0" in text:
        return "a text with a NUL in it is not looked for: no database has one"
    return None


def folded(text: str) -> str:
    """A name or a postal code in small letters and without blanks: "1234 AB" and "1234ab" are one."""
    return text.translate(_NO_BLANKS).lower()


def address_folded(address: str) -> str:
    """An e-mail address as it is compared: in any case, without blanks around it, with each accent written one way."""
    return unicodedata.normalize("NFC", address.strip().casefold())


def spellings(text: str) -> list[str]:
    """How a number or a reference may be stored that is typed so: as it is, without blanks, in capitals or small."""
    forms = (text, text.strip(), text.translate(_NO_BLANKS))
    return list(dict.fromkeys(each for form in forms for each in (form, form.upper(), form.lower())))


def is_the_part_of_a_name(text: str) -> bool:
    """Whether a text is long enough to be looked for within names."""
    return len(folded(text)) >= SHORTEST_PART


def is_exact(text: str, matched: Matched, value: str) -> bool:
    """Whether a value is what was looked for, and not only alike or a part of it; an address is, in any case."""
    return matched is Matched.EMAIL or value == text.strip()


def folding_of(text: str) -> tuple[str, str]:
    """What turns into what, character by character, where a folded text is compared with what `lower` has made small.

    What has no counterpart is left out, as SQL's `translate` does. Beyond the blanks these are the text's own letters,
    where they have a capital: `lower` of a PostgreSQL whose locale is C knows ASCII's alone.
    """
    small = [
        char for char in sorted(set(text)) if not char.isascii() and len(char.upper()) == 1 and char != char.upper()
    ]
    return "".join(map(str.upper, small)) + BLANKS, "".join(small)
