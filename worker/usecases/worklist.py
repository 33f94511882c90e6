"""Creations in doubt as a list that a person fills in at the carrier's portal, and what such a list says, done."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from worker.domain.by_hand import Person, WayOut, found, not_created, unless_numbered
from worker.domain.csv_lines import CsvFile, CsvLine, NotCsv, guarded, unguarded
from worker.domain.lifecycle import State
from worker.domain.payload import read_parties
from worker.from_settings import policies_of
from worker.settings import Settings
from worker.store.columns import read_document
from worker.store.database import Database
from worker.store.payloads import read_payload
from worker.store.upkeep.choice import Choice, choose, holders_of, look_at
from worker.usecases.desk import Desk, Settled, require_number
from worker.usecases.find import ReturnUnknown, find_return
from worker.usecases.not_done import NotDone, is_utf8

COLUMNS: Final = ("reference", "account", "name", "postal_code", "sent_at", "carrier_ref")
"""Whoever reads it by a program may count on these; others come behind them."""

_READ: Final = ("reference", "account", "carrier_ref")
_NOT_CREATED: Final = ("none", "not created")
_SHORTENED: Final = re.compile(r"-?\d+(?:[.,]\d+)?e[+-]\d+", re.IGNORECASE)
_NUMERIC: Final = re.compile(r"-?\d+(?:[.,]\d+)?(?:e[+-]\d+)?", re.IGNORECASE)  # zeros before it may be lost
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class HeldCreation:
    """A return that may be at the carrier, and what a person looks for it by; `sent_at`: of its first creation."""

    reference: str
    account: str
    name: str
    postal_code: str
    sent_at: datetime | None

    @property
    def cells(self) -> list[str]:
        """Its line, in `COLUMNS`: no spreadsheet takes a cell for a formula."""
        sent_at = "" if self.sent_at is None else f"{self.sent_at:%Y-%m-%d %H:%M:%S}"
        return [*map(guarded, (self.reference, self.account, self.name, self.postal_code)), sent_at, ""]


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of a worklist: what is wrong with its lines, each by its number, or what came of each answer."""

    problems: Sequence[str]
    settled: Sequence[Settled]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a line says of a return: its number at the carrier; None: there is none."""

    line: int
    order_id: int
    account: str
    reference: str
    number: str | None

    @property
    def way_out(self) -> WayOut:
        # A list may be old, or a second person has one with other numbers.
        return unless_numbered(not_created if self.number is None else found(self.number))


async def held_creations(database: Database, account: str | None, limit: int) -> tuple[list[HeldCreation], bool]:
    """Up to `limit` returns that need attention with a creation in doubt, oldest first; and whether there are more."""
    held: list[HeldCreation] = []
    ids = await choose(database, Choice(account, [State.NEEDS_ATTENTION]))
    for start in range(0, len(ids), _AT_ONCE):
        for claimed in await look_at(database, ids[start : start + _AT_ONCE]):
            order = claimed.order
            if not order.in_doubt or order.unreadable is not None:
                continue
            if len(held) == limit:
                return held, True
            name, postal_code = await _customer(database, order.id)
            sent_at = order.first_attempt_at or order.create_started_at
            held.append(HeldCreation(order.reference, order.account, name, postal_code, sent_at))
    return held, False


async def resolve_worklist(
    settings: Settings,
    database: Database,
    lines: Iterator[str],
    person: Person,
    owner: str,
    *,
    dry_run: bool,
    tell: Callable[[int, int | None], None] = lambda done, total: None,
) -> Resolved:
    """Do what the filled in lines of a worklist say; a line without a number is left.

    Nothing is done where a line makes no sense. Raises `NotDone` where the list cannot be read.
    """
    answers, problems = list[_Answer](), list[tuple[int, str]]()
    try:
        file = CsvFile(lines, _READ)
        for line in file:
            answer = await _read(settings, database, file.header, line)
            if isinstance(answer, _Answer):
                answers.append(answer)
            elif answer is not None:
                problems.append((line.number, answer))
    except NotCsv as error:
        problems.append((error.line, error.why))
    except (OSError, UnicodeError) as error:
        raise NotDone(f"the worklist cannot be read: {error}") from None
    problems += _repeated(answers) + await _taken(database, answers)
    if problems:
        return Resolved([f"line {line}: {problem}" for line, problem in sorted(problems)], [])
    desk = Desk(database, person, policies_of(settings), owner)
    done: list[Settled] = []
    for answer in answers:
        done += await (desk.preview if dry_run else desk.settle)([answer.order_id], answer.way_out)
        tell(len(done), len(answers))
    return Resolved([], done)


async def _customer(database: Database, order_id: int) -> tuple[str, str]:
    text, _ = await read_payload(database, order_id)
    payload = read_document(text) if text is not None else None
    customer, _ = read_parties(payload) if isinstance(payload, dict) else (None, None)
    return (customer.name, customer.address.postal_code) if customer is not None else ("", "")


async def _read(settings: Settings, database: Database, header: Sequence[str], line: CsvLine) -> _Answer | str | None:
    """What a line says, or what is wrong with it; None: nothing."""
    if line.problem is not None:
        return line.problem
    cells = dict(zip(header, line.cells, strict=True))
    if not is_utf8("".join(cells[name] for name in _READ)):
        return "holds bytes that are not UTF-8"
    reference, account = unguarded(cells["reference"]), unguarded(cells["account"])
    number: str | None = unguarded(cells["carrier_ref"].strip()).strip()
    if not number:
        return None
    if not account:
        return "account: is empty"
    if _SHORTENED.fullmatch(number):
        return f"{number}: a spreadsheet has shortened the number; make its column text, and type it once more"
    if number.casefold() in _NOT_CREATED:
        number = None
    try:
        if number is not None:
            require_number(settings, account, number, "carrier_ref")
        order = await find_return(database, reference, account)
    except NotDone as error:
        said = error.what if isinstance(error, ReturnUnknown) else str(error)
        return f"{said}; has a spreadsheet changed it?" if _NUMERIC.fullmatch(reference) else said
    return _Answer(line.number, order.id, order.account, order.reference, number)


def _repeated(answers: Sequence[_Answer]) -> list[tuple[int, str]]:
    """Lines about one return, and lines with one number: which is right cannot be told."""
    returns = Counter(each.order_id for each in answers)
    numbers = Counter((each.account, each.number) for each in answers)
    same_return = [
        (each.line, f"{each.reference} is on another line too") for each in answers if returns[each.order_id] > 1
    ]
    same_number = [
        (each.line, f"{each.number} is on another line too")
        for each in answers
        if each.number is not None and numbers[each.account, each.number] > 1 and returns[each.order_id] == 1
    ]
    return same_return + same_number


async def _taken(database: Database, answers: Sequence[_Answer]) -> list[tuple[int, str]]:
    """Lines with a number that another return has."""
    problems: list[tuple[int, str]] = []
    for account in dict.fromkeys(each.account for each in answers):
        ours = [each for each in answers if each.account == account and each.number is not None]
        holders = await holders_of(database, account, [each.number for each in ours if each.number is not None])
        problems += [
            (each.line, f"{each.number} is {holder}'s already")
            for each in ours
            if (holder := holders.get(each.number or "", each.reference)) != each.reference
        ]
    return problems
