"""The command that says when a return would be polled, draws how often a day, and says what that costs."""

import json
import re
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.cli.calls import ACCOUNTS, called, configured

START = ("--start", "2026-06-01T10:00")
AMSTERDAM = ZoneInfo("Europe/Amsterdam")
DAY = re.compile(r"(?P<day>\w{3} \d+ \w{3}) +(?P<status>\w+) +(?P<polls>\d+) ?(?P<bar>#*)")


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


def drawn(*words: str) -> list[re.Match[str]]:
    """The lines of the chart."""
    return [match for line in scheduled(*words).stdout.splitlines() if (match := DAY.fullmatch(line))]


@pytest.mark.parametrize("columns", [200, 60])
def test_it_is_plain_text_of_at_most_80_columns_and_no_wider_than_the_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    configured(folder, ACCOUNTS + "[polling]\nnear_pickup = '10m'\n")
    for words in (("--pickup", "2026-06-02"), ("--open", "1000000000", "--journey", "unknown=90d,in_transit=1h")):
        lines = scheduled(*words).stdout.splitlines()
        assert max(map(len, lines)) <= min(columns, 80)
        assert all(line.isascii() and line.isprintable() and line == line.rstrip() for line in lines)


def test_the_chart_has_a_line_for_each_day_with_its_polls(folder: Path) -> None:
    configured(folder, "[polling]\nfirst = '40h'\ncap = '40h'\nby_status.in_transit.first = '10m'\n")
    (plan,) = plans("--journey", "pre_transit=5d,in_transit=14h")
    expected = Counter(datetime.fromisoformat(poll["at"]).astimezone(AMSTERDAM).date() for poll in plan["polls"])
    lines = drawn("--journey", "pre_transit=5d,in_transit=14h")
    assert [line["day"] for line in lines] == [
        *("Mon 1 Jun", "Tue 2 Jun", "Wed 3 Jun", "Thu 4 Jun", "Fri 5 Jun", "Sat 6 Jun", "Sun 7 Jun")
    ]
    assert [int(line["polls"]) for line in lines] == [expected[date(2026, 6, day)] for day in range(1, 8)]
    assert [len(line["bar"]) for line in lines] == [int(line["polls"]) for line in lines]
    assert [line["status"] for line in lines] == ["pre_transit"] * 5 + ["in_transit", "delivered"]


def test_a_day_of_more_polls_than_there_is_room_for_is_drawn_to_scale(folder: Path) -> None:
    configured(folder, "[polling]\nfirst = '6m'\ncap = '6m'\nby_status.in_transit.first = '6m'\nmax_age = '3d'\n")
    bars = {int(line["polls"]): len(line["bar"]) for line in drawn("--journey", "unknown=9d")}
    assert bars == {139: 29, 240: 49, 101: 21}


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
    assert (izipack["requests"]["label"], pilot["requests"]["label"]) == (1, 1)
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
    assert "in the daytime" in " ".join(scheduled("--account", "default").stdout.split())


def test_a_return_that_the_settings_expire_is_drawn_to_its_end(folder: Path) -> None:
    """After 36 hours in a status, which the first poll brought."""
    configured(folder, '[polling.by_status.unknown]\nmax_age = "36h"\n')
    (plan,) = plans("--journey", "unknown=9d")
    assert (plan["ending"], plan["ends_at"]) == ("expired", "2026-06-02T20:15:00+00:00")
    assert plan["if_it_stayed"]["unknown"] == {"polls": plan["requests"]["polls"], "for": "36h", "expires": True}
    assert [line["status"] for line in drawn("--journey", "unknown=9d")] == ["unknown", "expired"]
    assert "expired         Tue 2 Jun 22:15, before the journey was over" in scheduled("--journey", "unknown=9d").stdout


def test_pending_is_open_ended_only_where_a_customer_has_a_link(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    izipack, pilot = plans("--journey", "pending=90d")
    assert (izipack["ending"], izipack["if_it_stayed"]["pending"]["expires"]) == ("expired", True)
    assert (pilot["ending"], pilot["if_it_stayed"]["pending"]["expires"]) == ("delivered", False)


def test_more_polls_than_can_be_drawn_are_reckoned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.domain.forecast.MOST_POLLS", 2000)
    fast = '[polling]\nfirst = "200ms"\nfactor = 1.0\ncap = "200ms"\nby_status.in_transit.first = "200ms"\n'
    configured(folder, fast)
    text = scheduled().stdout
    assert "more than 2000 polls: too many to draw, and the numbers are averages" in text
    assert "about 2160002 in 5 days: creation 1, label 1, polls 2160000" in text
    (plan,) = plans("--journey", "pre_transit=61d")
    assert plan["requests"]["polls"] == plan["if_it_stayed"]["unknown"]["polls"] == 60 * 86400 * 5
    assert (plan["polls"], plan["ends_at"], plan["ending"]) == ([], None, None)


def test_a_long_life_is_drawn_in_part_and_summed_up(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    words = ("--account", "pilot", "--journey", "pending=365d")
    text = scheduled(*words).stdout
    assert len(text.splitlines()) < 70
    left = re.search(r"\.\.\. (\d+) more days with (\d+) polls", text)
    assert left is not None
    assert len(drawn(*words)) + int(left[1]) == 366
    polls = sum(int(line["polls"]) for line in drawn(*words)) + int(left[2])
    assert f"polls {polls};" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--account", "nobody"), "there is no account 'nobody'; there is default, pilot"),
        (("--account", "\x1b[31m"), "there is no account '\\x1b[31m'"),
        (("--journey", "on_its_way=2d"), "'on_its_way' is none of pending, pre_transit, in_transit, unknown"),
        (("--journey", "delivered=2d"), "'delivered' is none of"),
        (("--journey", ""), "'' is none of"),
        (("--journey", "pre_transit=2d,"), "'' is none of"),
        (("--journey", "pre_transit"), "pre_transit=: a duration is"),
        (("--journey", "pre_transit=soon"), "pre_transit=soon: a duration is"),
        (("--journey", "pre_transit=0s"), "pre_transit=0s: must be more than zero"),
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
