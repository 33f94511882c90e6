"""What must not be seen in other people's texts: the forms a secret comes in, and addresses that may hold one."""

import base64
import binascii
import re
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

MASK = "********"
"""What stands in place of a secret."""

IN_ANSWERS = 6
"""Characters that a part of a secret must have to be masked where numbers and references are read; in logs 4 will do.

A whole key is masked, however short it is.
"""
IN_LOGS = 4

_SCHEMES = frozenset({"basic", "bearer", "digest", "token", "apikey", "negotiate"})
_LONGEST_SAID = 300  # characters of a library's text that are shown
_LONGEST_READ = 4_000  # of which are looked at: some libraries append a page of their own
_ADDRESS = re.compile(r"[\w+.\-]{1,30}:(?:/|\\/){2}[^\s'\"<>]+|[^\s'\"<>@:/]{1,200}:[^\s'\"<>@]{1,500}@[^\s'\"<>]+")
_SOME_ADDRESS = "(address)"


@lru_cache(maxsize=64)
def forms_of_key(key: str) -> tuple[str, ...]:
    """Every text that gives a key away, the longest first.

    A key may be given with the scheme of its header, or be the `user:password` of Basic (RFC 7617), in the clear or as
    it is sent: each part of these gives the key away to a reader who knows the rest.
    """
    forms = {key}
    words = [word for word in key.split() if word.lower() not in _SCHEMES]
    for word in (key, *words):
        pair = word if ":" in word else _decoded(word)
        forms |= {word, pair, *pair.split(":", 1), *_encoded(pair)}
    return _sorted({form for form in forms if len(form) >= IN_ANSWERS} | {key})


@lru_cache(maxsize=64)
def forms_of_address(url: str, shortest: int = IN_LOGS) -> tuple[str, ...]:
    """Every text that gives the user's password in `url` away, the longest first; the user alone does not."""
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if not at or not colon:
        return ()
    pair = f"{unquote(name)}:{unquote(password)}"
    forms = (user, password, unquote(password), pair, *_encoded(pair))
    return _sorted({form for form in forms if len(form) >= shortest})


def forms_of_passwords(*passwords: str) -> tuple[str, ...]:
    """The passwords as they are and as a URL holds them, the longest first; not those that any text may hold."""
    forms = {form for each in passwords for form in (each, quote(each, safe=""))}
    return _sorted({form for form in forms if len(form) >= IN_LOGS})


def said_by(error: BaseException | str) -> str:
    """What a library's exception says, or a part of it, fit for a log line, a person and the database; else its type.

    One line of at most 300 characters, without control characters and addresses: those may hold a password, or be as
    good as a key, as a signed link is. Keys that it quotes are not known here.
    """
    text = "".join(char if char.isprintable() else " " for char in str(error)[:_LONGEST_READ])
    line = " ".join(_ADDRESS.sub(_SOME_ADDRESS, text).split())
    return line[:_LONGEST_SAID] or ("" if isinstance(error, str) else type(error).__name__)


def _decoded(word: str) -> str:
    """The pair that a word of Base64 stands for; an empty text where it stands for none."""
    try:
        pair = base64.b64decode(word, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return pair if ":" in pair and pair.isprintable() else ""


def _encoded(pair: str) -> tuple[str, ...]:
    return (base64.b64encode(pair.encode()).decode(),) if ":" in pair else ()


def _sorted(forms: set[str]) -> tuple[str, ...]:
    return tuple(sorted(forms - {""}, key=lambda form: (-len(form), form)))
