import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.cli.demo.clock import CarrierClock
from worker.cli.demo.fates import Ending, Observed, broken_promises, sample_returns

COMMAND = [sys.executable, "-m", "worker", "demo"]
# Nothing of the surroundings: no key, no proxy, no settings, no terminal.
SURROUNDINGS = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8"}
EVERYTHING = 56  # returns, 13 of them at ReturnPilot
IZIPACK_LABELS, PILOT_LABELS = 34, 10
LABELS = IZIPACK_LABELS + PILOT_LABELS


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The demo, run once in an empty folder: its process, its output, and the folder it was told to keep."""
    empty = tmp_path_factory.mktemp("empty")
    folder = empty.parent / "kept"
    started = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "--keep", str(folder)],
        cwd=empty,
        env=SURROUNDINGS,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    print(f"the demo took {time.monotonic() - started:.1f} s", done.stdout, done.stderr, sep="\n")
    assert list(empty.iterdir()) == []
    return done, folder


def rows(folder, statement):
    connection = sqlite3.connect(folder / "returns.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_it_ends_by_itself_and_everything_happened_as_promised(played):
    done, _ = played
    assert done.returncode == 0
    assert done.stdout.rstrip().endswith("Everything happened as promised.")
    assert done.stderr == ""


def test_every_return_reached_the_end_its_fate_promised(played):
    _, folder = played
    by_state = "SELECT state, count(*) FROM return_order WHERE account {} 'pilot' GROUP BY state"
    assert dict(rows(folder, by_state.format("<>"))) == {
        "completed": 34,
        "rejected": 4,
        "needs_attention": 2,
        "cancelled": 1,
        "pending": 2,
    }
    assert dict(rows(folder, by_state.format("="))) == {"completed": 11, "rejected": 1, "cancelled": 1}
    untouched = rows(folder, "SELECT account, lease_token FROM return_order WHERE state = 'pending' ORDER BY account")
    assert untouched == [("closed_last_year", 0), ("default", 0)]


def test_the_special_fates_really_took_their_detours(played):
    _, folder = played
    passed = dict(
        rows(
            folder,
            "SELECT new_value, count(DISTINCT return_order_id) FROM status_transition"
            " WHERE new_value IN ('unknown', 'cancelled', 'rejected', 'expired') GROUP BY new_value",
        )
    )
    assert passed == {"unknown": 2, "cancelled": 3, "rejected": 6, "expired": 1}
    (problems,) = rows(folder, "SELECT error_message FROM return_order WHERE error_code = 'invalid_payload' LIMIT 1")[0]
    assert problems.count(";") >= 4
    trouble = "SELECT label_error_code, count(*) FROM return_order WHERE label_error_code IS NOT NULL GROUP BY 1"
    assert dict(rows(folder, trouble)) == {"label_unusable": 1, "label_unreachable": 1}
    adopted = "SELECT count(*) FROM status_transition WHERE reason LIKE 'found at the carrier%adopted'"
    assert rows(folder, adopted) == [(1,)]
    taken_over = "SELECT count(*) FROM status_transition WHERE reason = 'created at the carrier'"
    assert rows(folder, taken_over) == [(46,)]


def test_every_recorded_label_is_a_whole_file_on_disk_and_there_is_no_other_file(played):
    done, folder = played
    files = {path.as_uri(): path.read_bytes() for path in (folder / "labels").glob("*/*")}
    recorded = dict(rows(folder, "SELECT location, byte_count FROM label"))
    assert len(recorded) == LABELS
    assert {location: len(content) for location, content in files.items()} == recorded
    assert sum(content.startswith(b"%PDF-") for content in files.values()) == LABELS - 1
    assert sum(content.startswith(b"\x89PNG") for content in files.values()) == 1
    assert f"{LABELS} files in {folder}/labels" in done.stdout


def test_izipacks_own_sample_has_one_label_with_a_page_for_each_package(played):
    done, folder = played
    found = rows(
        folder,
        "SELECT o.tracking_status, l.page_count, (SELECT count(*) FROM package p WHERE p.return_order_id = o.id)"
        " FROM return_order o JOIN label l ON l.return_order_id = o.id WHERE reference = '345'",
    )
    assert found == [("delivered", 2, 2)]
    assert re.search(r"reference +345 *\n", done.stdout)


def test_the_carrier_and_the_metrics_tell_the_same_story(played):
    done, _ = played
    for counted in ("39 asked for, 40 requests seen *12 asked for, 12 requests seen", "37 there, none twice *11 there"):
        assert re.search(counted, done.stdout), counted
    for line in (
        r'35  \{account="default",outcome="created",step="create"\}',
        rf'{IZIPACK_LABELS}  \{{account="default",outcome="stored",step="label"\}}',
        rf'{PILOT_LABELS}  \{{account="pilot",outcome="stored",step="label"\}}',
        r'1  \{account="pilot",outcome="adopted",step="create"\}',
        r"returns_worker_orders_unroutable\n +1 ",
    ):
        assert re.search(line, done.stdout), line


def test_without_a_terminal_it_prints_plain_lines_and_logs_into_its_folder(played):
    done, folder = played
    assert "\x1b" not in done.stdout
    assert f"{EVERYTHING} inserted" in done.stdout
    events = [json.loads(line)["event"] for line in (folder / "worker.log").read_text().splitlines()]
    assert events[-1] == "stopped"
    assert not {"step_crashed", "record_failed", "lease_lost", "database_unavailable"} & set(events)


def test_one_can_go_on_by_hand_in_its_folder(played, tmp_path):
    _, folder = played
    label = tmp_path / "label.pdf"
    command = [*COMMAND[:-1], "label", "345", "-o", str(label)]
    subprocess.run(command, cwd=folder, env=SURROUNDINGS, capture_output=True, timeout=30, check=True)
    assert label.read_bytes().startswith(b"%PDF-")


def test_it_never_overwrites_what_is_there(tmp_path):
    (tmp_path / "returns.db").write_text("a shop's real returns")
    command = [*COMMAND, "--keep", str(tmp_path)]
    done = subprocess.run(command, env=SURROUNDINGS, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "returns.db exists" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["returns.db"]
    assert (tmp_path / "returns.db").read_text() == "a shop's real returns"


def test_ctrl_c_ends_it_without_a_traceback(tmp_path):
    folder = tmp_path / "kept"
    demo = subprocess.Popen(
        [*COMMAND, "--keep", str(folder)],
        env=SURROUNDINGS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if "inserted" in line:
            break
    os.kill(demo.pid, signal.SIGINT)
    _, messages = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert messages == f"interrupted; what there is so far: {folder}\n"
    assert rows(folder, "SELECT count(*) FROM return_order WHERE lease_owner LIKE '%:%'") == [(0,)]


def test_whatever_differs_from_the_promise_is_found():
    returns = sample_returns()
    kept = {
        each.reference: Observed(each.fate.ending, frozenset({each.fate.passes} if each.fate.passes else ()))
        for each in returns
    }
    assert broken_promises(returns, kept) == {}
    sent_twice, detour, missing = returns[1].reference, "R-1029", returns[-1].reference
    different = kept | {
        sent_twice: Observed(Ending("completed", "delivered", label_pages=1, creations_sent=2), frozenset()),
        detour: Observed(kept[detour].ending, frozenset({"delivered"})),
    }
    del different[missing]
    found = broken_promises(returns, different)
    assert found.keys() == {sent_twice, detour, missing}
    assert "sent 2 time(s)" in found[sent_twice]


def test_the_samples_are_the_same_each_time_and_no_reference_is_part_of_another():
    returns = sample_returns()
    assert returns == sample_returns()
    assert len(returns) == EVERYTHING
    references = [each.reference for each in returns]
    for reference in references:
        assert sum(reference in other for other in references) == 1


def test_the_carriers_clock_waits_for_a_worker_that_is_late():
    real = [100.0]
    clock = CarrierClock(lambda: real[0])
    for seconds, overdue in ((0.2, 0.0), (0.2, 5.0), (60.0, 0.0), (0.1, 0.5)):
        real[0] += seconds
        clock.go_on(overdue)
    assert clock() == pytest.approx(0.2 + 0.4 + 0.1)
