"""The command that writes a label out, asks the carrier for it once more, or takes one that was refused."""

import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from worker.carriers.port import Carrier, LabelDocument
from worker.cli.carrier import opened_carrier, refuse_if_held
from worker.cli.context import logs_for, opened_database, run, settings_of, the_order, the_return
from worker.cli.inspect import AccountOption, history_of, way_on
from worker.cli.person import ByOption, ReasonOption, owner_of_command, person_of
from worker.cli.talk import Exit, fail, say, shown
from worker.cli.ways_out import policies_of, tell
from worker.configured import fingerprint_of, policy_of
from worker.domain.decision import Decision
from worker.domain.errors import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.outcomes import Failed, LabelReady, LabelTrouble
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.verdicts import TURNED_AWAY, hold_after
from worker.domain.ways_out import Person, accepted
from worker.engine.by_hand import Desk
from worker.engine.label import ask_for_label, fetch_label, forget_aside, keep_aside, name_of, refusal_of, stored
from worker.labels import LabelMissing, as_it_is, open_label_store
from worker.labels.names import aside_path
from worker.settings import Settings
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.holds import hold_account
from worker.store.queries import History, read_history
from worker.store.records import replace_label
from worker.store.tables import LabelRow, ReturnOrderRow

T = TypeVar("T")


def label(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The shop's reference.")],
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
    account: AccountOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
) -> None:
    """Write a return's stored label to a file or to stdout."""
    if accept and (refetch or unchecked or output is not None):
        fail("error: --accept takes what is kept aside, and goes with none of --refetch, --unchecked, -o", Exit.USAGE)
    if unchecked and not refetch:
        fail("error: --unchecked goes with --refetch: what is stored was checked, or accepted", Exit.USAGE)
    if not accept and (by is not None or reason):
        fail("error: --by and --reason go with --accept: nothing else is written into the history", Exit.USAGE)
    person = person_of(by, reason)

    async def work() -> None:
        settings = settings_of(context, need_keys=refetch)
        logs_for(settings)
        async with opened_database(settings, only_to_read=not (refetch or accept)) as database:
            if accept:
                order = await the_order(database, reference, account)
                await _accept(settings, database, order, position, person)
            elif unchecked:
                order = await the_order(database, reference, account)
                await _write_unchecked(settings, database, order, position, output)
            else:
                if refetch:
                    await _refetch(settings, database, await the_order(database, reference, account), position)
                found = await history_of(database, await the_return(database, reference, account))
                await _write_stored(settings, found, position, output)

    run(work)


async def _write_stored(settings: Settings, found: History, position: int, output: str | None) -> None:
    labels, order = {row.position: row for row in found.labels}, found.order
    if position not in labels:
        missing = f"{order.reference!r} ({order.state}) has no label {position}{_why_missing(order, position)}"
        fail(shown(f"error: {missing}"))
    content = await open_label_store(settings.labels.store).get(labels[position].location)
    _write(content, output or _file_name(labels[position]))


def _why_missing(order: ReturnOrderRow, position: int) -> str:
    if order.state not in (State.TRACKING, State.COMPLETED):
        return ""
    code = order.label_error_code
    yet = " yet" if order.label_due_at is not None else ""
    return f"{yet} ({code}: {order.label_error_message}); {way_on(order, position, code)}" if code else yet


async def _refetch(settings: Settings, database: Database, order: ReturnOrderRow, position: int) -> None:
    store = open_label_store(settings.labels.store)
    asked, outcome = await _asked(settings, database, order, position, partial(fetch_label, store=store))
    if not isinstance(outcome, LabelReady):
        refused = isinstance(outcome, LabelTrouble) and outcome.code == ErrorCode.LABEL_UNUSABLE
        led_on = f"; {way_on(order, position, ErrorCode.LABEL_UNUSABLE)}" if refused else ""
        fail(shown(f"error: the label could not be fetched: {getattr(outcome, 'message', outcome)}{led_on}"))
    await replace_label(database, order.id, outcome.label)
    await forget_aside(asked, outcome.label.position, store)


