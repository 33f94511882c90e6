"""URLs in the settings are checked, and never shown with a password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.dsn import check_url
from worker.listening import check_host
from worker.settings import HttpSettings, masked_url
from worker.settings.urls import check_base_url, check_label_store, check_proxy


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/db?sslmode=require", "postgresql://u:********@h:5432/db?sslmode=require"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql:///db?user=u&password=s3cret&x=1", "postgresql:///db?user=u&password=********&x=1"),
        ("postgresql://u:s3@cr/et@h1,h2/db", "postgresql://u:********@h1,h2/db"),
        ("postgresql://u:s3?cret@h/db", "postgresql://u:********@h/db"),
        ("postgresql:///db?user=u&password=s3;cr#et&x=1", "postgresql:///db?user=u&password=********&x=1"),
        ("postgresql:///db?user=u&pass%77ord=s3cret", "postgresql:///db?user=u&pass%77ord=********"),
        ("postgresql:///u:s3cret@h/db", "postgresql:///u:********@h/db"),
        ("sqlite:///returns.db", "sqlite:///returns.db"),
        ("sqlite:////srv/a:b@c/returns.db", "sqlite:////srv/a:b@c/returns.db"),
        ("http://u:s3cret@proxy:3128", "http://u:********@proxy:3128"),
        ("u:s3cret@proxy:3128", "********"),
        ("", ""),
        ("file:labels", "file:labels"),
        ("s3://bucket?secret=s3cret&region=eu", "s3://bucket?secret=********&region=eu"),
    ],
)
def test_a_shown_url_holds_no_password(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@given(st.text(min_size=1, alphabet=st.characters(exclude_characters="*")))
def test_no_password_however_odd_survives_masking(password: str) -> None:
    assert masked_url(f"postgresql://user:{password}@host/db") == "postgresql://user:********@host/db"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://h/db",
        "returns.db",
        "",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://x",
        "postgresql:h",
        "postgresql+asyncpg://h/db",
        "sqlite+aiosqlite:///x.db",
    ],
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError):
        check_url(url)


def test_both_names_of_postgresql_are_the_same() -> None:
    assert check_url("postgres://u@h/db") == check_url("postgresql://u@h/db")


def test_a_base_url_loses_its_trailing_slash() -> None:
    assert check_base_url("https://app.example/api/v1/") == "https://app.example/api/v1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h",
        "h",
        "",
        "https://",
        "https://h?",
        "https://h#x",
        "https://u:s3cret@h",
        "https://h:99999",
        "https://h/a b",
        "https://[::1",
        "https://h\n",
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_base_url(url)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://h", "http://h/path", "http://u:s3cret@"])
def test_a_proxy_that_cannot_be_one_is_refused(proxy: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_proxy(proxy)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "store", ["file:labels", "file:/var/l", "file:///var/l", "file:a%20b", "s3://b/p", "gs://b", "az://c/"]
)
def test_a_label_store_may_be_a_folder_or_a_bucket(store: str) -> None:
    assert check_label_store(store) == store


@pytest.mark.parametrize(
    "store",
    [
        *("labels", "file:", "file://labels", "file:///", "s3://", "ftp://h", "https://h"),
        *("file:a%00b", "file:a\nb", "file:a%0ab", "file:~", "file:~/s3cret", "file:///s3cret?b", "file:a?s3cret"),
        *("file:%ffs3cret", "s3:///s3cret", "s3://b/../s3cret", "s3://b/%2e%2e/x", "s3://b//x", "s3://u:s3cret@b/x"),
        *("s3://b:80/x", "s3://b/x?token=s3cret", "s3://b/x#s3cret", "s3://b/a\x01", "s3://b/%01", "az://c/./x"),
        "file:\udcffs3cret",
    ],
)
def test_other_label_stores_are_refused_without_repeating_them(store: str) -> None:
    with pytest.raises(ValueError) as raised:
        check_label_store(store)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("host", "kept"), [("Labels.Example", "labels.example"), ("10.0.0.1", "10.0.0.1"), ("[::1]", "::1")]
)
def test_a_label_host_is_a_name_or_an_address(host: str, kept: str) -> None:
    assert check_host(host) == kept


@pytest.mark.parametrize("host", ["", "https://h", "h:80", "h/x", "-h", "a..b", "u@h"])
def test_a_label_host_is_nothing_more(host: str) -> None:
    with pytest.raises(ValueError):
        check_host(host)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("127.0.0.1:9464", "127.0.0.1", 9464), ("[::1]:9464", "::1", 9464), ("localhost:0", "localhost", 0)],
)
def test_where_to_listen_is_a_host_and_a_port(listen: str, host: str, port: int) -> None:
    settings = HttpSettings(listen=listen)
    assert (settings.host, settings.port) == (host, port)


@pytest.mark.parametrize("listen", ["9464", ":9464", "::1:9464", "h:", "h:65536", "h:x", "h:-1", "http://h:1"])
def test_where_to_listen_is_nothing_else(listen: str) -> None:
    with pytest.raises(ValueError):
        HttpSettings(listen=listen)
