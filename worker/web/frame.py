"""Renders the templates: everything escaped, what others wrote cleaned, times with their distance from now."""

from datetime import UTC, datetime, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from worker.telemetry.terminal import shown, shown_lines
from worker.web.page import address_of, place

_UNITS = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
)
_WORD, _LONG, _WHOLE = Markup("<bdi>"), Markup('<bdi class="long">'), Markup('<bdi class="whole">')
_LINES, _LONG_LINES = Markup('<bdi class="lines">'), Markup('<bdi class="lines long">')
_END = Markup("</bdi>")
_MAY_BREAK = Markup("/<wbr>")  # an address is broken behind its slashes before it is broken anywhere
_LONGEST_WORD = 32  # characters, that a line of a telephone has room for
_TWO_OF_THEM = 2  # of a larger unit, from which on it is used: 90 min rather than 1 h


def frame() -> Environment:
    """The templates of this package, with the filters that they know.

    Where a value is put into a page it is cleaned like a line on a terminal; None is empty.
    """
    environment = Environment(
        loader=PackageLoader("worker.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cleaned,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "word": word,
        "text": lines,
        "moment": moment,
        "utc": utc,
        "far": far,
        "place": place,
        "span": span,
    }
    environment.globals["address_of"] = address_of
    return environment


def word(value: object) -> Markup:
    """A carrier's or a shop's word, on one line and in a direction of its own; None is empty.

    One that a line has room for is not broken at its hyphens; one that no line has room for may be broken anywhere.
    """
    if value is None:
        return Markup("")
    text = shown(str(value))
    longest = _longest_word(text)
    begin = _WORD
    if longest > _LONGEST_WORD:
        begin = _LONG
    elif longest == len(text) and not text.isalnum():
        begin = _WHOLE
    if "://" in text:
        text = escape(text).replace("/", _MAY_BREAK)
    return begin + text + _END  # what is added is escaped; `format` takes four times as long, fifty rows tell


def lines(value: object) -> Markup:
    """A text of theirs that keeps its lines; its words are broken as those of `word` are."""
    if value is None:
        return Markup("")
    text = shown_lines(str(value))
    begin = _LONG_LINES if _longest_word(text) > _LONGEST_WORD else _LINES
    return begin + text + _END


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


@pass_context
def moment(context: Context, value: datetime | None) -> Markup:
    """A time in UTC, with how far it is from `now`; None is empty."""
    if value is None:
        return Markup("")
    return Markup('{} <span class="far">{}</span>').format(utc(value), far(context, value))


def utc(value: datetime) -> Markup:
    """A time in UTC alone."""
    value = value.astimezone(UTC)
    written = f"{value:%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}">{} UTC</time>').format(f"{value:%Y-%m-%dT%H:%M:%SZ}", written)


@pass_context
def far(context: Context, value: datetime) -> str:
    """How far a time is from `now`, alone."""
    return distance(value, context["now"])


def distance(value: datetime, now: datetime) -> str:
    """How far a time is from now: `in 5 min`, `3 d ago`, `now`."""
    far = span(abs(value - now))
    if not far:
        return "now"
    return f"in {far}" if value > now else f"{far} ago"


def span(time: timedelta) -> str:
    """How long that is, in one unit: `5 min`; nothing where it is less than a second."""
    for name, unit in _UNITS:
        if time >= unit * _TWO_OF_THEM or (name == "s" and time >= unit):
            return f"{time // unit} {name}"
    return ""


def _cleaned(value: Any) -> Any:
    if value is None:
        return ""
    return shown(value) if type(value) is str else value
