"""docs/reference says what the code says: each setting, state, code, event and exit code, and no other."""

import re

import pytest

from tests.deploy.test_runbook import commands, parse
from tests.documents import api_page, settings_page
from tests.documents.events import events
from tests.documents.pages import PAGES, ROOT, anchors, names, read, rows, section
from tests.domain.cases import NOW, POLICY, SEARCHABLE, every_meeting
from worker.cli.output import Exit
from worker.domain.decide import decide
from worker.domain.error_codes import MEANING, ErrorCode
from worker.domain.lifecycle import MAY_BECOME, State
from worker.domain.tracking import TrackingStatus
from worker.domain.waits import REASON, WaitsFor
from worker.web.routes import ROUTES

CODES = read("docs/reference/error-codes.md")
STATES = read("docs/reference/states.md")


def test_the_page_of_settings_is_what_the_model_says() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page()


def test_the_page_of_the_api_is_what_the_worker_describes() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page()


def test_every_page_is_in_the_metric_that_counts_them() -> None:
    told = read("docs/reference/metrics.md").splitlines()
    lines = [line for line in told if line.startswith(("| `page_requests_total`", "`page` of [the API]"))]
    assert {route.name for route in ROUTES} <= set(names("".join(lines)))


def test_every_error_code_has_its_meaning_and_who_acts() -> None:
    table = rows(CODES)
    assert [names(code)[0] for code, *_ in table] == list(ErrorCode)
    assert {
        code: (meaning.replace("`", ""), who) for code, (_, meaning, who) in zip(ErrorCode, table, strict=True)
    } == MEANING


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_says_where_it_stands_what_to_do_and_the_very_command(code: ErrorCode) -> None:
    text = section(CODES, f"`{code}`")
    (script,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for words in commands(script):
        assert parse(words) is not None
    assert len(commands(script)) == len(script.splitlines())
    where, what, *_ = text.strip().split("\n\n")
    assert where.startswith("Where: ")
    assert len(what) > 50


def test_a_code_is_said_to_stand_where_decisions_put_it() -> None:
    seen: dict[str, set[str]] = {code: set() for code in ErrorCode}
    for order, outcome in every_meeting():
        for policy in (POLICY, SEARCHABLE):
            after = decide(order, outcome, NOW, policy, 0.5).order
            if after.error_code and (after.error_code, after.state) != (order.error_code, order.state):
                seen[after.error_code].add(after.state)
            if after.label_error_code:
                seen[after.label_error_code].add("label_error_code")
    places = {*State, "label_error_code"}
    for code, found in seen.items():
        written = places & set(names(section(CODES, f"`{code}`").partition("\n\n")[0]))
        assert written <= found, code
        # A failed withdrawal can be any failure here, and is tried again while the return is tracked.
        assert found - {State.TRACKING} <= written, code


def test_everything_that_a_return_may_wait_for_has_its_meaning_and_who_acts() -> None:
    table = rows(section(read("docs/reference/tables.md"), "`return_overview`: what each return waits for"))
    assert [(names(waits)[0], meaning) for waits, meaning, _ in table] == [(each, REASON[each]) for each in WaitsFor]
    assert all(do.startswith(("operator: ", "shop developer: ", "nothing")) for *_, do in table)


def test_every_event_is_in_the_page_with_its_levels_and_no_other_is() -> None:
    page = {names(event)[0]: set(level.split(", ")) for event, level, *_ in rows(read("docs/reference/log-events.md"))}
    assert page == events()
    assert all(do for *_, do in rows(read("docs/reference/log-events.md")))


def test_every_exit_code_is_in_the_page() -> None:
    written = {int(code) for code, *_ in rows(read("docs/reference/exit-codes.md"))}
    assert written == {0, *Exit, 130}  # 130 is a shell's word for Ctrl-C


def test_every_state_is_in_the_page_with_those_that_may_follow() -> None:
    assert [names(state)[0] for state, _ in rows(STATES)] == list(State)
    table = {
        names(before)[0]: set(names(after)) - {"poll"}
        for before, after in rows(section(STATES, "Which may follow which"))
    }
    assert table == MAY_BECOME
    statuses = rows(section(STATES, "The tracking status"))
    assert [names(status)[0] for status, _ in statuses] == list(TrackingStatus)
    terminal = {names(status)[0] for status, meaning in statuses if meaning.startswith("terminal")}
    assert terminal == {status for status in TrackingStatus if status.is_terminal}


def test_every_command_that_a_page_shows_is_one_that_the_command_line_takes() -> None:
    scripts = re.findall(r"^```sh\n(.*?)^```", "".join(map(read, PAGES)), re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^(?:\w+=\S+ )?returns-worker .*", "".join(scripts), re.MULTILINE)
    assert len(shown) > 60
    for words in commands("\n".join(shown)):
        assert parse(words) is not None, words


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", read(page)):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


def test_the_readme_is_short_and_every_page_can_be_reached_from_it() -> None:
    assert len(read("README.md").splitlines()) <= 150
    seen: set[str] = set()
    new = {"README.md"}
    while new:
        page = new.pop()
        seen.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#]+\.md)", read(page))
        new |= {((ROOT / page).parent / link).resolve().relative_to(ROOT).as_posix() for link in links} - seen
    assert set(PAGES) - seen == set()
