"""What is written as CSV is read back as it was, whatever is in a cell, and no cell is a formula to a spreadsheet."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from worker.domain.csv_lines import CsvFile, bounded, guarded, unguarded

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    [
        "=1+1",
        "+31",
        "-5",
        "@SUM(A1)",
        "'",
        "'=x",
        "\t=1",
        " =1",
        "\r=1",
        "01234",
        'a"b',
        "a;b,c\td",
        "x\r\ny",
        "\uff1d1",
    ]
)


@given(st.lists(st.tuples(CELL, CELL), max_size=4), st.sampled_from(",;\t"))
def test_every_cell_comes_back_as_it_was_with_the_line_where_it_stands(
    rows: list[tuple[str, str]], delimiter: str
) -> None:
    written = [_written(row, delimiter) for row in [("a", "b"), *rows]]
    stream = io.StringIO("".join(written), newline="")
    read = list(CsvFile(bounded(stream.readline, 1000), ["a", "b"]))
    number, expected = 1, []
    for row, text in zip([("a", "b"), *rows], written, strict=True):
        expected.append((number, row))
        number += len(io.StringIO(text, newline="").readlines())
    kept = [(number, row) for number, row in expected[1:] if any(cell.strip() for cell in row)]
    assert [(line.number, tuple(line.cells)) for line in read] == kept


def _written(row: tuple[str, str], delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerow(row)
    return text.getvalue()


@given(CELL)
def test_no_guarded_cell_is_a_formula_and_each_comes_back(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert not guarded(text).lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))


def test_a_column_that_is_not_needed_may_be_there_twice() -> None:
    file = CsvFile(iter(["ref,Notes,Notes\n", "R-1,a,b\n"]), ["ref"])
    assert [line.cells for line in file] == [["R-1", "a", "b"]]
