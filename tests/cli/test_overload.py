"""What `check` says when an account's returns ask for more requests than its limit allows."""

import re
from pathlib import Path

from tests.cli.calls import ACCOUNTS, called, configured
from worker.settings import load
from worker.store.queries import Backlog
from worker.usecases.plan import overloads


def test_check_warns_of_returns_that_ask_for_more_than_the_limit(folder: Path, filled_url: str) -> None:
    """Twelve that are asked about each minute, at an account that may ask ten times."""
    every_minute = 'first = "1m"\nfactor = 1.5\ncap = "1m"\nby_status.in_transit.first = "1m"\n'
    text = f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}[polling]\n{every_minute}'
    warnings = []
    for rate in (10, 20, 0):
        configured(folder, text.replace("[accounts.default]", f"[accounts.default]\nrate_per_minute = {rate}"))
        done = called("check")
        assert done.exit_code == 0, done.output
        warnings.append([line for line in done.stderr.splitlines() if line.startswith("warning  account")])
    assert warnings[1:] == [[], []]
    (warning,) = warnings[0]
    assert (
        "account default: 12 tracked returns ask for about 15 requests a minute (in_transit 12 x one each 1m" in warning
    )
    assert "its limit is 10: raise rate_per_minute, or slow [accounts.default.polling] (cap =" in warning


def backlog(account: str, **counts: int) -> list[Backlog]:
    return [Backlog(account, "tracking", status, count, 0, None, 0) for status, count in counts.items()]


def warned(folder: Path, text: str, rows: list[Backlog]) -> list[str]:
    return overloads(load(configured(folder, text), {}), rows)


MANY = {"in_transit": 20_000, "pre_transit": 3000, "unknown": 1}


def test_the_cap_that_a_warning_names_ends_the_warning_where_it_says(folder: Path) -> None:
    rows = backlog("default", **MANY)
    for text in (ACCOUNTS, ACCOUNTS + "[polling.by_status.in_transit]\ncap = '5h'\n"):
        (line,) = warned(folder, text, rows)
        cap = re.search(r'slow \[accounts\.default\.polling\] \(cap = "(\w+)" would fit\)', line)
        assert cap is not None
        assert warned(folder, text + f'[accounts.default.polling]\ncap = "{cap[1]}"\n', rows) == []


def test_a_warning_names_the_tables_that_have_a_cap_of_their_own(folder: Path) -> None:
    text = ACCOUNTS + '[accounts.default.polling.by_status.in_transit]\ncap = "5h"\n'
    (line,) = warned(folder, text, backlog("default", **MANY))
    assert "slow [accounts.default.polling] and its by_status (cap" in line


def test_where_no_cap_is_slow_enough_a_warning_says_so(folder: Path) -> None:
    (line,) = warned(folder, ACCOUNTS, backlog("default", in_transit=200_000))
    assert "no cap alone would fit, first and factor count too" in line


def test_a_list_counts_by_its_pages_and_both_figures_are_said(folder: Path) -> None:
    assert warned(folder, ACCOUNTS, backlog("pilot", **MANY)) == []
    (line,) = warned(folder, ACCOUNTS, backlog("pilot", in_transit=1_000_000))
    assert "1000000 tracked returns ask for about 3568 requests a minute one by one, 71 by pages of 50 at least" in line


def test_a_ladder_too_fast_for_one_return_in_each_status_is_warned_of_before_there_is_any(folder: Path) -> None:
    text = ACCOUNTS + '[polling]\nfirst = "1s"\nfactor = 1.0\ncap = "1s"\nby_status.in_transit.first = "1s"\n'
    (line,) = warned(folder, text, [])
    assert line.startswith("account default: one return in each status asks for about 240 requests a minute (")
    assert warned(folder, text.replace("[accounts.default]", "[accounts.default]\nrate_per_minute = 0", 1), []) == []


def test_returns_that_nobody_polls_ask_for_nothing(folder: Path) -> None:
    rows = [
        Backlog("default", "pending", None, 10**6, 0, None, 0),
        Backlog("default", "needs_attention", None, 10**6, 0, None, 0),
        *backlog("nobody", in_transit=10**6),
    ]
    assert warned(folder, ACCOUNTS, rows) == []
