"""The command that brings in returns which are at the carrier already, one or a file of them."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli.options import AccountOption, Decider, grouped, owner_of_command
from worker.cli.output import Exit, answer, counted, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.domain.csv_lines import CsvFile, NotCsv
from worker.domain.documents import read_json
from worker.store.columns import why_unreadable
from worker.usecases.adopt import bring_in
from worker.usecases.adoptable import Existing
from worker.usecases.not_done import capped

_MOST_BYTES = 100_000_000
_COLUMNS = ("reference", "account", "carrier_ref", "payload")


@grouped
def adopt(
    context: typer.Context,
    decider: Decider,
    reference: Annotated[str | None, typer.Argument(help="The shop's reference.")] = None,
    carrier_ref: Annotated[str | None, typer.Option("--carrier-ref", help="The carrier's number of it.")] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--from", help="Many: CSV with a header (reference, account, carrier_ref, payload) or JSON Lines."
        ),
    ] = None,
    account: AccountOption = None,
    payload: Annotated[Path | None, typer.Option("--payload", help="JSON; without one it is {}.")] = None,
    unasked: Annotated[
        bool, typer.Option("--unasked", help="Do not ask the carrier: believe that it is there, and follow it.")
    ] = False,
) -> None:
    """Follow returns that are at the carrier already, under its numbers; nothing is created. All of them, or none.

    The carrier is asked about each of them first, within the pace.
    """
    if (file is None) == (reference is None) or (file is None) != (carrier_ref is not None):
        fail("error: say either REFERENCE and --carrier-ref NUMBER, or --from FILE", Exit.USAGE)
    if file is not None and payload is not None:
        fail("error: --payload is for one REFERENCE: in a file each has its own", Exit.USAGE)
    problems: list[str] = []
    if file is not None:
        existing = list(_read(file, account or "default", problems))
        if not existing and not problems:
            problems.append(f"{file}: there are no returns in it")
    else:
        document = {} if payload is None else _payload(_text(str(payload), problems), str(payload), problems)
        existing = [Existing(f"{reference}", account or "default", f"{reference}", f"{carrier_ref}".strip(), document)]
    if not problems:
        with progress("asking the carriers about returns") as tell:
            session = Session(context, need_keys=not unasked)
            brought = session.call(bring_in, existing, decider.person, owner_of_command(), unasked=unasked, tell=tell)
        problems += brought.problems
    if problems:
        fail("\n".join([*map(shown, capped(problems)), "nothing was adopted"]))
    for each, decision in brought.adopted:
        order = decision.order
        said = f": {order.tracking_status}" if order.tracking_status else ""
        word = f" ({order.carrier_status})" if order.carrier_status else ""
        answer(shown(f"{each.reference}: adopted as {each.carrier_ref}{said}{word}"))
    say(f"{counted(len(brought.adopted))} adopted")


def _read(name: str, account: str, problems: list[str]) -> Iterator[Existing]:
    text = _text(name, problems)
    lines = _json_lines if text.lstrip().startswith("{") else _csv_rows
    for place, values in lines(text, name, problems):
        found = [f"{key[:60]}: is not known here" for key in values.keys() - set(_COLUMNS)]
        texts = {key: values.get(key) or "" for key in ("reference", "account", "carrier_ref")}
        found += [f"{key}: must be text" for key, value in texts.items() if not isinstance(value, str)]
        found += [f"{key}: is missing" for key in ("reference", "carrier_ref") if not texts[key]]
        document = values.get("payload") or {}
        if isinstance(document, str):
            document = _payload(document, "payload", found)
        elif not isinstance(document, dict):
            found.append("payload: must be an object")
        problems += [f"{place}: {problem}" for problem in found]
        if not found:
            number = texts["carrier_ref"].strip()
            yield Existing(place, texts["account"] or account, texts["reference"], number, document)


def _text(name: str, problems: list[str]) -> str:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            problems.append(f"{name}: is larger than {_MOST_BYTES:,} bytes: cut it into several files")
            return ""
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name}: cannot be read: {error}")
        return ""


def _payload(text: str, place: str, problems: list[str]) -> dict[str, Any]:
    try:
        document = read_json(text) if text else {}
    except ValueError as error:
        problems.append(f"{place}: {why_unreadable(error)}")
        return {}
    if not isinstance(document, dict):
        problems.append(f"{place}: must be an object")
        return {}
    return document


def _json_lines(text: str, name: str, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{name}:{number}", _payload(line, f"{name}:{number}", problems)


def _csv_rows(text: str, name: str, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        file = CsvFile(iter(io.StringIO(text, newline="")), ("reference", "carrier_ref"))
        for line in file:
            if line.problem is not None:
                problems.append(f"{name}:{line.number}: {line.problem}")
            else:
                yield f"{name}:{line.number}", dict(zip(file.header, line.cells, strict=True))
    except NotCsv as error:
        problems.append(f"{name}:{error}")
