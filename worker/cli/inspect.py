"""The commands that look at returns: list, show, label."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from worker.cli.carrier import opened_carrier, refuse_if_held
from worker.cli.context import logs_for, opened_database, run, settings_of, the_order, the_return
from worker.cli.talk import MOST, Exit, answer, fail, say, shown
from worker.configured import fingerprint_of, policy_of
from worker.domain.lifecycle import State
from worker.domain.outcomes import Failed, LabelReady
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.verdicts import TURNED_AWAY, hold_after
from worker.labels import open_label_store
from worker.settings import Settings
from worker.steps.label import fetch_label
from worker.store.accounts import database_now
from worker.store.archive import Archived
from worker.store.database import Database
from worker.store.holds import NOTHING, describe, explain, hold_account, read_accounts
from worker.store.queries import History, find_orders, read_history
from worker.store.records import replace_label
from worker.store.tables import LabelRow, ReturnOrderRow

_INTERNAL = ("payload", "next_step", "lease_token", "shop_changes", "claims")  # `--json` has them
_SHORT = ("reference", "account", "carrier says", "carrier ref", "error")  # cut on a narrow terminal
_WHOLE = ("observed at", "what", "from", "to", "state", "tracking", "due", *_SHORT[:2], *_SHORT[3:])  # never wrapped
_LEAST = {"state": 15, "tracking": 11, "carrier says": 9}  # columns a narrow terminal must not swallow
_LONGEST = 200  # characters of one field
_LONGEST_REASON = 2100  # what was wrong with a payload is named in full
_PIPED_WIDTH = 4000

AccountOption = Annotated[str | None, typer.Option("--account", help="Which account's return it is.")]
NameArgument = Annotated[str, typer.Argument(help="The account's name.", metavar="NAME")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_returns(
    context: typer.Context,
    state: Annotated[list[State] | None, typer.Option(help="Only these states; may be given several times.")] = None,
    account: AccountOption = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many, newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List returns, newest first."""

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings, only_to_read=True) as database:
            orders = await find_orders(database, account=account, states=state or (), limit=limit)
        if account is not None and not orders and account not in settings.accounts:
            say(shown(f"account {account} is not configured here, and has no returns"))
        if as_json:
            for order in orders:
                answer(json.dumps(_plain(order, without=("payload",))))
            return
        print_table(
            ("reference", "account", "state", "tracking", "carrier says", "carrier ref", "due", "error"),
            [
                (
                    order.reference,
                    order.account,
                    order.state,
                    order.tracking_status,
                    order.carrier_status,
                    order.carrier_ref,
                    order.due_at,
                    order.error_code or order.label_error_code,
                )
                for order in orders
            ],
        )

    run(work)


