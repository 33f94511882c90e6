"""The command that finds returns by whatever a person has of one."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from worker.cli.options import JsonOption, duration_of
from worker.cli.output import Exit, answer_json, counted, pasted, say, shown
from worker.cli.printing import print_table
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.domain.sought import SHORTEST_PART, Matched, is_the_part_of_a_name
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases.for_programs import found_returns
from worker.usecases.search import WITHIN, Findings, Found, Sought, search

_MOST = 1000
_WORDS = {
    Matched.CARRIER_REF: "carrier ref",
    Matched.LABEL_CODE: "label code",
    Matched.TRACKING_NUMBER: "tracking number",
    Matched.EMAIL: "e-mail",
    Matched.POSTAL_CODE: "postal code",
}


def find(
    context: typer.Context,
    text: Annotated[
        str,
        typer.Argument(
            help="A reference, a carrier's number, a label code, a tracking number, an e-mail address, a name"
            " or a part of it, or a postal code."
        ),
    ],
    limit: Annotated[int, typer.Option("--limit", min=1, max=_MOST, help="At most so many.")] = 20,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="Look for customers too where a number was found.")
    ] = False,
    within: Annotated[
        str, typer.Option("--within", help="For how long to look through customers, such as 30s.")
    ] = f"{WITHIN.seconds}s",
    before: Annotated[
        int | None, typer.Option("--before", min=1, max=2**62, help="Go on from there; the last call says where.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find returns by a number, a name, an e-mail address or a postal code; the archive's too.

    Capitals and blanks do not count. Numbers are looked up at once; customers are looked for from the newest return on,
    where no number is found. Exit code 1: nothing is found.
    """
    sought = Sought(text, limit, before, duration_of("--within", within) or timedelta(0), everywhere)

    async def work(_settings: Settings, database: Database) -> Findings:
        with progress("looking through the returns") as tell:
            return await search(database, sought, tell)

    findings = Session(context, only_to_read=True).call(work)
    if as_json:
        answer_json(found_returns(findings))
    else:
        print_table(_HEADER, [_row(each) for each in findings.found])
    _tell(findings, sought)
    if not findings.found:
        raise typer.Exit(Exit.FAILED)


_HEADER = ("reference", "account", "state", "carrier ref", "matched", "archived")


def _row(found: Found) -> tuple[Any, ...]:
    best = found.hits[0]
    matched = "; ".join(f"{_WORDS.get(hit.matched, hit.matched)} {hit.value}" for hit in found.hits)
    return best.reference, best.account, best.state, best.carrier_ref, matched, best.archived_at


def _tell(findings: Findings, sought: Sought) -> None:
    """How far was looked, and the command that goes on."""
    looked = findings.looked
    if not findings.found:
        is_short = looked is not None and not is_the_part_of_a_name(sought.text)
        way = f"; of a name at least {SHORTEST_PART} letters are needed" if is_short else ""
        say(shown(f"nothing is found for {sought.text!r}{way}"))
    if findings.is_more:
        more = pasted("find", sought.text, f"--limit {sought.limit * 5}")
        be_exact = sought.limit * 5 > _MOST
        say(shown(f"there are more than {sought.limit}: {'say it more exactly' if be_exact else f'`{more}` has more'}"))
    elif looked is not None and (before := findings.go_on_before) is not None:
        goes_on = pasted("find", sought.text, f"--before {before}")
        told = f"looked for customers among the ids from {looked.begun_at} down to {before}, then the time was over"
        say(shown(f"{told}: `{goes_on}` goes on"))
    if looked is None:
        wider = pasted("find", sought.text, "--everywhere")
        say(shown(f"a number was found, so no customer was looked for: `{wider}` does that too"))
    elif looked.unreadable:
        say(f"passed over, since the database cannot give their payloads: {counted(looked.unreadable)}")
