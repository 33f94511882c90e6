"""What `add` does with a shop's CSV: every value as it was, every bad line by its number, all or nothing."""

import csv
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import ACCOUNTS, called, configured
from tests.databases import elsewhere, on_sqlite
from tests.documents.pages import read, snippet
from tests.process.running import slowness
from tests.process.shop import Shop

MAP = """
reference = "ref"
account = "account"
[payload]
description = "note"
[payload.customer]
name = "name"
[[payload.packages]]
weight = "weight"
height = { value = 5 }
"""
HEAD = "ref,account,name,weight,note\n"
Rows = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def rows(folder: Path, migrated_url: str) -> Rows:
    """What is in the database, in the order of insertion; the settings and the map are in the folder."""
    configured(folder, f'[database]\nurl = "{migrated_url}"\n{ACCOUNTS}')
    (folder / "map.toml").write_text(MAP)
    statement = "SELECT account, reference, CAST(payload AS text) AS payload FROM return_order ORDER BY id"
    return lambda: [
        row | {"payload": json.loads(row["payload"])} for row in elsewhere(Shop(migrated_url).execute(statement))
    ]


def added(folder: Path, content: str | bytes, *words: str) -> Any:
    file = folder / "in.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return called("add", "in.csv", "--map", "map.toml", *words)


def test_the_example_of_the_page_comes_in_as_it_says(folder: Path, rows: Rows) -> None:
    page = read("docs/integrate/bring-in.md")
    for name, mark in (("returns.csv", "bring-in-csv"), ("map.toml", "bring-in-map")):
        (folder / name).write_text(snippet(mark, page), encoding="utf-8")
    done = called(*snippet("bring-in", page).split()[1:])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "2 returns inserted\n", "")
    first, second = rows()
    assert (first["account"], first["reference"]) == ("default", "01234")
    assert first["payload"]["customer"]["phone"] == "+31612345678"
    assert first["payload"]["packages"] == [{"weight": "5000", "height": 240, "width": 40, "depth": 40}]
    assert "description" not in first["payload"]
    assert second["payload"]["customer"]["name"] == "Smit; Jansen"
    assert second["payload"]["description"] == "ring twice,\nthen wait"
    assert [package["weight"] for package in second["payload"]["packages"]] == ["4200", "800"]


@on_sqlite
@pytest.mark.parametrize(
    ("delimiter", "encoding", "words"),
    [
        (",", "utf-8", []),
        (";", "utf-8-sig", []),
        ("\t", "utf-16", ["--encoding", "utf-16"]),
        (";", "cp1252", ["--encoding", "cp1252"]),
        ("|", "utf-8-sig", []),
    ],
)
def test_the_header_says_the_delimiter_and_letters_are_what_they_were(
    folder: Path, rows: Rows, delimiter: str, encoding: str, words: list[str]
) -> None:
    text = f"{HEAD}01,,Zoë,7,\r\n;;;;\r\n".replace(",", delimiter).replace(";", delimiter)
    if delimiter in ";|":
        text = f"sep={delimiter}\r\n{text}"  # as Excel is told
    assert added(folder, text.encode(encoding), *words).exit_code == 0
    assert rows() == [
        {
            "account": "default",
            "reference": "01",
            "payload": {"customer": {"name": "Zoë"}, "packages": [{"weight": "7", "height": 5}]},
        }
    ]


BAD = f"""{HEAD}R-1,,"a
b",,
,,x,,
R-3,nobody,,,
R-4,,,5.000,
R-5,,x,y
R-6,,x,,
R-7,,x,,
 R-8,,,,
R-6,,z,,
R-9,,M\udcfcller,,
"1,23E+11",,x,,
""".encode(errors="surrogateescape")
PROBLEMS = [
    "in.csv:2: customer.name: must be one line, without line breaks",
    "in.csv:4: reference: is empty",
    "in.csv:5: account: nobody is not configured here",
    "in.csv:6: packages[0].weight: may mean thousands or decimals; write a number such as 5000 or 5.5",
    "in.csv:7: has 4 cells, and the header 5: quote a cell that has a delimiter in it",
    "in.csv:8: reference: R-6 is given 2 times, first in in.csv:8",
    "in.csv:10: reference: must not begin or end with white space",
    "in.csv:11: reference: R-6 is given 2 times, first in in.csv:8",
    "in.csv:12: column 'name' holds bytes that are not in the file's encoding: --encoding names it, such as cp1252",
    "in.csv:13: column 'ref': 1,23E+11 is a number that a spreadsheet has shortened; make the column text there",
]


