"""The command that inserts returns from files, for shops without a database client at hand and for tests."""

import csv
import io
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import Exit, answer, counted, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.domain.column_map import BadMap, ColumnMap, read_map
from worker.domain.csv_lines import bounded
from worker.settings import Settings
from worker.store.database import Database
from worker.telemetry.terminal import shown_lines
from worker.usecases.add import LONGEST_LINE, Added, Intake, Source, add_returns
from worker.usecases.not_done import capped

_CSV = (".csv", ".tsv")
LONGEST_CSV_LINE = 2_000_000  # characters, twice what a payload may have
_LONGEST_MAP = 1_000_000  # bytes


def add(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(help="JSON or JSON Lines, with --map CSV; - is stdin.", metavar="FILE...")
    ],
    column_map: Annotated[
        Path | None, typer.Option("--map", help="FILE is CSV, and this TOML says what its columns are.", metavar="MAP")
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="The files' encoding, such as cp1252.")] = "utf-8",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave references alone that are there already.")
    ] = False,
    in_part: Annotated[
        bool, typer.Option("--partial", help="Insert what is good though other lines are bad; exit code 1 then.")
    ] = False,
    errors: Annotated[
        Path | None,
        typer.Option("--errors", help="With --map: a new file for the bad lines, each with its problem."),
    ] = None,
) -> None:
    """Insert returns: objects with "reference", "payload" and perhaps "account". All of them or none.

    Or CSV, with --map; see docs/integrate/bring-in.md.
    """
    if errors is not None and (column_map is None or len(files) > 1):
        fail("error: --errors is for one FILE that is CSV, and so goes with --map", Exit.USAGE)
    if column_map is None and (tables := [name for name in files if name.lower().endswith(_CSV)]):
        fail(shown(f"error: {tables[0]} is CSV: --map MAP.toml says what its columns are"), Exit.USAGE)
    if files.count("-") > 1:
        fail("error: stdin can be read once", Exit.USAGE)
    if errors is not None and os.path.lexists(errors):
        fail(shown(f"error: --errors: {errors} is there already"), Exit.USAGE)
    if errors is not None and not os.access(errors.parent, os.W_OK | os.X_OK):  # seen before anything is inserted
        fail(shown(f"error: --errors: no file can be made at {errors}; look at the folder"), Exit.USAGE)
    told = None if column_map is None else _read_map(column_map)
    longest = LONGEST_LINE if told is None else LONGEST_CSV_LINE
    sources = [Source(name, lines_of(name, _checked(encoding), longest)) for name in files]
    give_back = None if errors is None else _giving_back(errors, encoding)

    async def work(settings: Settings, database: Database) -> Added:
        with progress("adding returns") as tell:
            intake = Intake(told, skip_existing, in_part, give_back, tell)
            return await add_returns(settings, database, sources, intake)

    added = Session(context).call(work)
    if added.inserted:
        waiting = [f"account {name!r} is not configured here: its returns wait until it is" for name in added.strangers]
        for stranger in capped(waiting, "{} more accounts are not configured here"):
            say(shown(f"warning: {stranger}"))
    for problem in capped(added.problems, count=added.bad):
        say(shown(problem))
    if not added.bad:
        answer(f"{counted(added.inserted)} inserted")
        return
    where = "" if errors is None or not errors.exists() else f"; {errors} has every bad line"
    if in_part and added.inserted:
        answer(f"{counted(added.inserted)} inserted")
        fail(shown(f"{added.bad} bad {'line was' if added.bad == 1 else 'lines were'} left out{where}"))
    fail(shown(f"nothing was inserted{where}"))


def _checked(encoding: str) -> str:
    try:
        " ".encode(encoding)
    except (LookupError, UnicodeError):
        fail(shown(f"error: --encoding: {encoding} is not known; such as utf-8, cp1252, utf-16"), Exit.USAGE)
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def lines_of(name: str, encoding: str, longest: int) -> Iterator[str]:
    """The physical lines of a file, or of stdin (`-`), as they are asked for.

    Bytes that are not of the encoding come as lone surrogates, so that a line that has them can be named.
    """
    file = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115 - closed with the text over it
    with io.TextIOWrapper(file, encoding, "surrogateescape", "") as text:
        yield from bounded(text.readline, longest)


def _read_map(file: Path) -> ColumnMap:
    try:
        with file.open("rb") as stream:
            return read_map(tomllib.loads(stream.read(_LONGEST_MAP).decode()))
    except OSError as error:
        fail(shown(f"error: --map: {file} cannot be read: {error.strerror}"), Exit.USAGE)
    except BadMap as error:
        fail(shown_lines("\n".join(f"{file}: {line}" for line in str(error).split("\n"))), Exit.USAGE)
    except RecursionError:
        fail(shown(f"error: --map: {file} is nested too deeply"), Exit.USAGE)
    except ValueError as error:  # no TOML, or no UTF-8
        fail(shown(f"error: --map: {file} is not TOML: {error}"), Exit.USAGE)


def _giving_back(file: Path, encoding: str) -> Callable[[str, Iterator[Sequence[str]]], None]:
    """What a bad line was, byte for byte, in a file for its owner alone; it is made only where there is one."""

    def give_back(delimiter: str, lines: Iterator[Sequence[str]]) -> None:
        opener = partial(os.open, mode=0o600)
        try:
            with open(file, "x", encoding=encoding, errors="surrogateescape", newline="", opener=opener) as stream:
                # The cells came of this encoding; a problem may name what it has not, such as the file.
                written = (
                    [*cells, said.encode(encoding, "backslashreplace").decode(encoding)] for *cells, said in lines
                )
                csv.writer(stream, delimiter=delimiter).writerows(written)
        except OSError as error:
            fail(
                shown(
                    f"error: cannot write {file}: {error.strerror}; with --partial the good lines are inserted by now"
                )
            )

    return give_back