def show(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The shop's reference.")],
    account: AccountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one return with its whole history."""

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings, only_to_read=True) as database:
            history = await _history_of(database, await the_return(database, reference, account))
            state = (await read_accounts(database)).get(history.order.account)
        if as_json:
            answer(json.dumps(_history_as_json(history), indent=2))
            return
        print_history(history)
        if settings.accounts and history.order.account not in settings.accounts:
            say(f"it waits: account {history.order.account!r} is not configured here")
        elif state is not None and describe(state) != NOTHING and history.order.due_at is not None:
            say(shown(f"account {history.order.account!r}: {explain(state)}"))

    run(work)


def label(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(help="The shop's reference.")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="File to write; - is stdout. Default: named after the carrier's number."),
    ] = None,
    position: Annotated[int, typer.Option(min=1, help="Which label, where there are several.")] = 1,
    refetch: Annotated[bool, typer.Option("--refetch", help="Ask the carrier for it once more.")] = False,
    account: AccountOption = None,
) -> None:
    """Write a return's stored label to a file or to stdout."""

    async def work() -> None:
        settings = settings_of(context, need_keys=refetch)
        logs_for(settings)
        async with opened_database(settings, only_to_read=not refetch) as database:
            if refetch:
                await _refetch(settings, database, await the_order(database, reference, account), position)
            history = await _history_of(database, await the_return(database, reference, account))
            order, labels = history.order, {row.position: row for row in history.labels}
        if position not in labels:
            seeking = order.state == State.TRACKING and order.label_due_at is not None
            reason = f" ({order.label_error_code}: {order.label_error_message})" if order.label_error_code else ""
            fail(f"error: {reference!r} ({order.state}) has no label {position}{' yet' if seeking else ''}{reason}")
        content = await open_label_store(settings.labels.store).get(labels[position].location)
        _write(content, output or _file_name(labels[position]))

    run(work)


async def _history_of(database: Database, found: ReturnOrderRow | Archived) -> History:
    if isinstance(found, ReturnOrderRow):
        return await read_history(database, found)
    since = f"{found.archived_at:%Y-%m-%d %H:%M:%S} UTC"
    if found.history is None:
        fail(shown(f"error: {found.reference!r} was archived at {since}, and its document emptied since"))
    say(shown(f"note: {found.reference!r} was archived at {since}; this is how it was then"))
    return found.history


async def _refetch(settings: Settings, database: Database, order: ReturnOrderRow, position: int) -> None:
    if order.carrier_ref is None:
        fail(f"error: {order.reference!r} is not at the carrier, so there is no label to ask for")
    if order.account not in settings.accounts:
        fail(f"error: account {order.account!r} is not configured", Exit.BAD_CONFIGURATION)
    await refuse_if_held(database, order.account)
    history = await read_history(database, order)
    claimed = ReturnOrder(
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
        outcome = await fetch_label(claimed, opened.carrier, open_label_store(settings.labels.store))
        if isinstance(outcome, Failed) and outcome.kind in TURNED_AWAY:
            hold = hold_after(outcome, await database_now(database), policy_of(settings, order.account))
            key = fingerprint_of(opened.key()) if hold.until is None else None
            await hold_account(database, order.account, hold, key)
    if not isinstance(outcome, LabelReady):
        fail(f"error: the label could not be fetched: {getattr(outcome, 'message', outcome)}")
    await replace_label(database, order.id, outcome.label)


def _file_name(row: LabelRow) -> str:
    return Path(row.location).name


def _write(content: bytes, output: str) -> None:
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        Path(output).write_bytes(content)
    except OSError as error:
        fail(f"error: cannot write {output}: {error.strerror}")
    say(f"written to {output}")


def print_history(history: History, console: Console | None = None) -> None:
    """One return for a reader: the row, its packages and labels, and every transition."""
    console = console or Console()
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for column in history.order.__table__.c:  # type: ignore[attr-defined]
        value = getattr(history.order, column.name)
        if column.name not in _INTERNAL and value not in (None, 0):
            facts.add_row(Text(column.name, style="dim"), Text(_text(value)))
    console.print(facts)
    for package in history.packages:
        known = (package.label_code, package.description, package.tracking_number, package.tracking_url)
        # Izipack's status names codes that its creation need not have had; ReturnPilot's shipments have numbers.
        console.print(Text(shown(f"package {package.position}: {' '.join(filter(None, known))}")), soft_wrap=True)
    for row in history.labels:
        console.print(
            Text(f"label {row.position}: {row.location} ({row.byte_count} bytes, {row.page_count} pages)"),
            soft_wrap=True,
        )
    print_table(
        ("observed at", "what", "from", "to", "carrier says", "reason"),
        [
            (row.observed_at, row.field, row.old_value, row.new_value, row.carrier_status, row.reason)
            for row in history.transitions
        ],
        console,
    )


def print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]], console: Console | None = None) -> None:
    """Rows for a reader; what a carrier or a shop wrote is never taken for markup.

    A terminal is never overrun; into a pipe each row is one whole line, for grep and awk.
    """
    console = console or Console()
    if not console.is_terminal:
        console = Console(width=_PIPED_WIDTH, file=console.file)
    table = Table(box=None, padding=(0, 2 if console.width >= 100 else 1, 0, 0), show_header=bool(rows))
    for name in header:
        overflow: OverflowMethod = "ellipsis" if name in _SHORT else "fold"
        table.add_column(name, overflow=overflow, no_wrap=name in _WHOLE, min_width=_LEAST.get(name))
    longest = [_LONGEST_REASON if name == "reason" else _LONGEST for name in header]
    for row in rows:
        table.add_row(
            *(Text("" if value is None else _text(value)[:most]) for value, most in zip(row, longest, strict=True))
        )
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return shown(str(value))


def _history_as_json(history: History) -> dict[str, Any]:
    return {
        **_plain(history.order),
        "packages": [_plain(row) for row in history.packages],
        "labels": [_plain(row) for row in history.labels],
        "transitions": [_plain(row) for row in history.transitions],
    }


def _plain(row: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    columns = [column.name for column in row.__table__.c if column.name not in without]
    values = {name: getattr(row, name) for name in columns}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
