"""`check` names accounts that send with one key."""

from pathlib import Path

from tests.cli.calls import ACCOUNTS, called, configured

SECOND = """
[accounts.second]
carrier = "returnpilot"
api_key = "{key}"
base_url = "{base_url}"
"""


def test_check_names_accounts_that_share_a_key_at_one_address_and_no_others(folder: Path, filled_url: str) -> None:
    text = f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}'
    here, elsewhere = "https://app.returnpilot.co:443/another/path", "https://staging.returnpilot.co/api/v1"
    for key, base_url, shared in (
        ("a-token", here, True),
        ("another-token", here, False),
        ("a-token", elsewhere, False),
    ):
        configured(folder, text + SECOND.format(key=key, base_url=base_url))
        done = called("check")
        assert done.exit_code == 0, done.output
        lines = [line for line in done.stderr.splitlines() if "share one key" in line]
        assert len(lines) == shared
        assert not shared or lines[0].startswith("warning  accounts pilot, second share one key: they have one pace")
        assert key not in done.output
