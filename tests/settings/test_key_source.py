"""An account's key comes from one place, and a changed key file is noticed without a restart."""

import os
from pathlib import Path

import pytest

from worker.settings import AccountSettings, KeySource, KeyUnavailableError, Settings, key_source
from worker.settings.secrets import check_key


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("first-key\n")
    return path


def write(file: Path, text: str) -> None:
    """Replace the file, as one that is rotated is."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


def test_the_value_wins_over_the_file(file: Path) -> None:
    assert KeySource("default", "the-value", file, None).current() == "the-value"


def test_the_file_wins_over_the_credential(file: Path, tmp_path: Path) -> None:
    (tmp_path / "default.api_key").write_text("credential")
    assert KeySource("default", None, file, tmp_path).current() == "first-key"


def test_the_systemd_credential_is_found_by_the_accounts_name(tmp_path: Path) -> None:
    (tmp_path / "shop.api_key").write_text("credential\n")
    settings = Settings(accounts={"shop": AccountSettings()})
    assert key_source(settings, "shop", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).current() == "credential"


@pytest.mark.parametrize("content", ["", "\n", None])
def test_a_credential_that_is_empty_or_missing_says_where_the_key_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:  # systemd's SetCredential= stands in for a file that is missing
        (tmp_path / "shop.api_key").write_text(content)
    settings = Settings(accounts={"shop": AccountSettings()})
    with pytest.raises(KeyUnavailableError, match="LoadCredential= names the file that must hold the key"):
        key_source(settings, "shop", {"CREDENTIALS_DIRECTORY": str(tmp_path)}).current()


def test_a_missing_configured_file_is_not_replaced_by_the_credential(tmp_path: Path) -> None:
    (tmp_path / "default.api_key").write_text("credential")
    with pytest.raises(KeyUnavailableError, match="cannot be read"):
        KeySource("default", None, tmp_path / "absent", tmp_path).current()


def test_without_any_source_the_error_says_what_to_set() -> None:
    with pytest.raises(KeyUnavailableError, match="api_key_file"):
        KeySource("default", None, None, None).current()


def test_a_changed_key_file_is_noticed_within_a_second(file: Path, clock: Clock) -> None:
    source = KeySource("default", None, file, None, clock)
    assert source.current() == "first-key"
    write(file, "other-key")
    clock.now += 0.9
    assert source.current() == "first-key"
    clock.now += 0.2
    assert source.current() == "other-key"


def test_a_vanished_key_file_leaves_the_last_good_key_in_force_and_is_reported(file: Path, clock: Clock) -> None:
    source = KeySource("default", None, file, None, clock)
    source.current()
    file.unlink()
    clock.now += 1
    assert source.current() == "first-key"
    assert source.problem is not None and "cannot be read" in source.problem
    file.write_text("back-again")
    clock.now += 1
    assert source.current() == "back-again"
    assert source.problem is None


@pytest.mark.parametrize("bad", ["", " \n", "two\nlines", "\x00", "kéy\u2713", "x" * 20_000])
def test_a_bad_new_key_is_reported_without_showing_it_and_the_good_one_kept(file: Path, clock: Clock, bad: str) -> None:
    source = KeySource("default", None, file, None, clock)
    source.current()
    write(file, bad)
    clock.now += 1
    assert source.current() == "first-key"
    assert source.problem is not None
    assert not bad.strip() or bad not in source.problem
    write(file, "good")
    clock.now += 1
    assert source.current() == "good"


def test_a_key_file_that_appears_later_is_taken(tmp_path: Path, clock: Clock) -> None:
    source = KeySource("default", None, tmp_path / "key", None, clock)
    with pytest.raises(KeyUnavailableError):
        source.current()
    (tmp_path / "key").write_text("late")
    clock.now += 1
    assert source.current() == "late"


def test_a_pipe_or_a_folder_as_key_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(KeyUnavailableError, match="regular file"):
            KeySource("default", None, path, None).current()


def test_a_key_source_shown_shows_no_key(file: Path) -> None:
    with_file, with_value = KeySource("default", None, file, None), KeySource("default", "s3cret", None, None)
    assert with_file.current() not in repr(with_file)
    assert with_value.current() not in repr(with_value)


@pytest.mark.parametrize("bad", ["", "  ", "a\r\nX-Evil: 1", "a\tb", "a\x7f", "\u20ac"])
def test_a_key_that_no_header_can_carry_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        check_key(bad)
