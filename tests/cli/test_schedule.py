"""The command that draws a cadence, and what `check` says of one that an account cannot keep up with."""

import asyncio
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
from typer.testing import CliRunner

from tests.process.shop import Shop
from worker.cli.commands import application
from worker.cli.overload import overloads
from worker.settings import load
from worker.store.database import Database
from worker.store.queries import Backlog
from worker.store.schema import migrate

START = ("--start", "2026-06-01T10:00")
ACCOUNTS = """
[accounts.default]
api_key = "IZI-a-key"
[accounts.default.status_map]
Delivered = "delivered"
[accounts.pilot]
carrier = "returnpilot"
api_key = "a-token"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands are run, without settings from outside."""
    for name in [*os.environ]:
        if name.startswith("RETURNS_WORKER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configured(folder: Path, text: str) -> Path:
    file = folder / "returns-worker.toml"
    file.write_text(text)
    return file


def called(*words: str) -> Any:
    return CliRunner().invoke(application, list(words))


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
        (("--journey", "pre_transit"), "a duration is"),
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


@pytest.fixture(params=["sqlite", "postgresql"])
def filled_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """A database in which 12 returns of `default` are in transit and one of `pilot` is completed."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{folder}/returns.db" if sqlite else str(request.getfixturevalue("postgres_url"))
    asyncio.run(_fill(url))
    return url


async def _fill(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()
    shop = Shop(url)
    insert = (
        "INSERT INTO return_order (account, reference, payload, state, next_step, carrier_ref, tracking_status, due_at)"
        " VALUES (?1, ?2, '{}', ?3, 'track', ?2, 'in_transit', "
    )
    for number in range(12):
        await shop.execute(f"{insert}'2036-06-01 00:00:00')", "default", f"T-{number}", "tracking")
    await shop.execute(f"{insert}NULL)", "pilot", "D-1", "completed")


def test_open_returns_are_those_tracked_now(folder: Path, filled_url: str) -> None:
    configured(folder, f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}')
    default, pilot = (plan["open"] for plan in plans())
    assert (default["returns"], default["source"]) == (12, "tracked now")
    assert (pilot["returns"], pilot["source"]) == (1000, "assumed, as none is tracked yet")
    assert plans("--open", "7")[0]["open"]["source"] == "as given"


def test_check_warns_of_returns_that_ask_for_more_than_the_limit(folder: Path, filled_url: str) -> None:
    """Twelve that are asked about each minute, at an account that may ask ten times."""
    every_minute = 'first = "1m"\nfactor = 1.5\ncap = "1m"\nby_status.in_transit.first = "1m"\n'
    text = f'[database]\nurl = "{filled_url}"\n{ACCOUNTS}[polling]\n{every_minute}'
    warnings = []
    for rate in (10, 20, 0):
        configured(folder, text.replace("[accounts.default]", f"[accounts.default]\nrate_per_minute = {rate}"))
        done = called("check")
        assert done.exit_code == 0, done.output
        warnings.append([line for line in done.stderr.splitlines() if line.startswith("warning")])
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
    assert "1000000 tracked returns ask for about 3778 requests a minute one by one, 76 by pages of 50 at least" in line


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
