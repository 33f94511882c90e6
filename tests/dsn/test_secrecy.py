"""However a URL is mistyped, no message holds a piece of the password; and nothing that is shown does."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.dsn import BadUrl, check_files, parse_url, place_of_url, secrets_of_url
from worker.dsn.postgresql import PostgresqlUrl
from worker.settings import ConfigurationError, DatabaseSettings, load, masked_url

# Such triples stand in no message of ours.
_WORDS = st.text("QXZ", min_size=3, max_size=5)
_SECRETS = st.lists(st.one_of(_WORDS, st.sampled_from([*"#[]+%@/?&=:;, ", "%4", "%00", "%20", "://"]))).map("".join)
_SHAPES = (
    "postgresql://u:{}@h/x",
    "postgresql://u:{}@h:5432,i/x?sslmode=require",
    "postgresql://u:{}@[::1]/x",
    "postgresql://:{}@/",
    "postgresql:///x?password={}&user=u",
    "postgresql:///x?user=u&sslpassword={}",
    "postgresql:///x?user=u&pass%77ord={}",
    "postgresql:///u:{}@h/x",
    "postgres://u:{}@h/x?sslmode=bogus",
    "postgresql+asyncpg://u:{}@h/x",
    "jdbc:postgresql://h/x?user=u&password={}",
    "postgresql:u:{}@h",
    "mysql://u:{}@h/x",
    "u:{}@h/x",
)


def pieces(secret: str) -> set[str]:
    return set(re.findall("(?=([QXZ]{3}))", secret))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(_SHAPES), _SECRETS)
def test_no_message_holds_a_piece_of_a_password(shape: str, secret: str) -> None:
    url = shape.format(secret)
    said = []
    try:
        parsed = parse_url(url, {"HOME": "/none"})
        assert isinstance(parsed, PostgresqlUrl)
        said += [repr(parsed)] if secrets_of_url(url, {}) else []
        check_files(parsed)
    except BadUrl as error:
        said.append(str(error))
    try:
        load(environ={"RETURNS_WORKER_DATABASE__URL": url, "HOME": "/none"})
    except ConfigurationError as error:
        said.append(str(error))
    assert not [(piece, text) for piece in pieces(secret) for text in said if piece in text]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(_SHAPES[:8]), _SECRETS)
def test_what_is_shown_holds_no_piece_of_a_password(shape: str, secret: str) -> None:
    url = shape.format(secret)
    try:
        shown, place = DatabaseSettings(url=url), place_of_url(url, {"HOME": "/none"})
    except ValueError:
        return
    for text in (masked_url(shown.url), repr(shown), place):
        assert not [piece for piece in pieces(secret) if piece in text], text


def test_a_password_of_the_environment_is_one_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "QXZ#QXZ")
    assert "QXZ#QXZ" in secrets_of_url("postgresql://h/x")
    assert "QXZ" not in repr(parse_url("postgresql://h/x"))
