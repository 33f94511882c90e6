"""Brings returns in from files, which are JSON, JSON Lines, or CSV with a map of its columns."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from worker.domain.column_map import ColumnMap
from worker.domain.csv_lines import CsvFile, CsvLine, NotCsv, is_shortened
from worker.domain.documents import read_json
from worker.settings import Settings
from worker.store.columns import why_unreadable
from worker.store.database import Database
from worker.store.upkeep.intake import AlreadyThere, InsertRefused, NewReturn, insert_returns, insert_some
from worker.store.upkeep.spool import Spool
from worker.usecases.not_done import NAMED, NotDone, capped, is_utf8

LONGEST_LINE = 100_000_000
"""Characters of a line of a file, and of a JSON document, which is read in one piece."""

PROBLEM = "problem"
"""The column in which a line that was left out says why."""

_TELL_EVERY = 1000
_NOT_UTF8 = "holds bytes that are not in the file's encoding: --encoding names it, such as cp1252"


@dataclass(frozen=True, slots=True)
class Source:
    """A file by its name, and its physical lines as they are asked for, with their ends."""

    name: str
    lines: Iterator[str]


@dataclass(frozen=True, slots=True)
class Intake:
    """How files are brought in; `column_map`: they are CSV. `partial`: a bad line keeps no other from being inserted.

    `give_back` is called where there are bad lines, and each file was read to its end, with the delimiter of the last
    file, its header and those lines.
    """

    column_map: ColumnMap | None = None
    skip_existing: bool = False
    partial: bool = False
    give_back: Callable[[str, Iterator[Sequence[str]]], None] | None = None
    tell: Callable[[int, int | None], None] = lambda done, total: None


@dataclass(frozen=True, slots=True)
class Added:
    """How many were inserted, and how many lines were bad; `problems` has the first of those, each with its place.

    `strangers`: accounts among them that are not configured here.
    """

    inserted: int
    bad: int
    problems: Sequence[str]
    strangers: Sequence[str]


@dataclass(slots=True)
class _Read:
    """What came of reading: `broken` files could not be read to their end, `file` is the last that is CSV."""

    spool: Spool
    broken: bool = False
    file: CsvFile | None = field(default=None)


async def add_returns(settings: Settings, database: Database, sources: Sequence[Source], intake: Intake) -> Added:
    """Read all of the files, and insert the returns in them: none where a line is bad, unless `partial`.

    Nor is any where a file cannot be read to its end. Raises `NotDone` where none can be inserted for another reason.
    """
    try:
        with Spool() as spool:
            read = _Read(spool)
            for source in sources:
                _read(settings, source, intake, read)
            spool.mark_repeated()
            if not spool.good and not spool.bad:
                raise NotDone("there are no returns in it; nothing was inserted")
            strangers = sorted({*spool.accounts()} - settings.accounts.keys())
            count = 0
            if intake.partial and not read.broken:
                count = await _insert_good(database, spool, intake)
            elif not spool.bad:
                count = await _insert_all(database, spool, intake)
            # Of a file that could not be read to its end they would not be all.
            if intake.give_back is not None and spool.bad and read.file is not None and not read.broken:
                intake.give_back(read.file.delimiter, _bad_lines(spool, read.file.header))
            return Added(count, spool.bad, spool.problems(NAMED), strangers)
    except sqlite3.Error as error:
        raise NotDone(f"what was read cannot be kept in the folder for temporary files, see TMPDIR: {error}") from None


async def _insert_all(database: Database, spool: Spool, intake: Intake) -> int:
    returns = (new for batch in spool.batches() for _, new in batch)
    total = spool.good
    try:
        return await insert_returns(
            database, returns, skip_existing=intake.skip_existing, tell=lambda done: intake.tell(done, total)
        )
    except InsertRefused as error:
        raise NotDone(f"{error}; nothing was inserted") from error
    except AlreadyThere as error:
        there = ", ".join(capped(error.references, count=error.count))
        raise NotDone(f"already there: {there}; nothing was inserted (--skip-existing leaves them alone)") from error


async def _insert_good(database: Database, spool: Spool, intake: Intake) -> int:
    count, total = 0, spool.good
    for batch in spool.batches():
        lines = {(new.account, new.reference): line for line, new in batch}
        there, refused = await insert_some(database, [new for _, new in batch])
        if not intake.skip_existing:
            refused += [(new, "the reference is already there") for new in there]
        for new, why in refused:
            spool.mark(lines[new.account, new.reference], why)
        count += len(batch) - len(refused) - (len(there) if intake.skip_existing else 0)
        intake.tell(count, total)
    return count


def _bad_lines(spool: Spool, header: Sequence[str]) -> Iterator[Sequence[str]]:
    """In the columns of the file, and one more; a file that has it already was given back before."""
    kept = [place for place, name in enumerate(header) if name != PROBLEM]
    yield [*(header[place] for place in kept), PROBLEM]
    for cells, problem in spool.bad_lines():
        # One that has too few cells, or too many, stays as it was.
        yield [*([cells[place] for place in kept] if len(cells) == len(header) else cells), problem]


def _read(settings: Settings, source: Source, intake: Intake, read: _Read) -> None:
    name = source.name.encode("utf-8", "backslashreplace").decode()
    try:
        if intake.column_map is not None:
            _read_csv(settings, Source(name, source.lines), intake.column_map, intake, read)
            return
        for number, (place, value) in enumerate(_documents(name, source.lines)):
            _read_value(place, value, read.spool)
            if number % _TELL_EVERY == 0:
                intake.tell(number, None)
    except NotCsv as error:
        read.broken = True
        read.spool.add_bad(f"{name}:{error.line}", error.why)
    except (OSError, UnicodeError) as error:
        read.broken = True
        read.spool.add_bad(name, f"cannot be read: {error}")


def _read_csv(settings: Settings, source: Source, column_map: ColumnMap, intake: Intake, read: _Read) -> None:
    constant = column_map.constant_account
    if constant is not None and _is_stranger(settings, constant):
        raise NotDone(f"account {constant!r}, to which the map sends every line, is not configured here")
    read.file = CsvFile(source.lines, column_map.columns)
    for number, line in enumerate(read.file):
        place, cells = f"{source.name}:{line.number}", line.cells if intake.give_back is not None else None
        new = _mapped(settings, read.file.header, line, column_map)
        if isinstance(new, str):
            read.spool.add_bad(place, new, cells)
        else:
            read.spool.add(place, new, cells)
        if number % _TELL_EVERY == 0:
            intake.tell(number, None)


def _mapped(settings: Settings, header: Sequence[str], line: CsvLine, column_map: ColumnMap) -> NewReturn | str:
    """The return in a line, or what is wrong with it."""
    if line.problem is not None:
        return line.problem
    cells = dict(zip(header, line.cells, strict=True))
    if not is_utf8("".join(cells[column] for column in column_map.columns)):
        column = next(column for column in column_map.columns if not is_utf8(cells[column]))
        return f"column {column!r} {_NOT_UTF8}"
    account, reference, payload, problems = column_map.read(cells)
    problems += [
        f"column {column!r}: {cells[column]} is a number that a spreadsheet has shortened; make the column text there"
        for column in column_map.columns
        if is_shortened(cells[column])
    ]
    if _is_stranger(settings, account):
        problems.append(f"account: {account[:60]} is not configured here")
    return "; ".join(problems) if problems else NewReturn(account, reference, payload)


def _is_stranger(settings: Settings, account: str) -> bool:
    """Whether an account is none of those configured; a shop's own machine may have no accounts at all."""
    return bool(settings.accounts) and account not in settings.accounts


