"""The command that draws a cadence and says what it costs."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured

START = ("--start", "2026-06-01T10:00")


def scheduled(*words: str) -> Any:
    done = called("schedule", *START, *words)
    assert done.exit_code == 0, done.output
    return done


def plans(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(scheduled("--json", *words).stdout)
    return found


def test_it_needs_no_key_no_database_and_no_settings_and_leaves_nothing_behind(folder: Path) -> None:
    done = scheduled()
    assert done.stdout.startswith("account default: izipack, at most 60 requests a minute\n")
    assert "1000 open       assumed, as there is no database" in done.stdout
    assert list(folder.iterdir()) == []


def test_without_a_terminal_it_is_plain_text_of_at_most_80_columns(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    for words in ((), ("--pickup", "2026-06-02"), ("--open", "1000000000"), ("--journey", "unknown=90d,in_transit=1h")):
        lines = scheduled(*words).stdout.splitlines()
        assert max(map(len, lines)) <= 80
        assert all(line.isascii() and line.isprintable() and line == line.rstrip() for line in lines)


@pytest.mark.parametrize("columns", [80, 60])
def test_a_terminal_is_never_overrun(folder: Path, columns: int) -> None:
    """A real one: the strips take an hour for each cell where half an hour has no room."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "worker", "schedule", *START]
    surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, cwd=folder, env=surroundings | {"COLUMNS": str(columns)}, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    text = ""
    while True:
        try:
            data = os.read(controller, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not data:
            break
        text += data.decode()
    os.close(controller)
    assert process.wait(30) == 0
    assert "\x1b[" in text
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "").splitlines()
    assert max(map(len, lines)) <= columns
    strips = [re.search(r"\|(.*)\|", line) for line in lines if line.startswith("Tue")]
    assert [len(strip[1]) for strip in strips if strip] == [48 if columns >= 80 else 24]


