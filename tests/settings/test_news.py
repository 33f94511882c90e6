"""`[news.NAME]`: every mistake has its line, all at once; and a webhook's secrets are taken up as keys are."""

import base64
from pathlib import Path

import pytest

from worker.settings import KeyUnavailableError, NewsSettings, SecretSource, Settings, secret_source

ONE, OTHER = bytes(range(24)), bytes(range(64))


def written(*keys: bytes) -> str:
    return "\n".join("whsec_" + base64.b64encode(key).decode() for key in keys)


def test_a_rotated_secret_is_taken_up_without_a_restart_and_the_last_good_one_stays(tmp_path: Path) -> None:
    file, now = tmp_path / "secret", [0.0]
    file.write_text(written(ONE))
    source = SecretSource("shop", None, file, None, lambda: now[0])
    assert source.current() == (ONE,)
    file.write_text(written(OTHER, ONE))
    now[0] += 2
    assert source.current() == (OTHER, ONE)
    file.write_text("whsec_" + "A" * 8)
    now[0] += 2
    assert source.current() == (OTHER, ONE)
    assert source.problem is not None
    assert "6 bytes" in source.problem and "AAAA" not in source.problem


def test_the_systemd_credential_of_a_webhook_is_found_by_its_name(tmp_path: Path) -> None:
    settings = Settings(news={"shop": NewsSettings(kind="webhook", url="https://example.org")})
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(KeyUnavailableError, match=r"news\.shop\.secret"):
        secret_source(settings, "shop", environ).current()
    (tmp_path / "news.shop.secret").write_text(written(ONE))
    assert secret_source(settings, "shop", environ).current() == (ONE,)
