"""Reads what a carrier sends: hostile until checked, quoted only in part, never with our key in it."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from worker.carriers.port import Unintelligible
from worker.domain.documents import read_json
from worker.domain.masking import MASK
from worker.http.bodies import as_text, charset_of
from worker.http.headers import retry_after, wait_until

EXCERPT = 1024  # bytes of a misshapen answer that are kept for the operator
MAX_RAW = 8192  # characters of an answer that are kept in the history
MAX_DEPTH = 100
"""How deep an answer's lists and objects may lie in each other to be kept.

SQLite reads JSON to a depth of 1000 (https://sqlite.org/json1.html), Python as deep as its stack has room, which is
less where the record is written than here.
"""
_TOO_DEEP = '{"text":"nested too deeply to be kept"}'
_MAX_ESCAPED = 1_000_000  # bytes of an answer that may be JSON; a label is larger or not read as text
# In JSON's text, where a slash may be `\/`. Each match takes in a whole value, so that the text is read once.
_LABEL_LINK = re.compile(r'(label_url"\s*:\s*")(?!")(https?:(?://|\\/\\/)[^/?#"\\\s]+/?)?[^"\\]*(?:\\.[^"\\]*)*', re.S)
_LINK = re.compile(r':(?://|\\/\\/)[^"\\\s]+(?:\\.[^"\\\s]*)*', re.S)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BEYOND, _LONGEST_NUMBER = 1e19, 40  # ids have 19 digits at most; characters
EXACT = 2**53
"""Below it a double holds every whole number exactly. A larger whole number is read as an int, up to 19 digits."""


class NoAnswer(Unintelligible):
    """No JSON where that was asked for, or a redirect that is not followed: it says nothing about what was asked."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: its body with encodings undone, but for our key.

    `damage` says why it may not be what was sent, empty when all is well.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    damage: str = ""

    @property
    def is_redirect(self) -> bool:
        """Whether it says to ask elsewhere."""
        return 300 <= self.status < 400

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object, bytes that do not decode replaced.

        Raises `NoAnswer` when it is no JSON at all, `Unintelligible` when it is other JSON.
        """
        try:
            value = read_json(self._text(), _JSON)
        except json.JSONDecodeError:
            said = f"not JSON{self._why()}: {self.excerpt()}" if self.content.strip() else "empty"
            raise NoAnswer(f"the carrier answered {self.status}, and the answer is {said}", raw=self.raw()) from None
        except ValueError:  # a number of thousands of digits, or too many lists in each other
            raise Unintelligible(f"the answer is beyond measure: {self.excerpt()}", raw=self.raw()) from None
        if not isinstance(value, dict):
            raise Unintelligible(f"the answer is not a JSON object: {self.excerpt()}", raw=self.raw())
        return value

    def excerpt(self) -> str:
        """The first kilobyte as printable text."""
        return without_links(clean_text(as_text(self.content[:EXCERPT], self._content_type)))

    def raw(self) -> str:
        """The answer as JSON text for the history, capped."""
        try:
            return as_document(read_json(self._text(), _JSON))
        except ValueError:
            return as_document({"text": self.excerpt()})

    @property
    def _content_type(self) -> str:
        return self.headers.get("content-type", "")

    def _text(self) -> str:
        return as_text(self.content, self._content_type)

    def _why(self) -> str:
        """What in its headers explains that it cannot be read."""
        unknown = "charset" in self._content_type.lower() and not charset_of(self._content_type)
        reasons = filter(None, (self.damage, "its charset is none that is known here" if unknown else ""))
        return "".join(f" ({reason})" for reason in reasons)

    @property
    def retry_after(self) -> timedelta | None:
        """How long the Retry-After header asks to wait; None when absent or nonsense."""
        return retry_after(self.headers)

    @property
    def requests_left(self) -> int | None:
        """X-RateLimit-Remaining: how many more requests the carrier takes for now; None when it does not say."""
        value = self.headers.get("x-ratelimit-remaining", "").strip()
        return int(value[:9]) if value.isascii() and value.isdigit() else None

    @property
    def wait_asked(self) -> timedelta | None:
        """How long a 429 asks to wait: Retry-After, else until X-RateLimit-Reset; None: not said.

        That is a Unix time in seconds; what is no time of these years says nothing.
        """
        if self.retry_after is not None:
            return self.retry_after
        reset = self.headers.get("x-ratelimit-reset", "").strip()
        if not (reset.isascii() and reset.isdigit() and 9 <= len(reset) <= 11):
            return None
        return wait_until(datetime.fromtimestamp(int(reset), UTC), self.headers)


def _number(text: str) -> float | int:
    """A JSON number with a point or an exponent; an int where it is whole and a double would be another number."""
    value = float(text)
    if not EXACT <= abs(value) < _BEYOND or len(text) > _LONGEST_NUMBER:
        return value
    exact = Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else value


_JSON = json.JSONDecoder(parse_float=_number)


def without_secret(content: bytes, secret: str) -> bytes:
    """A carrier may echo the key it was sent; it must not reach a log, an error or the database."""
    if not secret:
        return content
    content = content.replace(secret.encode(), MASK.encode())
    if b"\\" in content and len(content) <= _MAX_ESCAPED:
        content = _escaped(secret).sub(MASK.encode(), content)
    return content


@lru_cache(maxsize=64)
def _escaped(secret: str) -> re.Pattern[bytes]:
    """The key as JSON may write it; .NET, for one, writes `+` as `\\u002B`."""
    forms = (rf"(?:\\?{re.escape(char)}|\\u(?i:{ord(char):04x}))" for char in secret)
    return re.compile("".join(forms).encode())


def without_links(text: str) -> str:
    """Text, or JSON's text, without the queries of the addresses in it, and of a label's address with its host alone.

    A signed address is as good as a key while it lasts, and so may be the path of one that cannot be guessed.
    """
    text = _LABEL_LINK.sub(lambda link: f"{link[1]}{link[2] or ''}{MASK}", text)
    return _LINK.sub(lambda link: f"{link[0].partition('?')[0]}?{MASK}" if "?" in link[0] else link[0], text)


def clean_text(text: str, limit: int = EXCERPT) -> str:
    """Text that both databases can store and a terminal can show: no control characters, no lone surrogate, capped."""
    if text.isascii() and text.isprintable():  # nearly always
        return text[:limit]
    return _CONTROL.sub("", text).encode("utf-8", "replace").decode("utf-8")[:limit]


def as_document(value: Any) -> str:
    """JSON text of `value`, cleaned, capped, and without links; of what is too long the text's beginning is kept."""
    try:
        document = _dumped(value)
        if not document.isprintable() or "\\" in document:
            document = _dumped(_cleaned(value))
    except ValueError:  # what is no number in JSON
        document = _dumped(_cleaned(value))
    except RecursionError:
        document = _TOO_DEEP
    if document.count("[") + document.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        document = _TOO_DEEP
    kept = without_links(document[:MAX_RAW])
    return kept if len(document) <= MAX_RAW else json.dumps({"truncated": kept}, ensure_ascii=False)


def _depth(value: Any) -> int:
    """How deep lists and objects lie in each other; what is deeper than is kept is not looked at."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        level = [member for part in level for member in _members(part)]
        depth += bool(level)
    return depth


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values() or (None,)
    return (value or (None,)) if isinstance(value, list) else ()


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def carrier_moment(value: Any) -> datetime | None:
    """An ISO 8601 moment; without a zone it is UTC; None when it is none, as .NET's year 1 is."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year >= 1900 else None


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean_text(value, MAX_RAW)
        case dict():
            return {clean_text(key): _cleaned(member) for key, member in value.items()}
        case list():
            return [_cleaned(member) for member in value]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
