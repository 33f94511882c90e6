"""No secret is in anything that the settings write: what is shown, representations, errors, tracebacks."""

import traceback
from pathlib import Path

import pytest

from worker.settings import ConfigurationError, Settings, load, show

SECRET = "s3cret-Zq7"


def load_text(text: str) -> Settings:
    file = Path("given.toml")
    file.write_text(text)
    return load(file, {})


WITH_SECRETS = f"""
[database]
url = "postgresql://u:{SECRET}@h/db?sslpassword={SECRET}"
[accounts.default]
api_key = "{SECRET}"
proxy = "http://u:{SECRET}@proxy:3128"
"""


def test_what_is_shown_holds_no_secret_and_is_toml_that_loads() -> None:
    settings = load_text(WITH_SECRETS)
    for text in (show(settings), repr(settings), str(settings), repr(settings.accounts), f"{settings.database}"):
        assert SECRET not in text
        assert "********" in text
    assert load_text(show(settings)).polling == settings.polling


@pytest.mark.parametrize(
    "text",
    [
        f'[database]\nurl = "mysql://u:{SECRET}@h/db"',
        f'[database]\nurl = ["{SECRET}"]',
        f'[accounts.default]\napi_key = ["{SECRET}"]',
        f'[accounts.default]\napi_key = "a\\n{SECRET}"',
        f'[accounts.default]\napi_key = "{SECRET}\u20ac"',
        f'[accounts.default]\nproxy = "{SECRET}"',
        f'[accounts.default]\nbase_url = "https://u:{SECRET}@h"',
        f'[labels]\nstore = "ftp://u:{SECRET}@h"',
        f'accounts = "{SECRET}"',
        f'[accounts.default]\napi_key = "{SECRET}"\nwrong = 1',
        f'[accounts.default]\napi_key = "{SECRET}" wrong',
    ],
)
def test_no_error_tells_a_secret_not_even_in_its_traceback(text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_text(text)
    written = "".join(traceback.format_exception(raised.value)) + str(raised.value) + repr(raised.value)
    assert SECRET not in written


def test_a_secret_in_the_environment_is_not_told_either() -> None:
    environ = {"RETURNS_WORKER_ACCOUNTS": f"{{{SECRET}", "RETURNS_WORKER_DATABASE__URL": f"x://u:{SECRET}@h"}
    with pytest.raises(ConfigurationError) as raised:
        load(environ=environ)
    assert len(raised.value.problems) == 2
    assert SECRET not in str(raised.value)