async def _write_unchecked(
    settings: Settings, database: Database, order: ReturnOrderRow, position: int, output: str | None
) -> None:
    store = open_label_store(settings.labels.store)
    asked, document = await _asked(settings, database, order, position, ask_for_label)
    if not isinstance(document, LabelDocument):
        fail(shown(f"error: the label could not be fetched: {document.message}"))
    kept = await keep_aside(asked, document, store)
    file = output or f"{Path(aside_path(name_of(asked, position))).name}.unchecked"
    _write(document.content, file, for_owner_alone=True)
    refusal = await refusal_of(document)
    if refusal is None:
        say("it is a label: without --unchecked it is stored")
    else:
        aside = f"; its {len(document.content)} bytes are kept aside, for --accept" if kept else ""
        say(f"it would be refused: {refusal}{aside}")


async def _asked(
    settings: Settings,
    database: Database,
    order: ReturnOrderRow,
    position: int,
    ask: Callable[[ReturnOrder, Carrier], Awaitable[T]],
) -> tuple[ReturnOrder, T]:
    """What came of asking the carrier; the account waits where it was turned away."""
    if order.carrier_ref is None:
        fail(shown(f"error: {order.reference!r} is not at the carrier, so there is no label to ask for"))
    if order.account not in settings.accounts:
        fail(f"error: account {order.account!r} is not configured", Exit.BAD_CONFIGURATION)
    await refuse_if_held(database, order.account)
    history = await read_history(database, order)
    if history.payload_unreadable is not None:
        fail(shown(f"error: the payload of {order.reference!r} cannot be read: {history.payload_unreadable}"))
    asked = ReturnOrder(
        id=order.id,
        account=order.account,
        reference=order.reference,
        carrier_ref=order.carrier_ref,
        payload=json.dumps(order.payload),
        packages=tuple(
            PackageInfo(row.position, row.label_code, row.description, row.tracking_number, row.tracking_url)
            for row in history.packages
        ),
        labels=frozenset(row.position for row in history.packages if row.position != position),
    )
    async with opened_carrier(settings, database, order.account) as opened:
        outcome = await ask(asked, opened.carrier)
        if isinstance(outcome, Failed) and outcome.kind in TURNED_AWAY:
            hold = hold_after(outcome, await database_now(database), policy_of(settings, order.account))
            key = fingerprint_of(opened.key()) if hold.until is None else None
            await hold_account(database, order.account, hold, key)
    return asked, outcome


async def _accept(settings: Settings, database: Database, order: ReturnOrderRow, position: int, person: Person) -> None:
    if order.carrier_ref is None:
        fail(shown(f"error: {order.reference!r} is not at the carrier, so it has no label"))
    store = open_label_store(settings.labels.store)
    whose = ReturnOrder(order.id, order.account, order.reference, carrier_ref=order.carrier_ref)
    name = name_of(whose, position)
    try:
        taken = await as_it_is(await store.aside(name))
    except LabelMissing:
        fail(
            shown(
                f"error: nothing is kept aside of label {position} of {order.reference!r}; `label --refetch --unchecked"
                " -o FILE` asks the carrier for it now, and keeps what comes"
            )
        )
    way_out = accepted(stored(position, await store.put(name, taken), taken))
    done = await Desk(database, person, policies_of(settings), owner_of_command()).settle([order.id], way_out)
    if isinstance(done[0].outcome, Decision):
        await forget_aside(whose, position, store)
    tell(done, dry_run=False)


def _file_name(row: LabelRow) -> str:
    return Path(row.location).name


def _write(content: bytes, output: str, *, for_owner_alone: bool = False) -> None:
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        with open(output, "wb", opener=partial(os.open, mode=0o600)) as file:
            if for_owner_alone and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                os.fchmod(file.fileno(), 0o600)  # it may have been there, for others to read
            file.write(content)
    except OSError as error:
        fail(f"error: cannot write {output}: {error.strerror}")
    say(f"written to {output}")