@on_sqlite
def test_every_bad_line_is_said_by_its_number_in_the_file_and_nothing_goes_in(folder: Path, rows: Rows) -> None:
    done = added(folder, BAD)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [*PROBLEMS, "nothing was inserted"]
    assert rows() == []


def test_in_part_the_good_lines_go_in_and_the_bad_ones_come_back_byte_for_byte_with_their_problem(
    folder: Path, rows: Rows
) -> None:
    first = added(folder, f"{HEAD}R-10,,x,,\n")
    assert first.exit_code == 0
    done = added(folder, BAD + b"R-10,,x,,\nR-11,pilot,x,,\n", "--partial", "--errors", "bad.csv")
    assert (done.exit_code, done.stdout) == (1, "2 returns inserted\n")
    assert done.stderr.splitlines()[-1] == "11 bad lines were left out; bad.csv has every bad line"
    assert [(row["account"], row["reference"]) for row in rows()] == [
        ("default", "R-10"),
        ("default", "R-7"),
        ("pilot", "R-11"),
    ]
    content = (folder / "bad.csv").read_bytes()
    assert (folder / "bad.csv").stat().st_mode & 0o777 == 0o600
    assert b"M\xfcller" in content
    head, *lines = csv.reader(content.decode("utf-8", "surrogateescape").splitlines(keepends=True))
    assert head == ["ref", "account", "name", "weight", "note", "problem"]
    assert [line[-1] for line in lines] == [
        *(problem.partition(": ")[2] for problem in PROBLEMS),
        "the reference is already there",
    ]
    assert [line[0] for line in lines][:3] == ["R-1", "", "R-3"]
    again = called("add", "bad.csv", "--map", "map.toml", "--errors", "worse.csv")
    assert again.exit_code == 1
    assert (folder / "worse.csv").read_text(errors="replace").splitlines()[0] == "ref,account,name,weight,note,problem"


@on_sqlite
@pytest.mark.parametrize(
    ("head", "told", "said"),
    [
        ("ref,account,name\n", MAP, "in.csv:1: there is no column 'note', 'weight'"),
        ("ref,account,name,name,weight,note\n", MAP, "in.csv:1: there are several columns 'name'"),
        ('"ref', MAP, "in.csv:1: a quote in the header is never closed"),
        (HEAD, 'reference = "ref"\npayload.custmer.name = "name"', "map.toml: payload.custmer: is not known here"),
        (HEAD, 'reference = "ref"\npayload.packages.weight = "weight"', "map.toml: payload.packages: must be a list"),
        (HEAD, 'reference = "ref"\naccount = { value = "nobody" }', "account 'nobody', to which the map sends"),
        (HEAD, "reference = ref", "map.toml is not TOML"),
        ("x" * 200_000, MAP, "in.csv:1: a quote in the header is never closed, or a name has more than 131,072"),
        (HEAD.encode("utf-16"), MAP, "in.csv:1: the header is not text in this encoding"),
        (f"sep=;\n{HEAD}", MAP, "in.csv:2: there is no column 'ref', 'account', 'note', 'name', 'weight'"),
    ],
)
def test_what_the_map_and_the_file_do_not_share_is_said_before_any_line_is_read(
    folder: Path, rows: Rows, head: str | bytes, told: str, said: str
) -> None:
    (folder / "map.toml").write_text(told)
    done = added(folder, (head if isinstance(head, bytes) else head.encode()) + b"a,b\n" * 3)
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert "cells" not in done.stderr
    assert rows() == []


@on_sqlite
@pytest.mark.parametrize("words", [[], ["--partial"]])
def test_a_quote_that_never_ends_is_said_with_the_line_where_it_began_and_nothing_goes_in(
    folder: Path, rows: Rows, words: list[str]
) -> None:
    good = "".join(f"R-{number},,x,,\n" for number in range(3))
    quote = "a quote that begins here does not end as one should"
    shifted = "a line of cells begins here that has more than 4,000,000 characters"  # each quote ends, on the next line
    for rest, said in (
        ("", quote),
        ("T,,x,,\n" * 30_000, quote),
        ('T,,"x",,\n', quote),
        (f'{"x" * 5000}","\n' * 1000, shifted),
    ):
        done = added(folder, f'{HEAD}{good}Q,,"Anna,,\n{rest}', *words)
        assert done.exit_code == 1
        assert done.stderr.splitlines()[0].startswith(f"in.csv:5: {said}")
        assert done.stderr.splitlines()[-1] == "nothing was inserted"
    assert rows() == []