def _documents(name: str, lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Each value of a file with its place: a JSON object, a JSON list, or one object a line; or what is wrong there."""
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    head = next(numbered, None)
    if head is None:
        return
    following = next(numbered, None)
    first = _json(head[1])
    if following is None:
        yield from _members(name, first)
        return
    held = [head, following]
    if isinstance(first, ValueError):
        # A document over several lines, or a bad line among lines.
        size = len(head[1]) + len(following[1])
        while size <= LONGEST_LINE and (more := next(numbered, None)) is not None:
            held.append(more)
            size += len(more[1])
        if size <= LONGEST_LINE and not isinstance(whole := _json("".join(text for _, text in held)), ValueError):
            yield from _members(name, whole)
            return
    for number, text in chain(held, numbered):
        yield f"{name}:{number}", _json(text)


def _members(name: str, whole: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(whole, list):
        yield from ((f"{name}[{index}]", value) for index, value in enumerate(whole))
    else:
        yield name, whole


def _json(text: str) -> Any:
    if not is_utf8(text):
        return ValueError(_NOT_UTF8)
    try:
        return read_json(text)
    except ValueError as error:
        return ValueError(why_unreadable(error))


def _read_value(place: str, value: Any, spool: Spool) -> None:
    if isinstance(value, ValueError):
        spool.add_bad(place, str(value))
        return
    if not isinstance(value, dict):
        spool.add_bad(place, "must be an object")
        return
    found = [f"{key[:60]}: is not known here" for key in value.keys() - {"reference", "payload", "account"}]
    reference, payload, account = value.get("reference"), value.get("payload"), value.get("account", "default")
    if not isinstance(reference, str) or not reference.strip() or not is_utf8(reference):
        found.append("reference: must be text, not empty")
    if not isinstance(payload, dict):
        found.append("payload: is missing" if payload is None else "payload: must be an object")
    if not isinstance(account, str) or not account.strip() or not is_utf8(account):
        found.append("account: must be text, not empty")
    if found:
        spool.add_bad(place, "; ".join(found))
    else:
        spool.add(place, NewReturn(str(account), str(reference), dict(payload or {})))
