"""The demo as README.md starts it, run once for all of the tests; what only matters when it changes is `-m long`."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from subprocess import PIPE
from xml.etree import ElementTree

import pytest
import typer

from worker.cli.demo import demo
from worker.demo.fates import FATES, broken_promises, sample_returns
from worker.demo.play import CarrierClock
from worker.simulator import Simulator

# Nothing of the surroundings: no key, no proxy, no settings, no terminal.
SURROUNDINGS = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8"}
WORKER = [sys.executable, "-m", "worker"]


def ran(*words, cwd="/", **surroundings):
    return subprocess.run(
        words, cwd=cwd, env=SURROUNDINGS | surroundings, capture_output=True, text=True, timeout=60, check=True
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The demo, run once in an empty folder: its process, and the folder it was told to keep."""
    empty, folder = tmp_path_factory.mktemp("empty"), tmp_path_factory.mktemp("kept")
    done = ran(*WORKER, "demo", "--keep", str(folder), "--svg", str(folder / "end.svg"), cwd=empty)
    print(done.stdout)
    assert list(empty.iterdir()) == []
    return done, folder


def rows(folder, statement):
    with closing(sqlite3.connect(folder / "returns.db", isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def next_steps(done):
    """The commands that its last words name."""
    block = re.search(r"\nNext[^\n]*\n\n(.*?)\n\n", done.stdout, re.DOTALL)
    return [line.strip() for line in block[1].splitlines()]


def test_it_ends_by_itself_and_every_return_came_to_its_end_at_both_carriers(played):
    done, folder = played
    assert done.stderr == ""
    assert done.stdout.rstrip().endswith("Everything happened as promised.")
    assert set(rows(folder, "SELECT account, state, count(*) FROM return_order GROUP BY 1, 2")) == {
        ("default", "completed", 10),
        ("default", "rejected", 2),
        ("default", "needs_attention", 1),
        ("pilot", "completed", 6),
        ("pilot", "cancelled", 1),
    }
    for line in (
        r"needs_attention +1 +0",
        r"creations sent +13 +7",
        r"there at the carrier +11 +6",
        "there twice +0 +0",
    ):
        assert re.search(line, done.stdout), line


def test_the_trouble_that_it_shows_really_happened(played):
    _, folder = played
    passed = "SELECT new_value, count(DISTINCT return_order_id) FROM status_transition GROUP BY 1"
    assert {"unknown": 1, "rejected": 3, "cancelled": 1}.items() <= dict(rows(folder, passed)).items()
    ((problems,),) = rows(folder, "SELECT error_message FROM return_order WHERE error_code = 'invalid_payload'")
    assert problems.count(";") >= 3
    adopted = "SELECT count(*) FROM status_transition WHERE reason LIKE 'found at the carrier%adopted'"
    assert rows(folder, adopted) == [(1,)]


def test_every_recorded_label_is_a_whole_file_on_disk_and_there_is_no_other_file(played):
    """Nor is anything left of what was refused: the label that was JSON at first is a PDF by now."""
    done, folder = played
    files = {path.as_uri(): path.read_bytes() for path in (folder / "labels").rglob("*") if path.is_file()}
    recorded = rows(folder, "SELECT location, byte_count, page_count FROM label")
    assert {location: len(content) for location, content in files.items()} == {row[0]: row[1] for row in recorded}
    assert all(content.startswith(b"%PDF-") for content in files.values())
    assert sorted(pages for *_, pages in recorded) == [1] * 15 + [2]
    assert f"16 labels in {folder}/labels" in done.stdout


def test_one_history_and_the_metrics_tell_the_same_story(played):
    done, _ = played
    assert re.search(r"pending +tracking +found at the carrier by its reference, and adopted", done.stdout)
    for series in (
        'steps_total{account="default",outcome="created",step="create"} 10.0',
        'steps_total{account="default",outcome="stored",step="label"} 10.0',
        'steps_total{account="pilot",outcome="adopted",step="create"} 1.0',
        'carrier_requests_total{account="default",operation="create",outcome="throttled"} 1.0',
    ):
        assert f"  returns_worker_{series}\n" in done.stdout


def words_of(picture):
    """What an SVG says, word by word; that it parses shows that it is whole."""
    texts = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")
    return Counter(word for each in texts for word in (each.text or "").replace("\xa0", " ").split())


def test_the_picture_names_every_kind_of_return_and_its_end_and_is_the_one_in_the_readme(played):
    """Should it say something else by now: `returns-worker demo --svg docs/demo.svg`."""
    _, folder = played
    drawn = (folder / "end.svg").read_text(encoding="utf-8")
    words = words_of(folder / "end.svg")
    for fate in FATES:
        assert not Counter(f"{fate.happening} {fate.promise}".split()) - words
    assert {"completed/delivered", "needs_attention", "rejected", "cancelled/pending"} <= words.keys()
    assert words == words_of(Path(__file__).parents[2] / "docs" / "demo.svg")
    for what in ("@font-face", "url(http", "href", str(folder), sys.prefix):  # it fetches nothing, and knows no machine
        assert what not in drawn


def test_a_picture_that_cannot_be_written_gives_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("worker.cli.demo.run_loop", lambda playing: playing.close() or True)
    with pytest.raises(typer.Exit) as ended:
        demo(tmp_path / "new", tmp_path)
    assert (ended.value.exit_code, capsys.readouterr().err) == (
        1,
        f"error: the picture cannot be written: {tmp_path}: Is a directory\n",
    )


def test_without_a_terminal_it_prints_plain_lines_and_logs_into_its_folder(played):
    done, folder = played
    assert "\x1b" not in done.stdout
    assert re.search(r"^ *[0-9.]+ s  2 returns: ", done.stdout, re.MULTILINE)
    assert re.search(r"^ *[0-9.]+ s  20 returns: .*16 completed/delivered", done.stdout, re.MULTILINE)
    events = [json.loads(line)["event"] for line in (folder / "worker.log").read_text().splitlines()]
    assert events[-1] == "stopped"
    assert not {"step_crashed", "record_failed", "lease_lost", "database_unavailable"} & set(events)


def test_what_one_can_look_at_next_can_be_pasted(played):
    done, folder = played
    where, listing, label, *_ = next_steps(done)
    assert "create_outcome_unknown" in ran("bash", "-ec", f"{where}\n{listing}\n{label}").stdout
    assert (folder / "label.pdf").read_bytes().startswith(b"%PDF-")


def test_a_folder_or_a_port_that_cannot_be_used_gives_one_line(tmp_path, monkeypatch, capsys):
    async def no_port(self):
        raise OSError(98, "address already in use")

    (tmp_path / "returns.db").write_text("a shop's real returns")
    monkeypatch.setattr(Simulator, "start", no_port)
    for folder, code, said in (
        (tmp_path, 2, f"{tmp_path}/returns.db exists; the demo starts afresh: name another folder"),
        (tmp_path / "returns.db", 1, f"the demo cannot run: {tmp_path}/returns.db: File exists"),
        (tmp_path / "new", 1, "the demo cannot run: address already in use"),
    ):
        with pytest.raises(typer.Exit) as ended:
            demo(folder)
        assert (ended.value.exit_code, capsys.readouterr().err) == (code, f"error: {said}\n")
    assert (tmp_path / "returns.db").read_text() == "a shop's real returns"


def test_whatever_differs_from_the_promise_is_found():
    returns = sample_returns()
    kept = {each.reference: (each.fate.ending, [each.fate.passes]) for each in returns}
    assert broken_promises(kept) == {}
    assert [sum(each in other for other in kept) for each in kept] == [1] * 20  # so that creations can be told apart
    sent_twice, missing = returns[1].reference, returns[-1].reference
    detour = next(each.reference for each in returns if each.fate.passes == "unknown")
    twice = kept[sent_twice][0]._replace(creations_sent=2)
    found = broken_promises(kept | {sent_twice: (twice, []), detour: (kept[detour][0], []), missing: (None, [])})
    assert found.keys() == {sent_twice, detour, missing}
    assert "creations_sent=2" in found[sent_twice]


def test_the_carriers_clock_waits_for_a_worker_that_is_late():
    clock = CarrierClock()
    for overdue in (0.0, 5.0, 0.5):
        clock.go_on(overdue)
    assert clock.now == pytest.approx(0.4)


@pytest.mark.long
def test_ctrl_c_ends_it_without_a_traceback(tmp_path):
    command = [*WORKER, "demo", "--keep", str(tmp_path)]
    with subprocess.Popen(command, env=SURROUNDINGS, stdout=PIPE, stderr=PIPE, text=True) as playing:
        assert any("returns: " in line for line in playing.stdout)
        playing.send_signal(signal.SIGINT)
        _, messages = playing.communicate(timeout=30)
    assert (playing.returncode, messages) == (130, f"interrupted; what there is so far: {tmp_path}\n")
    assert rows(tmp_path, "SELECT count(*) FROM return_order WHERE lease_owner IS NOT NULL") == [(0,)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("columns", "lines", "terminal"),
    [("80", "24", {}), ("20", "5", {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}), ("80", "24", {"TERM": "dumb"})],
    ids=["usual", "small and ASCII", "dumb"],
)
def test_no_terminal_is_too_small_or_too_old_for_it(columns, lines, terminal):
    ours, its = pty.openpty()
    surroundings = SURROUNDINGS | {"COLUMNS": columns, "LINES": lines, "TERM": "xterm"} | terminal
    with subprocess.Popen([*WORKER, "demo"], env=surroundings, stdin=its, stdout=its, stderr=its) as playing:
        os.close(its)
        seen = b""
        with suppress(OSError):  # the terminal is gone when it has ended
            while chunk := os.read(ours, 65536):
                seen += chunk
    os.close(ours)
    assert playing.returncode == 0, seen
    assert b"Everything happened as promised." in seen
    assert (b"\x1b[2K" in seen) == ("TERM" not in terminal)  # redrawn in place


@pytest.mark.long
def test_the_whole_of_what_comes_next_can_be_pasted_at_once(tmp_path):
    """With ports 9480 and 9464 free: those are the ones that the commands have of themselves."""
    *steps, end = next_steps(ran(*WORKER, "demo", "--keep", str(tmp_path)))
    until = "until returns-worker show my-first | grep -q 'state *completed'; do sleep 0.5; done"
    ran("bash", "-ec", "\n".join([*steps, until, end, "wait"]))
    state = "SELECT state, tracking_status FROM return_order WHERE reference = 'my-first'"
    assert rows(tmp_path, state) == [("completed", "delivered")]
