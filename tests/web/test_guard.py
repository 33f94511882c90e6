"""Who may see a page or act on it, as one table."""

import pytest

from worker.web.guard import LASTS, Denied, Face, Facts, May, Rules, Token, Who, admit, cookie_for

NOW = 1_800_000_000.0
LOOKER, ACTOR = "l" * 32, "a" * 32
TOKENS = {"support": Token(LOOKER, May.LOOK), "anna": Token(ACTOR, May.ACT)}
OPEN = Rules(asks=False, tokens={})
ASKING = Rules(asks=True, tokens=TOKENS)
BEHIND = Rules(asks=True, tokens=TOKENS, public_url="https://returns.example.com:8443")
HERE = "127.0.0.1:9464"
LOOKS, ACTS = (cookie_for(name, TOKENS[name].text, NOW - 60) for name in ("support", "anna"))
SUPPORT, ANNA = Who("support", May.LOOK), Who("anna", May.ACT)
EVERYBODY, SOMEBODY = Who(None, May.LOOK), Who(None, None)

TABLE = {
    # Without a token: whoever is on this machine looks, and acts not.
    "open": (Facts("GET", HERE), OPEN, EVERYBODY),
    "open, of a program": (Facts("GET", HERE, face=Face.API), OPEN, EVERYBODY),
    "open, acting": (Facts("POST", HERE, fetch_site="same-origin", needs=May.ACT), OPEN, Denied.NOT_ALLOWED),
    # The Host: loopback's names and public_url's, whatever the port.
    "localhost": (Facts("GET", "LocalHost:1"), OPEN, EVERYBODY),
    "a name below localhost": (Facts("GET", "returns.localhost"), OPEN, EVERYBODY),
    "IPv6": (Facts("GET", "[::1]:9464"), OPEN, EVERYBODY),
    "public_url": (Facts("GET", "returns.example.com", cookie=LOOKS), BEHIND, SUPPORT),
    "a foreign name": (Facts("GET", "evil.example:9464"), OPEN, Denied.MISDIRECTED),
    "a foreign name with a cookie": (Facts("GET", "evil.example", cookie=ACTS), ASKING, Denied.MISDIRECTED),
    "a foreign name with a token": (
        Facts("GET", "evil.example", bearer=ACTOR, face=Face.API),
        ASKING,
        Denied.MISDIRECTED,
    ),
    "a name that begins as ours": (Facts("GET", "localhost.evil.example"), OPEN, Denied.MISDIRECTED),
    "an address that begins as ours": (Facts("GET", "127.0.0.1.evil.example"), OPEN, Denied.MISDIRECTED),
    "a name below public_url": (Facts("GET", "a.returns.example.com"), BEHIND, Denied.MISDIRECTED),
    "all addresses": (Facts("GET", "0.0.0.0:9464"), OPEN, Denied.MISDIRECTED),
    "no Host": (Facts("GET"), OPEN, Denied.MISDIRECTED),
    "a user before the Host": (Facts("GET", "localhost@evil.example"), OPEN, Denied.MISDIRECTED),
    "no Host at all": (Facts("GET", "[::1"), OPEN, Denied.MISDIRECTED),
    # Tokens: with one configured everything asks for one, on loopback too, also while its file is bad.
    "nothing shown": (Facts("GET", HERE), ASKING, Denied.UNKNOWN),
    "nothing shown, none readable": (Facts("GET", HERE), Rules(asks=True, tokens={}), Denied.UNKNOWN),
    "nothing shown, nothing needed": (Facts("GET", HERE, needs=None), ASKING, SOMEBODY),
    "a cookie": (Facts("GET", HERE, cookie=LOOKS), ASKING, SUPPORT),
    "a cookie that needs no right": (Facts("GET", HERE, cookie=LOOKS, needs=None), ASKING, SUPPORT),
    "a cookie at its end": (Facts("GET", HERE, cookie=cookie_for("anna", ACTOR, NOW - LASTS + 1)), ASKING, ANNA),
    "an expired cookie": (Facts("GET", HERE, cookie=cookie_for("anna", ACTOR, NOW - LASTS)), ASKING, Denied.UNKNOWN),
    "a cookie of tomorrow": (Facts("GET", HERE, cookie=cookie_for("anna", ACTOR, NOW + 3600)), ASKING, Denied.UNKNOWN),
    "a changed token": (Facts("GET", HERE, cookie=cookie_for("anna", "b" * 32, NOW)), ASKING, Denied.UNKNOWN),
    "another's name": (Facts("GET", HERE, cookie=LOOKS.replace("support", "anna")), ASKING, Denied.UNKNOWN),
    "another time": (Facts("GET", HERE, cookie=ACTS.replace("1799999940", "1799999941")), ASKING, Denied.UNKNOWN),
    "a name that is gone": (Facts("GET", HERE, cookie=cookie_for("bob", ACTOR, NOW)), ASKING, Denied.UNKNOWN),
    "no cookie of ours": (Facts("GET", HERE, cookie="x" * 9_000), ASKING, Denied.UNKNOWN),
    "the token for a cookie": (Facts("GET", HERE, cookie=ACTOR), ASKING, Denied.UNKNOWN),
    # Acting takes the right, and a page of ours that sends it.
    "an act": (Facts("POST", HERE, fetch_site="same-origin", cookie=ACTS, needs=May.ACT), ASKING, ANNA),
    "an act by a looker": (
        Facts("POST", HERE, fetch_site="same-origin", cookie=LOOKS, needs=May.ACT),
        ASKING,
        Denied.NOT_ALLOWED,
    ),
    "an act from another site": (
        Facts("POST", HERE, fetch_site="cross-site", origin="https://evil.example", cookie=ACTS, needs=May.ACT),
        ASKING,
        Denied.ELSEWHERE,
    ),
    "an act from another port": (
        Facts("POST", HERE, fetch_site="same-site", origin="http://127.0.0.1:80", cookie=ACTS, needs=May.ACT),
        ASKING,
        Denied.ELSEWHERE,
    ),
    "an older browser": (Facts("POST", HERE, origin=f"http://{HERE}", cookie=ACTS, needs=May.ACT), ASKING, ANNA),
    "an older browser, another port": (
        Facts("POST", HERE, origin="http://127.0.0.1:9465", cookie=ACTS, needs=May.ACT),
        ASKING,
        Denied.ELSEWHERE,
    ),
    "an older browser, https": (
        Facts("POST", HERE, origin=f"https://{HERE}", cookie=ACTS, needs=May.ACT),
        ASKING,
        Denied.ELSEWHERE,
    ),
    "an older browser, null": (
        Facts("POST", HERE, origin="null", cookie=ACTS, needs=May.ACT),
        ASKING,
        Denied.ELSEWHERE,
    ),
    "neither header": (Facts("POST", HERE, cookie=ACTS, needs=May.ACT), ASKING, Denied.ELSEWHERE),
    "an older browser at the proxy": (
        Facts("POST", HERE, origin="https://returns.example.com:8443", cookie=ACTS, needs=May.ACT),
        BEHIND,
        ANNA,
    ),
    "at another port of the proxy": (
        Facts("POST", "returns.example.com", origin="https://returns.example.com", cookie=ACTS, needs=May.ACT),
        BEHIND,
        Denied.ELSEWHERE,
    ),
    "a login from another site": (Facts("POST", HERE, fetch_site="cross-site", needs=None), ASKING, Denied.ELSEWHERE),
    # Programs show their token each time; no cookie counts, and no Origin is asked for.
    "a program": (Facts("GET", HERE, bearer=LOOKER, face=Face.API), ASKING, SUPPORT),
    "a program that acts": (Facts("POST", HERE, bearer=ACTOR, face=Face.API, needs=May.ACT), ASKING, ANNA),
    "a program that may not": (
        Facts("POST", HERE, bearer=LOOKER, face=Face.API, needs=May.ACT),
        ASKING,
        Denied.NOT_ALLOWED,
    ),
    "a program with a cookie": (Facts("GET", HERE, cookie=ACTS, face=Face.API), ASKING, Denied.UNKNOWN),
    "a program with a wrong token": (Facts("GET", HERE, bearer="w" * 32, face=Face.API), ASKING, Denied.WRONG_TOKEN),
    "a program with a cookie's text": (Facts("GET", HERE, bearer=ACTS, face=Face.API), ASKING, Denied.WRONG_TOKEN),
    "a browser with a token": (Facts("GET", HERE, bearer=ACTOR), ASKING, Denied.UNKNOWN),
}


@pytest.mark.parametrize(("facts", "rules", "verdict"), TABLE.values(), ids=TABLE)
def test_who_may_see_a_page_or_act_on_it(facts: Facts, rules: Rules, verdict: Who | Denied) -> None:
    assert admit(facts, rules, NOW) == verdict


def test_the_cookie_is_for_https_alone_where_the_address_is() -> None:
    assert (BEHIND.cookie_name, BEHIND.is_secure) == ("__Host-returns_worker", True)
    assert (ASKING.cookie_name, ASKING.is_secure) == ("returns_worker", False)


def test_neither_a_cookie_nor_what_is_shown_of_a_token_has_the_token() -> None:
    assert ACTOR not in f"{ACTS}{ASKING!r}{TOKENS!r}"