def test_the_drawing_shows_every_poll_in_the_half_hour_it_is_made_in(folder: Path) -> None:
    """But for one that would stand where the creation does."""
    (plan,) = plans()
    drawn = scheduled().stdout
    expected: dict[str, set[int]] = {}
    for poll in plan["polls"]:
        local = datetime.fromisoformat(poll["at"]).astimezone(_zone())
        expected.setdefault(f"{local:%a} {local.day:2} {local:%b}", set()).add(local.hour * 2 + local.minute // 30)
    for day, cells in expected.items():
        strip = next(line for line in drawn.splitlines() if line.startswith(day)).split("|")
        assert {cell for cell, mark in enumerate(strip[1]) if mark in "C123456789#DX"} == cells
        assert int(strip[2].split()[0]) == sum(
            f"{at:%a} {at.day:2} {at:%b}" == day
            for at in (datetime.fromisoformat(poll["at"]).astimezone(_zone()) for poll in plan["polls"])
        )


def _zone() -> Any:
    from zoneinfo import ZoneInfo

    return ZoneInfo("Europe/Amsterdam")


def test_the_same_start_draws_the_same(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    assert scheduled().stdout == scheduled().stdout
    assert plans() == plans()
    utc = json.loads(called("schedule", "--json", "--start", "2026-06-01T08:00Z").stdout)
    assert utc == plans()


def test_each_account_has_its_own_carrier_limit_and_journey(folder: Path) -> None:
    configured(folder, ACCOUNTS + "[accounts.pilot.polling]\nquiet_nights = true\n")
    izipack, pilot = plans("--open", "2000")
    assert (izipack["account"], izipack["carrier"], izipack["rate_per_minute"]) == ("default", "izipack", 60)
    assert (pilot["account"], pilot["carrier"], pilot["rate_per_minute"]) == ("pilot", "returnpilot", 50)
    assert [part["status"] for part in izipack["journey"]] == ["pre_transit", "in_transit"]
    assert [part["status"] for part in pilot["journey"]] == ["pending", "pre_transit", "in_transit"]
    assert (izipack["requests"]["label"], pilot["requests"]["label"]) == (1, 2)
    assert plans("--account", "pilot", "--open", "2000") == [pilot]


def test_the_numbers_fit_together(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    for plan in plans("--open", "20000"):
        requests, opened = plan["requests"], plan["open"]
        assert requests["polls"] == len(plan["polls"])
        assert requests["all"] == requests["creation"] + requests["label"] + requests["polls"]
        life = datetime.fromisoformat(plan["ends_at"]) - datetime.fromisoformat(plan["start"])
        minutes = life.total_seconds() / 60
        assert plan["requests_a_day"] == pytest.approx(requests["all"] / minutes * 1440, rel=0.01)
        assert opened["requests_a_minute"] == pytest.approx(20_000 * requests["all"] / minutes, rel=0.001)
        percent = 100 * opened["requests_a_minute"] / plan["rate_per_minute"]
        assert opened["percent_of_limit"] == pytest.approx(percent, abs=0.1)
        assert opened["can_serve"] == pytest.approx(20_000 / percent * 100, abs=20)
        if plan["carrier"] == "returnpilot":
            others = requests["creation"] + requests["label"]
            paged = 20_000 * (others + requests["polls"] / 50) / minutes
            assert opened["requests_a_minute_when_asking_by_pages"] == pytest.approx(paged, rel=0.001)


def test_with_quiet_nights_the_limit_has_to_do_in_the_daytime(folder: Path) -> None:
    configured(folder, ACCOUNTS + "[polling]\nquiet_nights = true\n")
    opened = plans("--account", "default", "--open", "1000")[0]["open"]
    assert opened["requests_a_minute"] < opened["requests_a_minute_when_asking"]
    assert "in the daytime" in scheduled("--account", "default").stdout


def test_a_return_that_the_settings_expire_is_drawn_to_its_end(folder: Path) -> None:
    configured(folder, '[polling.by_status.unknown]\nmax_age = "36h"\n')
    (plan,) = plans("--journey", "unknown=9d")
    assert (plan["ending"], plan["ends_at"]) == ("expired", "2026-06-02T20:00:00+00:00")
    assert plan["if_it_stayed"]["unknown"] == {"polls": plan["requests"]["polls"], "for": "36h", "expires": True}
    drawn = scheduled("--journey", "unknown=9d").stdout
    assert "X" in next(line for line in drawn.splitlines() if line.startswith("Tue  2 Jun"))
    assert "expired         Tue 2 Jun 22:00, before the journey was over" in drawn


def test_more_polls_than_can_be_drawn_are_reckoned(folder: Path) -> None:
    configured(
        folder, '[polling]\nfirst = "200ms"\nfactor = 1.0\ncap = "200ms"\nby_status.in_transit.first = "200ms"\n'
    )
    drawn = scheduled().stdout
    assert "too many to draw" in drawn
    assert "about 2160002 in 5.0 days: creation 1, label 1, polls 2160000" in drawn
    (plan,) = plans("--journey", "pre_transit=61d")
    assert plan["requests"]["polls"] == plan["if_it_stayed"]["unknown"]["polls"] == 60 * 86400 * 5


def test_a_long_life_is_drawn_in_part_and_summed_up(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    drawn = scheduled("--account", "pilot", "--journey", "pending=365d").stdout
    assert len(drawn.splitlines()) < 80
    left = re.search(r"\.\.\. (\d+) more days with (\d+) polls", drawn)
    assert left is not None
    strips = [line for line in drawn.splitlines() if line.count("|") == 2]
    polls = sum(int(line.split("|")[2].split()[0]) for line in strips) + int(left[2])
    assert f"polls {polls};" in drawn


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--account", "nobody"), "there is no account 'nobody'; there is default, pilot"),
        (("--account", "\x1b[31m"), "there is no account ' [31m'"),
        (("--journey", "on_its_way=2d"), "'on_its_way' is none of pending, pre_transit, in_transit, unknown"),
        (("--journey", "delivered=2d"), "'delivered' is none of"),
        (("--journey", ""), "'' is none of"),
        (("--journey", "pre_transit=2d,"), "'' is none of"),
        (("--journey", "pre_transit"), "needs a time, such as pre_transit=2d"),
        (("--journey", "pre_transit=soon"), "pre_transit=soon: a duration is"),
        (("--journey", "pre_transit=0s"), "pre_transit must last more than zero"),
        (("--journey", "pre_transit=-2d"), "must not be negative"),
        (("--journey", "pre_transit=9999999999d"), "is longer than 3650d"),
        (("--journey", "pre_transit=3000d,unknown=3000d"), "is longer than 3650d"),
        (("--pickup", "tomorrow"), "'tomorrow' is no date"),
        (("--pickup", "2026-02-30"), "'2026-02-30' is no date"),
        (("--pickup", "9999-12-31"), "must lie between"),
        (("--start", "now"), "'now' is no moment"),
        (("--start", "0001-01-01T00:00+14:00"), "must lie between"),
        (("--start", "9999-12-31T23:59"), "must lie between"),
        (("--open", "0"), "--open"),
        (("--open", "many"), "--open"),
    ],
)
def test_bad_input_is_named_and_refused_as_wrong_usage(folder: Path, words: tuple[str, ...], message: str) -> None:
    configured(folder, ACCOUNTS)
    done = called("schedule", *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_settings_are_named_as_everywhere(folder: Path) -> None:
    configured(folder, '[polling]\nfirst = "soon"\n')
    done = called("schedule")
    assert done.exit_code == 78
    assert "polling.first" in done.stderr


@pytest.mark.parametrize(
    "url", ["sqlite:///nowhere.db", "sqlite:///text.db", "postgresql://nobody@127.0.0.1:1/nowhere"]
)
def test_without_a_database_that_can_be_read_it_assumes_a_thousand_and_says_so(folder: Path, url: str) -> None:
    (folder / "text.db").write_text("no database at all, but a letter that is long enough to have a header " * 9)
    configured(folder, f'[database]\nurl = "{url}"\n')
    opened = plans()[0]["open"]
    assert opened["returns"] == 1000
    assert opened["source"].startswith("assumed, as ")


def test_open_returns_are_those_tracked_now(folder: Path, filled_url: str) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    default, pilot = (plan["open"] for plan in plans())
    assert (default["returns"], default["source"]) == (12, "tracked now")
    assert (pilot["returns"], pilot["source"]) == (1000, "assumed, as none is tracked yet")
    assert plans("--open", "7")[0]["open"]["source"] == "as given"
