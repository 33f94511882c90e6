"""Who may see the pages, and under which address: what is wrong is said at once, all of it, before anything runs."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from worker.settings import ConfigurationError, Settings, load, show
from worker.settings.urls import check_origin

ACCOUNT = '[accounts.default]\napi_key = "IZI-a-key"\n'
GOOD, OTHER = "g" * 32, "o" * 40


def loaded(text: str, environ: dict[str, str] | None = None, **needs: Any) -> Settings:
    Path("given.toml").write_text(ACCOUNT + text)
    return load(Path("given.toml"), environ or {}, **{"need_keys": True, **needs})


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        loaded(text, environ)
    written = "".join(traceback.format_exception(raised.value))
    assert not any(secret in written for secret in (GOOD, OTHER, "tooshort"))
    return [problem.partition(" [")[0] for problem in raised.value.problems]


def test_every_token_that_cannot_be_used_is_named_with_what_to_do_and_none_of_it_is_quoted() -> None:
    for name, content in {"good": GOOD, "same": GOOD, "short": "tooshort" * 3, "two": f"{GOOD} {OTHER}"}.items():
        Path(name).write_text(f"\n{content}\n")
    names = ("good", "same", "short", "two", "gone")
    text = "".join(f'[http.tokens.{name}]\nfile = "{name}"\n' for name in names)
    found = problems(f'{text}[http.tokens.none]\nmay = "watch"\n[http.tokens.nothing]\n[http.tokens."A b"]\n')
    assert found == [
        "http.tokens.none.may: must be one of 'look', 'act'",
        'http.tokens."A b": a token\'s name is made of a-z, 0-9 and _ only',
        "http.tokens.same.file: same: is the token of good too; each needs its own",
        "http.tokens.short.file: short: is shorter than 32 characters; `openssl rand -hex 32` makes a good one",
        "http.tokens.two.file: two: holds a blank, a line break or a character outside ASCII; a token is one word",
        "http.tokens.gone.file: gone: cannot be read: No such file or directory",
        "http.tokens.none.file: no token: set it, or the systemd credential http.tokens.none",
        "http.tokens.nothing.file: no token: set it, or the systemd credential http.tokens.nothing",
    ]


def test_a_token_may_be_a_systemd_credential_and_only_what_runs_pages_needs_it(tmp_path: Path) -> None:
    (tmp_path / "http.tokens.support").write_text(OTHER)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    settings = loaded('[http.tokens.support]\nmay = "ACT"', environ)
    assert settings.http.tokens["support"].may == "act"
    assert "\n# file: the systemd credential http.tokens.support\n" in show(settings, environ=environ)
    assert OTHER not in show(settings, environ=environ)
    assert loaded('[http.tokens.support]\nfile = "gone"', need_keys=False).http.has_pages


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Returns.Example.com/", "https://returns.example.com"),
        ("https://returns.example.com:443", "https://returns.example.com"),
        ("http://returns:8080", "http://returns:8080"),
        ("https://[2001:DB8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_the_public_address_is_an_origin_as_browsers_write_it(url: str, origin: str) -> None:
    assert check_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        *("returns.example.com", "ftp://returns.example.com", "https://", "https://a b", "https://a:99999"),
        *("https://a/returns", "https://a?x", "https://a#x", "https://user@a", "https://r\u00e9tours.example"),
    ],
)
def test_what_is_no_origin_is_refused(url: str) -> None:
    Path("good").write_text(GOOD)
    (found,) = problems(f'[http]\npublic_url = "{url}"\n[http.tokens.good]\nfile = "good"\n')
    assert found.startswith("http.public_url: must be ")


def test_a_public_address_without_a_token_is_refused() -> None:
    (found,) = problems('[http]\npublic_url = "https://returns.example.com"')
    assert found.startswith("http.public_url: whoever reaches that address would see the pages: configure a token")


@pytest.mark.parametrize(
    ("listen", "has_pages"),
    [
        *(("127.0.0.1:9464", True), ("127.8.0.1:0", True), ("[::1]:9464", True), ("LocalHost:9464", True)),
        *(("0.0.0.0:9464", False), ("[::]:9464", False), ("10.0.0.1:9464", False), ("myhost:9464", False)),
    ],
)
def test_without_a_token_there_are_pages_on_loopback_alone(listen: str, has_pages: bool) -> None:
    assert loaded(f'[http]\nlisten = "{listen}"').http.has_pages is has_pages
    Path("good").write_text(GOOD)
    assert loaded(f'[http]\nlisten = "{listen}"\n[http.tokens.good]\nfile = "good"').http.has_pages
