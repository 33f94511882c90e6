"""A SQLite URL names a file by the convention of URLs, or is refused; never is its text taken for a file's name."""

from pathlib import Path

import pytest

from worker.dsn import BadUrl, parse_url


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///a.db", "a.db"),
        ("sqlite:////var/lib/a.db", "/var/lib/a.db"),
        ("SQLite:///a.db", "a.db"),
        ("sqlite:///my%20file.db", "my file.db"),
        ("sqlite:///100%.db", "100%.db"),
        ("sqlite:///caf%C3%A9#1.db", "café#1.db"),
        ("sqlite:///./~a.db", "~a.db"),
    ],
)
def test_percent_encoding_is_taken_off(url: str, file: str) -> None:
    assert parse_url(url) == Path(file)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///a.db?mode=ro", "takes no parameters"),
        ("sqlite:///file:a.db?mode=ro&uri=true", "without a second file:"),
        ("sqlite:///file:a.db", "without a second file:"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://a.db", "must name a file: sqlite:///returns.db"),
        ("sqlite:///C:/a.db", "names a drive"),
        ("sqlite:///C:\\a.db", "names a drive"),
        ("sqlite:///~/a.db", "~ is not expanded"),
        ("sqlite:///a.db/", "this is a folder"),
        ("sqlite:///folder", "this is a folder"),
        ("sqlite:///a%00.db", "NUL"),
        ("sqlite:///a\0.db", "NUL"),
        ("sqlite:///a\0?x", "takes no parameters"),
        ("sqlite:///a%0A.db", "control character"),
        ("sqlite:///a\n.db", "control character"),
        ("sqlite:///a%ff.db", "must be UTF-8"),
        ("sqlite:///a\udcff.db", "must be UTF-8"),
    ],
)
def test_what_means_something_else_elsewhere_is_refused(url: str, said: str) -> None:
    with pytest.raises(BadUrl, match=said):
        parse_url(url)
    assert [path.name for path in Path().iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("written", "spelled"), [("my%20file.db", "my%2520file.db"), ("a.db?mode=ro", "a.db%3Fmode=ro")]
)
def test_a_file_that_was_called_as_the_url_is_written_is_not_left_behind_unnoticed(written: str, spelled: str) -> None:
    Path(written).touch()
    with pytest.raises(BadUrl) as raised:
        parse_url(f"sqlite:///{written}")
    assert f"a file that is called {written!r}: to use that, write sqlite:///{spelled}" in str(raised.value)
    assert parse_url(f"sqlite:///{spelled}") == Path(written)
