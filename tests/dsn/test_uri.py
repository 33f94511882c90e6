"""A PostgreSQL URL means what libpq reads in it, or is refused by name; libpq is the judge."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.dsn import judge
from worker.dsn import BadUrl, check_url
from worker.dsn.parameters import PARAMETERS
from worker.dsn.uri import read_uri

_PIECES = (
    *("u", "pw", "h", "@", ":", "/", "//", "?", "#", "[", "]", "[::1]", "%20", "%41", "%", "%zz", "%00", "%2f", "+"),
    *("&", "=", ",", ";", "1", "5432", "é", "%c3%a9", "?port=1", "&host=a", "ssl=true", "requiressl=1", "PORT", "tty"),
    *PARAMETERS,
)


def ours(url: str) -> Mapping[str, bytes] | None:
    try:
        return {name: value.encode() for name, value in read_uri(url.partition("://")[2]).items()}
    except BadUrl:
        return None


def said_by_libpq(url: str) -> Mapping[str, bytes] | None:
    """What libpq reads, but for what is refused here: a second @, and bytes that are no text (`%fallback`)."""
    said = None if _holds_a_second_at(url.partition("://")[2]) else judge.read(judge.newest(), url)
    return None if said is None or any("\ufffd" in each.decode(errors="replace") for each in said.values()) else said


_URLS = st.lists(st.sampled_from(_PIECES), max_size=10).map("".join)


@settings(max_examples=150, deadline=None)
@given(_URLS)
@example("u:a#b[c+d@h/x")
@example("?user=a@b")
@example("a,b:2,c")
@example("[::1]:5,%2frun/x?host=")
@example("h/x?&port=1")
@example("h/x?port=1&")
@example("u:p@ss@h")
@example("u:1/ss@h/x")
def test_a_url_has_the_parameters_that_libpq_reads_in_it_or_both_refuse_it(rest: str) -> None:
    for scheme in ("postgresql", "postgres"):
        assert ours(f"{scheme}://{rest}") == said_by_libpq(f"{scheme}://{rest}")


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(_URLS)
def test_twenty_thousand_urls_have_the_parameters_that_libpq_reads_in_them(rest: str) -> None:
    assert ours(f"postgresql://{rest}") == said_by_libpq(f"postgresql://{rest}")


def _holds_a_second_at(rest: str) -> bool:
    """An @ in a host's or database's name, which libpq takes: a password with one that is not encoded looks so."""
    user, at, behind = rest.partition("@")
    return "@" in (behind if at and "/" not in user else rest).partition("?")[0]


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_any_text_arrives_where_it_is_percent_encoded(user: str, password: str, name: str) -> None:
    texts = [user, password, name]
    if any("\0" in text or not _is_text(text) for text in texts):
        return
    url = "postgresql://{}:{}@h/{}".format(*(quote(text, safe="") for text in texts))
    said = {"user": user, "password": password, "dbname": name, "host": "h"}
    assert ours(url) == judge.read(judge.newest(), url) == {name: text.encode() for name, text in said.items()}


def _is_text(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


@pytest.mark.parametrize("version", sorted(judge.judges()))
def test_every_parameter_of_libpq_is_known_with_its_variable(version: int) -> None:
    for name, variable in judge.parameters(judge.judges()[version]).items():
        assert PARAMETERS[name].variable == variable or name == "servicefile"


def test_the_documentation_says_of_every_parameter_what_becomes_of_it() -> None:
    section = Path("docs/operate/database.md").read_text().partition("## The database's URL")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    said = {name: verdict for names, verdict in rows for name in re.findall("`([a-z_]+)`", names)}
    assert set(said) == set(PARAMETERS)
    for name, each in PARAMETERS.items():
        assert ("refused" in said[name]) == bool(each.only)
        assert ("without effect" in said[name]) == bool(each.left_out)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("jdbc:postgresql://h/x", "Java"),
        ("postgresql+asyncpg://u@h/x", "write postgresql://"),
        ("postgresql+psycopg2://u@h/x", "write postgresql://"),
        ("sqlite+aiosqlite:///x.db", "write sqlite:///"),
        ("sqlite://x.db", "must name a file"),
        ("mysql://h/x", "no other database"),
        ("host=h dbname=x", "no other database"),
        ("postgresql://u:p w@h/x", "%20"),
        ("postgresql://u:p\n@h/x", "control characters"),
        ("postgresql://u:%ff@h/x", "password must be UTF-8"),
        ("postgresql://h/x?sslmod=require", "did you mean sslmode"),
        ("postgresql://h/x?sslmode", "parameter 1 behind the . must be NAME=VALUE"),
        ("postgresql://h/x?sslmode=bogus", "sslmode must be one of disable, allow"),
        ("postgresql://h/x?sslmode=REQUIRE", "sslmode must be one of disable, allow"),
        ("postgresql://h/x?connect_timeout=soon", "connect_timeout must be a whole number"),
        ("postgresql://h/x?keepalives=", "keepalives must be a whole number"),
        ("postgresql://h/x?requirepeer=postgres", "requirepeer is not supported"),
        ("postgresql://h/x?require_auth=scram-sha-256", "require_auth is not supported"),
        ("postgresql://h/x?channel_binding=require", "channel_binding is not supported"),
        ("postgresql://h/x?channel_binding=bogus", "channel_binding must be one of"),
        ("postgresql://h/x?gssencmode=require", "gssencmode is not supported"),
        ("postgresql://h/x?sslsni=0", "sslsni is not supported"),
        ("postgresql://h/x?replication=database", "replication is not supported"),
        ("postgresql://h/x?oauth_issuer=x", "oauth_issuer is not supported"),
        ("postgresql://h/x?load_balance_hosts=round", "load_balance_hosts must be one of disable, random"),
        ("postgresql://h/x?ssl_min_protocol_version=SSLv3", "ssl_min_protocol_version must be one of tlsv1"),
    ],
)
def test_a_mistake_is_told_by_its_name(url: str, said: str) -> None:
    with pytest.raises(BadUrl, match=said):
        check_url(url)


@pytest.mark.parametrize(
    "parameters",
    [
        *("sslcompression=1", "sslsni=1", "requirepeer=", "require_auth=", "channel_binding=prefer", "ssl=true"),
        *("gssencmode=disable", "load_balance_hosts=random", "ssl_min_protocol_version=TLSv1.3", "hostaddr=127.0.0.1"),
    ],
)
def test_what_weakens_no_promise_is_taken(parameters: str) -> None:
    check_url(f"postgresql://u@h/x?{parameters}")
