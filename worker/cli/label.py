"""The command that writes labels out, asks the carrier for one once more, or takes one that was refused."""

import os
import stat
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.decisions import tell
from worker.cli.options import AccountOption, Decider, StateFilter, duration_of, grouped, owner_of_command
from worker.cli.output import Exit, Left, answer, fail, say, shown
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.cli.shown_return import said_missing, say_if_archived, way_on
from worker.domain.lifecycle import State
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases.find import find_return
from worker.usecases.hand_out import hand_out
from worker.usecases.label import accept_label, stored_label
from worker.usecases.missing_label import LabelWay
from worker.usecases.refetch_label import LabelNotFetched, Unchecked, refetch_label, unchecked_label
from worker.usecases.show import show_return


@grouped
def label(
    context: typer.Context,
    reference: Annotated[str | None, typer.Argument(help="The shop's reference; none with --all.")] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="File to write; - is stdout. Default: named after the carrier's number."),
    ] = None,
    position: Annotated[int, typer.Option(min=1, help="Which label, where there are several.")] = 1,
    refetch: Annotated[bool, typer.Option("--refetch", help="Ask the carrier for it once more.")] = False,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="With --refetch: write what comes, whatever it is, and store nothing.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take as the label what was refused and is kept aside, as it is.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every stored label, into the folder --into; what is there is skipped.")
    ] = False,
    into: Annotated[Path | None, typer.Option("--into", help="With --all: the folder.", metavar="DIR")] = None,
    state: StateFilter = None,
    since: Annotated[
        str | None, typer.Option("--since", help="With --all: only those stored within that time, such as 2d.")
    ] = None,
    account: AccountOption = None,
    *,
    decider: Decider,
) -> None:
    """Write a return's stored label to a file or to stdout."""
    if every:
        others = (reference, output, position != 1, refetch, unchecked, accept, decider.by, decider.reason)
        if into is None or any(others):
            fail("error: --all goes with --into DIR, and perhaps --account, --state and --since alone", Exit.USAGE)
        _hand_out(context, into, account, state or [], since)
        return
    if reference is None or into is not None or state or since is not None:
        fail("error: say REFERENCE, or --all --into DIR; --into, --state and --since go with --all", Exit.USAGE)
    if accept and (refetch or unchecked or output is not None):
        fail("error: --accept takes what is kept aside, and goes with none of --refetch, --unchecked, -o", Exit.USAGE)
    if unchecked and not refetch:
        fail("error: --unchecked goes with --refetch: what is stored was checked, or accepted", Exit.USAGE)
    if not accept and (decider.by is not None or decider.reason):
        fail("error: --by and --reason go with --accept: nothing else is written into the history", Exit.USAGE)
    person = decider.person

    async def work(settings: Settings, database: Database) -> None:
        if accept:
            order = await find_return(database, reference, account)
            done = await accept_label(settings, database, order, position, person, owner_of_command())
            tell(done, dry_run=False)
            return
        if refetch:
            order = await find_return(database, reference, account)
            try:
                if unchecked:
                    with progress("asking the carrier"):
                        came = await unchecked_label(settings, database, order, position)
                    _write_unchecked(came, output)
                    return
                with progress("asking the carrier"):
                    await refetch_label(settings, database, order, position)
            except LabelNotFetched as error:
                led_on = f"; {way_on(order.reference, position, LabelWay.ACCEPT)}" if error.refused else ""
                fail(shown(f"error: {error}{led_on}"))
        found = await show_return(settings, database, reference, account)
        say_if_archived(found)
        stored = await stored_label(settings, found.history, position)
        if stored is None:
            fail(shown(f"error: {said_missing(found.history.order, position)}"))
        _write(stored[1], output or stored[0])

    Session(context, only_to_read=not (refetch or accept), need_keys=refetch).call(work)


def _hand_out(
    context: typer.Context, folder: Path, account: str | None, states: list[State], since: str | None
) -> None:
    age, left = duration_of("--since", since), Left()

    async def work(settings: Settings, database: Database) -> None:
        written = there = 0
        try:
            with progress("writing labels") as tell:
                async for each in hand_out(settings, database, folder, account=account, states=states, since=age):
                    if each.failure is not None:
                        left.add([(f"label {each.label.position} of {each.label.reference}", each.failure)])
                    elif each.was_there:
                        there += 1
                    else:
                        written += 1
                        answer(shown(f"{each.label.reference}: {each.path}"))
                    tell(written + there + left.count, None)
        finally:
            left.tell()
            say(f"labels written: {written}, there already: {there}, failed: {left.count}")

    Session(context, only_to_read=True).call(work)
    if left.count:
        raise typer.Exit(Exit.FAILED)


def _write_unchecked(unchecked: Unchecked, output: str | None) -> None:
    _write(unchecked.content, output or unchecked.name, for_owner_alone=True)
    if unchecked.refusal is None:
        say("it is a label: without --unchecked it is stored")
    else:
        aside = f"; its {len(unchecked.content)} bytes are kept aside, for --accept" if unchecked.is_kept else ""
        say(f"it would be refused: {unchecked.refusal}{aside}")


def _write(content: bytes, output: str, *, for_owner_alone: bool = False) -> None:
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        with open(output, "wb", opener=partial(os.open, mode=0o600)) as file:
            if for_owner_alone and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                os.fchmod(file.fileno(), 0o600)  # a file that was there already may be open to other users
            file.write(content)
    except OSError as error:
        fail(f"error: cannot write {output}: {error.strerror}")
    say(f"written to {output}")
