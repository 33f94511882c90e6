"""Reads CSV as shops and spreadsheets write it, line by line and within bounds, and says where it cannot be read."""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

LONGEST_CELL: Final = 131_072
"""Characters of one cell, by which a quote that is never closed is noticed. A cell of Excel's has 32,767 at most."""

_LONGEST_RECORD: Final = (
    4_000_000  # characters of a line of cells, on however many physical lines: quotes may be shifted
)
_DELIMITERS: Final = (",", ";", "\t")
_NAMED_DELIMITER: Final = re.compile(
    r'"?sep=([^"\w\r\n])"?[\r\n]*', re.IGNORECASE
)  # a line for Excel, above the header
_SHORTENED: Final = re.compile(r"-?\d(?:[.,]\d+)?E\+\d{2,}")
_ENDLESS_HEADER: Final = f"a quote in the header is never closed, or a name has more than {LONGEST_CELL:,} characters"
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are full-width
_GUARD: Final = "'"


class NotCsv(ValueError):
    """A file cannot be told apart into lines and cells from physical line `line` on; `why` says why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"{line}: {why}")
        self.line, self.why = line, why


@dataclass(frozen=True, slots=True)
class CsvLine:
    """One line: the number of its first physical line in the file, from 1, and its cells.

    `problem`: why they do not go with the header; None: there are as many.
    """

    number: int
    cells: Sequence[str]
    problem: str | None = None


def bounded(readline: Callable[[int], str], longest: int) -> Iterator[str]:
    """The physical lines of a file, of at most so many characters each; raises `NotCsv` for a longer one."""
    number = 0
    while line := readline(longest + 1):
        number += 1
        if len(line) > longest:
            raise NotCsv(number, f"this line has more than {longest:,} characters")
        yield line


class CsvFile:
    """A CSV file: its `header`, its `delimiter`, and, iterated, its lines; empty ones are passed over."""

    def __init__(self, lines: Iterator[str], needed: Collection[str]) -> None:
        """Read the header, and tell by it whether commas, semicolons or tabs part the cells.

        Raises `NotCsv` where one of the `needed` columns is missing, or is there twice.
        """
        # The module's own bound, for all that this process reads with it.
        csv.field_size_limit(LONGEST_CELL)
        head = _whole_head(lines)
        named = _NAMED_DELIMITER.fullmatch(head[0])
        above = 0 if named is None else len(head)
        head = head if named is None else _whole_head(lines)
        possible = _DELIMITERS if named is None else (named[1],)
        try:
            read = {each: [cell.strip() for cell in next(csv.reader(head, delimiter=each), [])] for each in possible}
        except csv.Error:
            raise NotCsv(above + 1, _ENDLESS_HEADER) from None
        self.delimiter = max(possible, key=lambda each: (len(set(needed) & set(read[each])), len(read[each])))
        self.header = read[self.delimiter]
        self._lines, self._before = lines, above + len(head)
        if missing := [name for name in needed if name not in self.header]:
            if any("\ud800" <= char <= "\udfff" or char == "\0" for line in head for char in line):
                raise NotCsv(
                    above + 1,
                    "the header is not text in this encoding: save the file as CSV in UTF-8, or name its encoding to a"
                    " command that has --encoding",
                )
            there = ", ".join(filter(None, self.header)) or "none"
            raise NotCsv(
                above + 1, f"there is no column {', '.join(map(repr, missing))}; its columns are: {there[:1000]}"
            )
        if twice := sorted({name for name in needed if self.header.count(name) > 1}):
            raise NotCsv(
                above + 1, f"there are several columns {', '.join(map(repr, twice))}: which is meant cannot be told"
            )

    def __iter__(self) -> Iterator[CsvLine]:
        size = number = 0

        def counted() -> Iterator[str]:
            nonlocal size
            for line in self._lines:
                size += len(line)
                if size > _LONGEST_RECORD:
                    raise NotCsv(
                        number, f"a line of cells begins here that has more than {_LONGEST_RECORD:,} characters"
                    )
                yield line

        reader = csv.reader(counted(), delimiter=self.delimiter, strict=True)
        while True:
            size, number = 0, self._before + reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as error:
                # What comes after it may be within a quote or without: it cannot be told, so nothing is guessed.
                upto = self._before + reader.line_num
                where = "" if upto == number else f", read to line {upto}"
                raise NotCsv(
                    number,
                    f"a quote that begins here does not end as one should, or a cell has more than {LONGEST_CELL:,}"
                    f" characters ({error}{where})",
                ) from None
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield CsvLine(number, cells, self._problem(cells))

    def _problem(self, cells: Sequence[str]) -> str | None:
        if len(cells) == len(self.header):
            return None
        return f"has {len(cells)} cells, and the header {len(self.header)}: quote a cell that has a delimiter in it"


def guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; `unguarded` gives the text back as it was.

    The apostrophe is what OWASP's page on CSV injection advises; some drop white space before a formula. A text that
    begins with an apostrophe gets another, so that what is read back is always what was written.
    """
    return _GUARD + text if text.startswith(_GUARD) or text.lstrip().startswith(_FORMULA) else text


def unguarded(cell: str) -> str:
    """The text of a cell that `guarded` made."""
    return cell.removeprefix(_GUARD)


def is_shortened(cell: str) -> bool:
    """Whether a spreadsheet wrote a number of more than 11 digits as `1.23E+11`: the others are lost."""
    return _SHORTENED.fullmatch(cell.strip()) is not None


def _whole_head(lines: Iterator[str]) -> list[str]:
    """The physical lines of the header: a name in quotes may have line breaks in it."""
    head: list[str] = []
    for line in lines:
        head.append(line)
        size = sum(map(len, head))
        if sum(each.count('"') for each in head) % 2 == 0:
            return head
        if size > LONGEST_CELL:
            break
    if head:
        raise NotCsv(1, _ENDLESS_HEADER)
    raise NotCsv(1, "the file is empty")