@on_sqlite
def test_a_line_without_an_end_is_refused_in_bounded_memory(folder: Path, rows: Rows) -> None:
    file = folder / "in.csv"
    with file.open("wb") as stream:
        stream.write(HEAD.encode())
        stream.truncate(200_000_000)  # zeros, which take no room on the disk
    tracemalloc.start()
    done = called("add", "in.csv", "--map", "map.toml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.stderr == "in.csv:2: this line has more than 2,000,000 characters\nnothing was inserted\n"
    assert peak < 60_000_000


@on_sqlite
def test_a_bad_line_of_json_lines_can_be_left_out_too(folder: Path, rows: Rows) -> None:
    (folder / "in.jsonl").write_text(
        '{"reference": "R-1", "payload": {}}\n{"reference": \n\n{"reference": "R-2", "payload": {}}'
    )
    done = called("add", "in.jsonl")
    assert (done.exit_code, rows()) == (1, [])
    assert done.stderr.startswith("in.jsonl:2: it is not JSON")
    done = called("add", "in.jsonl", "--partial")
    assert (done.exit_code, [row["reference"] for row in rows()]) == (1, ["R-1", "R-2"])


@on_sqlite
def test_a_file_of_bad_lines_is_said_to_be_there_only_where_it_is(folder: Path, rows: Rows) -> None:
    for content in ("ref\n", f'{HEAD}R-1,nobody,x,,\n"R-2,,x,,\n'):
        done = added(folder, content, "--errors", "bad.csv")
        assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "nothing was inserted")
        assert not (folder / "bad.csv").exists()
    done = added(folder, f"{HEAD}R-1,,x,,\nR-2,nobody,x,,\n", "--partial", "--errors", "nowhere/bad.csv")
    assert (done.exit_code, rows()) == (2, [])
    assert done.stderr.startswith("error: --errors: no file can be made at nowhere/bad.csv")


@on_sqlite
def test_bad_lines_come_back_though_the_name_of_their_file_is_beyond_its_encoding(folder: Path, rows: Rows) -> None:
    name = "\u65e5\u672c.csv"
    (folder / name).write_bytes(f"{HEAD}R-1,,M\xfcller,,\nR-1,,x,,\n".encode("cp1252"))
    done = called("add", name, "--map", "map.toml", "--encoding", "cp1252", "--partial", "--errors", "bad.csv")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "nothing was inserted; bad.csv has every bad line")
    head, first, _ = csv.reader((folder / "bad.csv").read_text("cp1252").splitlines())
    assert (len(head), first[2]) == (6, "M\xfcller")
    assert first[5] == r"reference: R-1 is given 2 times, first in \u65e5\u672c.csv:2"


@on_sqlite
@pytest.mark.parametrize("told", ["[" * 5000, "a." * 5000 + "a = 1"])
def test_a_map_that_is_nested_without_end_is_said(folder: Path, rows: Rows, told: str) -> None:
    (folder / "map.toml").write_text(
        f"reference = 'ref'\npayload.carrier_fields.{'x = ' if told[0] == '[' else ''}{told}"
    )
    done = added(folder, HEAD)
    assert (done.exit_code, done.stderr) == (2, "error: --map: map.toml is nested too deeply\n")


def test_csv_without_a_map_and_errors_without_one_are_wrong_usage(folder: Path) -> None:
    configured(folder, ACCOUNTS)
    (folder / "there").touch()
    for words in (
        ["in.csv"],
        ["in.json", "--errors", "x"],
        ["a", "b", "--map", "m", "--errors", "x"],
        ["a", "--map", "m", "--errors", "there"],
        ["a", "--map", "m"],
        ["a", "--encoding", "klingon"],
        ["-", "-"],
    ):
        done = called("add", *words)
        assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr


@pytest.mark.long
def test_a_hundred_thousand_lines_take_less_than_a_minute(folder: Path, rows: Rows) -> None:
    lines = "".join(f"R-{number},,Anna de Vries,5000,\n" for number in range(100_000))
    began = time.monotonic()
    done = added(folder, HEAD + lines)
    assert (done.exit_code, done.stdout) == (0, "100000 returns inserted\n")
    assert time.monotonic() - began < 60 * slowness()
    assert [row["reference"] for row in rows()] == [f"R-{number}" for number in range(100_000)]
