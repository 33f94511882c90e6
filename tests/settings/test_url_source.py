"""A password that was rotated in the file with the database's URL is taken up; another database never is."""

import os
from pathlib import Path

import pytest

from worker.renewed import renewed_url
from worker.settings import ConfigurationError, Settings, UrlSource, load
from worker.telemetry.logs import Redactor

URL = "postgresql://worker:first@db.example:5432/shop?sslmode=require"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "url"
    path.write_text(URL + "\n")
    return path


@pytest.fixture
def source(file: Path) -> UrlSource:
    return UrlSource(of_file(file).database)


def of_file(file: Path, **environ: str) -> Settings:
    return load(None, {"RETURNS_WORKER_DATABASE__URL_FILE": str(file), **environ})


def replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    os.replace(new, file)


@pytest.mark.parametrize(
    "renewed",
    [
        "postgresql://worker:second@db.example:5432/shop?sslmode=require",
        "postgres://other:second@db.example:5432/shop?sslmode=verify-full\n",
    ],
)
def test_a_rotated_password_or_role_is_taken_up_at_once(source: UrlSource, file: Path, renewed: str) -> None:
    assert source.current() == URL
    replace(file, renewed)
    assert source.current() == renewed.strip().replace("postgres://", "postgresql://")
    assert source.problem is None


@pytest.mark.parametrize(
    "elsewhere",
    [
        "postgresql://worker:first@other.example:5432/shop?sslmode=require",
        "postgresql://worker:first@db.example:5433/shop?sslmode=require",
        "postgresql://worker:first@db.example:5432/test?sslmode=require",
        "postgresql://worker:first@db.example:5432/shop?host=other.example",
        "sqlite:///returns.db",
    ],
)
def test_another_database_is_never_taken_up_without_a_restart(source: UrlSource, file: Path, elsewhere: str) -> None:
    replace(file, elsewhere)
    assert source.current() == URL
    assert source.problem is not None and "restart the workers" in source.problem
    replace(file, URL.replace("first", "second"))
    assert "second" in source.current()
    assert source.problem is None


def test_another_user_is_another_database_where_the_url_names_none(file: Path) -> None:
    replace(file, "postgresql://shop:first@db.example")
    source = UrlSource(of_file(file).database)
    replace(file, "postgresql://shop:second@db.example")
    assert "second" in source.current()
    replace(file, "postgresql://other:third@db.example")
    assert "second" in source.current()


@pytest.mark.parametrize("bad", ["", " \n", "s3cret-word", "postgresql://u:s3cret-word@[db/shop", "\x00", "x" * 20_000])
def test_a_bad_file_leaves_the_last_good_url_in_force_and_is_reported_without_its_text(
    source: UrlSource, file: Path, bad: str
) -> None:
    replace(file, bad)
    assert source.current() == URL
    assert source.problem is not None and "s3cret-word" not in source.problem
    file.unlink()
    assert source.current() == URL
    assert source.problem is not None and "cannot be read" in source.problem
    assert "first" not in repr(source) + source.problem


def test_nobody_looks_at_a_file_where_the_url_itself_is_given(file: Path) -> None:
    settings = of_file(file, RETURNS_WORKER_DATABASE__URL="postgresql://worker:mine@db.example/shop")
    source = UrlSource(settings.database)
    replace(file, "nonsense")
    assert source.current() == "postgresql://worker:mine@db.example/shop"
    assert source.problem is None


def test_the_url_may_be_a_systemd_credential_and_a_file_that_is_configured_wins(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "credentials"
    directory.mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(directory)}
    assert load(None, environ).database.kind == "sqlite"  # a unit has credentials without this one
    (directory / "database.url").write_text("postgresql://worker:third@db.example/shop\n")
    assert load(None, environ).database.url == "postgresql://worker:third@db.example/shop"
    assert of_file(file, **environ).database.url == URL
    (directory / "database.url").write_text("\n")
    with pytest.raises(ConfigurationError, match=r"database\.url.*credentials/database\.url"):
        load(None, environ)


@pytest.mark.parametrize(
    "renewed",
    [
        "postgresql://worker:s3cond-one@db.example:5432/shop",
        "postgresql://worker@db.example:5432/shop?password=s3cond-one",
        "postgresql://worker@db.example:5432/shop?sslpassword=s3cond-one&sslcert=c&sslkey=k&sslmode=disable",
    ],
)
def test_a_rotated_secret_is_masked_in_the_log_before_it_is_used(file: Path, renewed: str) -> None:
    redactor = Redactor()
    current = renewed_url(of_file(file).database, redactor, lambda _: None)
    current()
    replace(file, renewed)
    assert "s3cond-one" in current()
    assert "s3cond-one" not in redactor.redact("FATAL: s3cond-one is refused")
