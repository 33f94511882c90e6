"""What `accounts hold` refuses."""

from pathlib import Path

from tests.cli.calls import ACCOUNTS, called, configured


def test_a_hold_for_no_time_is_refused_and_ends_no_other(folder: Path, filled_url: str) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    assert called("accounts", "hold", "default").exit_code == 0
    for nothing in ("0s", "0"):
        assert called("accounts", "hold", "default", "--for", nothing).exit_code == 2
    assert "held until it is released" in called("accounts").output
