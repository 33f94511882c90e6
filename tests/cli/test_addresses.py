"""A mistake in an address ends a command with one message and 78; none is a traceback, or waits for a database."""

from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured

SECRET = "QXZQXZ"
URLS = [
    f"postgresql://u:{SECRET}[@127.0.0.1:1/x?sslmode=bogus",
    f"postgresql://u:{SECRET}#@127.0.0.1:1/x?require_auth=md5",
    f"postgresql://u:p@127.0.0.1:{SECRET}/x",
    f"postgresql://u:p@127.0.0.1:1/x?{SECRET}",
    f"postgresql://u:p@127.0.0.1:1/x?{SECRET}={SECRET}",
    "postgresql://u:p@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/none.crt",
    "postgresql://u:p@127.0.0.1:1/x?sslmode=bogus",
    "postgresql://u@127.0.0.1:1/x?service=gone",
    "postgresql+asyncpg://u:p@127.0.0.1:1/x",
    "sqlite:///q.db?mode=ro",
    "sqlite:///file:x.db",
    "sqlite:///a\udcff.db",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configured(tmp_path, ACCOUNTS)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_mistake_in_the_databases_url_is_bad_configuration(
    url: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETURNS_WORKER_DATABASE__URL", url)
    result = called(command)
    assert result.exit_code == 78, result.output
    assert result.output.startswith("bad configuration, 1 problem:\n  database.url: ")
    assert result.output.count("\n") == 2
    assert SECRET not in result.output
    assert not list(Path().glob("*.db*"))


@pytest.mark.parametrize(
    "store", ["file:a%00b", "file:~", "file:a?b", "file:a\nb", "file:a\udcff", "s3:///x", "s3://b/../x"]
)
@pytest.mark.parametrize("command", ["migrate", "check"])
def test_a_mistake_in_the_label_stores_url_is_bad_configuration(
    store: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETURNS_WORKER_LABELS__STORE", store)
    result = called(command)
    assert result.exit_code == 78, result.output
    assert result.output.startswith("bad configuration, 1 problem:\n  labels.store: ")
    assert result.output.count("\n") == 2


@pytest.mark.parametrize("url", URLS[:9])
def test_a_mistake_in_the_url_to_copy_to_is_wrong_usage(url: str) -> None:
    assert called("migrate").exit_code == 0
    result = called("copy-to", url)
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert result.output.startswith("error: the URL: ")
    assert SECRET not in result.output


def test_a_variable_that_completes_the_url_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETURNS_WORKER_DATABASE__URL", "postgresql://u@127.0.0.1:1/x")
    monkeypatch.setenv("PGSSLMODE", "bogus")
    result = called("migrate")
    assert (result.exit_code, "database.url: PGSSLMODE must be one of" in result.output) == (78, True), result.output


def test_a_bucket_that_the_environment_does_not_complete_is_bad_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore")
    monkeypatch.setenv("RETURNS_WORKER_LABELS__STORE", "az://container")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    result = called("check")
    assert result.exit_code == 78
    assert "error    labels: az://container cannot be opened as label store: " in result.output


def test_what_is_shown_of_a_url_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "RETURNS_WORKER_DATABASE__URL", f"postgresql:///x?user=u&pass%77ord=a;{SECRET}#{SECRET}&host=/none"
    )
    result = called("check", "--show")
    assert result.exit_code == 69, result.output
    assert 'url = "postgresql:///x?user=u&pass%77ord=********&host=/none"' in result.output
    assert SECRET not in result.output
