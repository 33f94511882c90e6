"""Who may see a page or act on it: one decision on the facts of a request, without a clock, a file or a connection."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from urllib.parse import urlsplit

LASTS = 12 * 3600
"""Seconds for which who has logged in need not do so again."""

_CLOCKS_APART = 60  # seconds that another worker's clock may be ahead, whose cookie this is
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_IN_A_HOST = re.compile(r"[^\w.\-\[\]:]")
_COOKIE = re.compile(r"1\.([a-z0-9_]+)\.([0-9]{1,12})\.([0-9a-f]{64})")


class May(StrEnum):
    """What somebody may do; also what a page needs."""

    LOOK = "look"
    ACT = "act"


class Face(StrEnum):
    """For whom an answer is: a browser, which shows a cookie, or a program, which shows its token each time."""

    PAGE = "page"
    API = "api"


class Denied(Enum):
    """Why a request is not answered."""

    MISDIRECTED = "its Host is a name that is not ours"
    ELSEWHERE = "a page of another site, or of another port, sends it"
    UNKNOWN = "it shows neither a token nor a cookie that is good"
    WRONG_TOKEN = "it shows a token that there is not"  # noqa: S105
    NOT_ALLOWED = "who it is may look, and not act"


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: by the name of a token, or, where none is asked for or shown, somebody of whom nothing is known."""

    name: str | None
    may: May | None  # None: nothing yet

    def is_allowed(self, needs: May | None) -> bool:
        """Whether a page that needs this may be seen."""
        return needs is None or self.may is May.ACT or self.may is needs


@dataclass(frozen=True, slots=True)
class Token:
    """One that is in force, and what it lets its owner do."""

    text: str
    may: May

    def __repr__(self) -> str:
        return f"Token(may={self.may!r})"


@dataclass(frozen=True, slots=True)
class Facts:
    """What of a request is judged; headers as they came, None where there is none, "" where there are two."""

    method: str
    host: str | None = None
    origin: str | None = None
    fetch_site: str | None = None  # Sec-Fetch-Site
    cookie: str | None = None  # the value of ours
    bearer: str | None = None  # what `Authorization: Bearer` has
    face: Face = Face.PAGE
    needs: May | None = May.LOOK  # None: it is for everybody


@dataclass(frozen=True, slots=True)
class Rules:
    """By what it is judged: the settings, and the tokens as they are now."""

    asks: bool  # whether a token is configured: without one whoever reaches the listener may look
    tokens: Mapping[str, Token]  # by name; one whose file is bad now is not there
    public_url: str | None = None  # an origin

    @property
    def cookie_name(self) -> str:
        """What our cookie is called; by its prefix browsers take it over https alone, and from no other host."""
        return "__Host-returns_worker" if self.is_secure else "returns_worker"

    @property
    def is_secure(self) -> bool:
        """Whether the cookie is for https alone."""
        return self.public_url is not None and self.public_url.startswith("https:")

    def whose(self, text: str) -> str | None:
        """The name of the token that this is; all are compared, so that the time tells nothing."""
        given = _digest(text)
        found = [name for name, token in self.tokens.items() if hmac.compare_digest(_digest(token.text), given)]
        return found[0] if found else None


def admit(facts: Facts, rules: Rules, now: float) -> Who | Denied:
    """Who asks, or why there is no answer; `now` is in seconds since 1970."""
    if not _is_ours(facts.host, rules):
        return Denied.MISDIRECTED
    if facts.face is Face.PAGE and facts.method not in _READS and not _is_from_us(facts, rules):
        return Denied.ELSEWHERE
    who = _who(facts, rules, now)
    if who is None:
        return Denied.WRONG_TOKEN
    if who.may is None and facts.needs is not None:
        return Denied.UNKNOWN
    return who if who.is_allowed(facts.needs) else Denied.NOT_ALLOWED


def cookie_for(name: str, token: str, now: float) -> str:
    """What who has logged in shows from then on: good for `LASTS`, and until the token is another one."""
    return f"1.{name}.{int(now)}.{_signed(name, int(now), token)}"


def _who(facts: Facts, rules: Rules, now: float) -> Who | None:
    """None: it shows a token that there is not."""
    if not rules.asks:
        return Who(None, May.LOOK)
    if facts.face is Face.API:
        if facts.bearer is None:
            return Who(None, None)
        name = rules.whose(facts.bearer)
        if name is None:
            return None
    else:
        name = _of_cookie(facts.cookie, rules, now)
    return Who(name, rules.tokens[name].may) if name is not None else Who(None, None)


def _of_cookie(cookie: str | None, rules: Rules, now: float) -> str | None:
    match = _COOKIE.fullmatch(cookie or "")
    if match is None or match[1] not in rules.tokens:
        return None
    name, since = match[1], int(match[2])
    good = hmac.compare_digest(match[3], _signed(name, since, rules.tokens[name].text))
    return name if good and since - _CLOCKS_APART <= now < since + LASTS else None


def _signed(name: str, since: int, token: str) -> str:
    # The token itself is the key, so that each worker behind a proxy knows the cookie, and a changed token ends it.
    return hmac.new(token.encode(), f"returns-worker cookie 1 {name} {since}".encode(), hashlib.sha256).hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_ours(host: str | None, rules: Rules) -> bool:
    """Whether the Host is loopback's or `public_url`'s: a name of somebody else's may lead here all the same."""
    name = _name_in(host)
    if name is None:
        return False
    return _is_loopback(name) or (rules.public_url is not None and name == urlsplit(rules.public_url).hostname)


def _is_from_us(facts: Facts, rules: Rules) -> bool:
    """Whether a page of ours sends it; another port of the same host is another site's."""
    if facts.fetch_site is not None:
        return facts.fetch_site == "same-origin"
    if facts.origin is None:
        return False
    if facts.origin == rules.public_url:
        return True
    return facts.origin == f"http://{facts.host}".lower() and _is_loopback(_name_in(facts.host) or "")


def _name_in(host: str | None) -> str | None:
    """The name or address in a Host, without its port; None where it has none."""
    if not host or _NOT_IN_A_HOST.search(host):
        return None
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return name.removesuffix(".") if name else None


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761: never anywhere else
