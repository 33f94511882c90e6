"""What the command `label` takes and refuses: for labels that were refused, and for all that are stored."""

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere, on_sqlite
from tests.process.shop import Shop
from worker.labels import FileLabelStore, LabelName, VerifiedLabel


@pytest.mark.parametrize(
    "words",
    [
        ["--unchecked"],
        ["--unchecked", "-o", "x"],
        ["--accept", "--refetch"],
        ["--accept", "--refetch", "--unchecked"],
        ["--accept", "--unchecked"],
        ["--accept", "-o", "x"],
        ["--by", "anna"],
        ["--refetch", "--reason", "it prints"],
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_of_a_refused_label_is_wrong_usage(folder: Path, words: list[str]) -> None:
    done = called("label", "R-1", *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --")


@pytest.mark.parametrize("words", [["--accept"], ["--refetch", "--unchecked", "-o", "x"]], ids=" ".join)
def test_what_is_not_at_the_carrier_has_no_label(folder: Path, words: list[str]) -> None:
    configured(folder, ACCOUNTS)
    assert called("migrate").exit_code == 0
    (folder / "returns.jsonl").write_text('{"reference": "R-1", "payload": {}}\n')
    assert called("add", "returns.jsonl").exit_code == 0
    done = called("label", "R-1", *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "'R-1' is not at the carrier" in done.stderr
    assert not (folder / "x").exists()


def test_a_return_that_is_over_says_why_it_has_no_label_and_what_leads_on(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    assert called("migrate").exit_code == 0
    (folder / "returns.jsonl").write_text('{"reference": "R-1", "payload": {}}\n')
    assert called("add", "returns.jsonl").exit_code == 0
    with closing(sqlite3.connect(folder / "returns.db")) as database, database:
        database.execute(
            "UPDATE return_order SET state = 'completed', tracking_status = 'delivered', due_at = NULL,"
            " carrier_ref = '9RET1', label_error_code = 'label_unusable', label_error_message = 'the PDF is cut off'"
        )
    for command in ("label", "show"):
        done = called(command, "R-1")
        assert "label_unusable: the PDF is cut off" in done.output
        assert "`returns-worker label R-1 --accept`" in done.output


LABELS = {f"R-{number}": f"%PDF-1.4 of R-{number}".encode() for number in range(3)}


@pytest.fixture
def handed_out(folder: Path, migrated_url: str) -> str:
    """The URL of a database with three stored labels, one of each state, the last of them stored long ago."""
    configured(folder, f'[database]\nurl = "{migrated_url}"\n{ACCOUNTS}')
    elsewhere(_fill(migrated_url, folder))
    return migrated_url


async def _fill(url: str, folder: Path) -> None:
    shop, store = Shop(url), FileLabelStore(folder / "labels")
    accounts = ("default", "default", "pilot")
    states = ("tracking", "completed", "tracking")
    stored = ("2036-06-01 10:00:00", "2036-06-01 10:00:00", "2016-06-01 10:00:00")
    for (reference, content), account, state, at in zip(LABELS.items(), accounts, states, stored, strict=True):
        digest = hashlib.sha256(content).hexdigest()
        label = VerifiedLabel(content, "application/pdf", 1, digest)
        location = await store.put(LabelName(account, f"9/../{reference}", 1), label)
        due = "NULL" if state == "completed" else "'2036-06-01 00:00:00'"
        await shop.execute(
            "INSERT INTO return_order"
            " (account, reference, payload, state, carrier_ref, next_step, tracking_status, due_at)"
            f" VALUES (?1, ?2, '{{}}', ?3, ?2, 'track', 'in_transit', {due})",
            *(account, reference, state),
        )
        await shop.execute(
            "INSERT INTO label (return_order_id, position, location, media_type, byte_count, sha256, fetched_at)"
            f" SELECT id, 1, ?1, 'application/pdf', 9, ?2, '{at}' FROM return_order WHERE reference = ?3",
            *(location, digest, reference),
        )


def test_every_label_is_written_whole_and_once_for_its_owner_alone(folder: Path, handed_out: str) -> None:
    done = called("label", "--all", "--into", "out/today")
    assert (done.exit_code, done.stderr) == (0, "labels written: 3, there already: 0, failed: 0\n")
    files = sorted(file for file in (folder / "out").rglob("*") if file.is_file())
    assert [file.read_bytes() for file in files] == list(LABELS.values())
    assert {file.parent.name for file in files} == {"default", "pilot"}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert f"R-0: {files[0].relative_to(folder)}\n" in done.stdout
    files[1].write_bytes(b"cut o")
    files[2].unlink()
    os.mkfifo(files[2])  # reading it would wait for ever
    done = called("label", "--all", "--into", "out/today")
    assert (done.exit_code, done.stderr) == (0, "labels written: 2, there already: 1, failed: 0\n")
    assert [file.read_bytes() for file in files] == list(LABELS.values())
    for words, count in ((["--account", "pilot"], 1), (["--state", "tracking"], 2), (["--since", "1d"], 2)):
        assert called("label", "--all", "--into", str(words), *words).stderr.startswith(f"labels written: {count}, ")


@on_sqlite
def test_one_label_that_fails_keeps_no_other_back_and_is_named(folder: Path, handed_out: str) -> None:
    first, second, _ = sorted(file for file in (folder / "labels").rglob("*") if file.is_file())
    first.unlink()
    second.write_bytes(b"%PDF-1.4 of somebody else")
    done = called("label", "--all", "--into", "out")
    assert (done.exit_code, done.stdout.count("\n")) == (1, 1)
    gone, other, total = done.stderr.splitlines()
    assert gone.startswith("left: label 1 of R-0: no label at ")
    assert other == "left: label 1 of R-1: the file in the label store is not what was stored: its checksum differs"
    assert total == "labels written: 1, there already: 0, failed: 2"
    assert [file.read_bytes() for file in (folder / "out").rglob("*.pdf")] == [LABELS["R-2"]]


@on_sqlite
def test_labels_that_are_lost_keep_none_behind_them_back(folder: Path, handed_out: str) -> None:
    first, *_ = sorted(file for file in (folder / "labels").rglob("*") if file.is_file())
    first.unlink()
    elsewhere(Shop(handed_out).execute("UPDATE label SET id = id + 1000 WHERE id > 1"))
    elsewhere(
        Shop(handed_out).execute(
            "WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < 14)"
            " INSERT INTO label (id, return_order_id, position, location, media_type, byte_count, sha256, fetched_at)"
            " SELECT i, return_order_id, i, location, media_type, byte_count, sha256, fetched_at FROM label, n"
            " WHERE id = 1"
        )
    )
    done = called("label", "--all", "--into", "out")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "labels written: 2, there already: 0, failed: 12")
    (folder / "file").touch()
    done = called("label", "--all", "--into", "file")
    assert done.exit_code == 1


@on_sqlite
def test_no_location_leads_out_of_the_folder(folder: Path, handed_out: str) -> None:
    for place, name in enumerate(("../../etc/cron.d/x", "default/.x", "default/..", "/x", "default/a%2Fb%00.pdf")):
        location = f"{(folder / 'labels').as_uri()}/{name}"
        elsewhere(Shop(handed_out).execute("UPDATE label SET location = ?1 WHERE id = 1", location))
        done = called("label", "--all", "--into", f"out/{place}")
        assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "labels written: 2, there already: 0, failed: 1")
    assert {file.parent.parent.parent.name for file in folder.rglob("*.pdf") if "labels" not in file.parts} == {"out"}
    assert not [*folder.parent.rglob("cron.d")]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--all"],
        ["R-1", "--into", "x"],
        ["R-1", "--since", "1d"],
        ["R-1", "--all", "--into", "x"],
        ["--all", "--into", "x", "--refetch"],
        ["--all", "--into", "x", "-o", "-"],
    ],
    ids=" ".join,
)
def test_all_labels_go_into_a_folder_and_one_label_by_its_reference(folder: Path, words: list[str]) -> None:
    assert (called("label", *words).exit_code, [*folder.iterdir()]) == (2, [])
