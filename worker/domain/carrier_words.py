"""Tells whether two of a carrier's words are equal to the eye: the one folding of status words.

It is Unicode's caseless comparison (toNFKC_Casefold, The Unicode Standard, 3.13, R5), for which neither width nor what
is not shown counts. Beyond that white space, `_` and dashes do not count, and the four letters i that Turkish has are
one, since its capitals come back as either. Marks that are seen do count: `Livré` is not `Livre`. References are
compared otherwise (`worker.domain.sameness`): there the question is what a carrier may have made of one.
"""

import re
import unicodedata
from collections.abc import Mapping

# Default_Ignorable_Code_Point (Unicode Character Database, DerivedCoreProperties.txt), white space, `_` and dashes.
_UNCOUNTED = re.compile(
    "["
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\s_\-\u2010-\u2015\u2212"
    "]+"
)
_ANY_I = re.compile("i\u0307+|ı")
_ROUNDS = 3  # what is left out, or loses its case, may let its neighbours compose, and that once more


def folded(word: str) -> str:
    """What `word` is compared by."""
    if word.isascii():
        return _UNCOUNTED.sub("", word.casefold())
    for _ in range(_ROUNDS):
        word = _UNCOUNTED.sub("", unicodedata.normalize("NFKC", word)).casefold()
        word = _ANY_I.sub("i", unicodedata.normalize("NFKC", word))
    return word


def clashes(meanings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each pair of spellings of one word that mean different things: the first one, and another."""
    seen: dict[str, str] = {}
    pairs = [(seen.setdefault(folded(word), word), word) for word in meanings]
    return [(twin, word) for twin, word in pairs if meanings[twin] != meanings[word]]
