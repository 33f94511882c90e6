"""The commands that look at returns: list, show."""

import json
import shlex
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console, OverflowMethod
from rich.table import Table
from rich.text import Text

from worker.cli.context import logs_for, opened_database, run, settings_of, the_return
from worker.cli.talk import MOST, answer, fail, say, shown
from worker.domain.errors import SET_ASIDE, ErrorCode
from worker.domain.lifecycle import State
from worker.domain.payload import read_parties
from worker.domain.returns import Party
from worker.store.archive import Archived
from worker.store.database import Database
from worker.store.holds import NOTHING, describe, explain, read_accounts
from worker.store.queries import History, find_orders, read_history
from worker.store.tables import ReturnOrderRow

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
            history = await history_of(database, await the_return(database, reference, account))
            state = (await read_accounts(database)).get(history.order.account)
        if history.payload_unreadable is not None:
            say(shown(f"note: its payload cannot be shown: {history.payload_unreadable}"))
        if as_json:
            answer(json.dumps(_history_as_json(history), indent=2))
            return
        print_history(history)
        if settings.accounts and history.order.account not in settings.accounts:
            say(f"it waits: account {history.order.account!r} is not configured here")
        elif state is not None and describe(state) != NOTHING and history.order.due_at is not None:
            say(shown(f"account {history.order.account!r}: {explain(state)}"))

    run(work)


async def history_of(database: Database, found: ReturnOrderRow | Archived) -> History:
    """All of a return; of an archived one as it was then, which is said."""
    if isinstance(found, ReturnOrderRow):
        return await read_history(database, found)
    since = f"{found.archived_at:%Y-%m-%d %H:%M:%S} UTC"
    if found.unreadable is not None:
        fail(
            shown(
                f"error: {found.reference!r} was archived at {since}; its document cannot be read: {found.unreadable}"
            )
        )
    if found.history is None:
        fail(shown(f"error: {found.reference!r} was archived at {since}, and its document emptied since"))
    say(shown(f"note: {found.reference!r} was archived at {since}; this is how it was then"))
    return found.history


def way_on(order: ReturnOrderRow, position: int, code: str) -> str:
    """The command that leads on where a label is missing for this reason."""
    reference = shlex.quote(order.reference)
    command = f"returns-worker label {reference}" + (f" --position {position}" if position > 1 else "")
    if code == ErrorCode.LABEL_UNUSABLE:
        return f"`{command} --accept` takes what came as it is, `{command} --refetch --unchecked -o FILE` shows it"
    if code in SET_ASIDE and order.state == State.TRACKING:
        return f"`returns-worker retry {reference}` has it sought again"
    return f"`{command} --refetch` asks for it now"


def print_history(history: History, console: Console | None = None) -> None:
    """One return for a reader: the row, who sends it to whom, its packages and labels, and every transition.

    Whatever is to be copied stands on one line, which is left to the terminal to wrap.
    """
    console = console or Console()
    columns = history.order.__table__.c  # type: ignore[attr-defined]
    facts = {column.name: getattr(history.order, column.name) for column in columns if column.name not in _INTERNAL}
    parties = zip(("customer", "receiver"), read_parties(history.order.payload or {}), strict=True)
    facts |= {name: _who(party) for name, party in parties if party is not None}
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        if value not in (None, 0, ""):
            console.print(Text.assemble((f"{name:{width}}", "dim"), _text(value)), soft_wrap=True)
    for package in history.packages:
        known = (package.label_code, package.description, package.tracking_number, package.tracking_url)
        # Izipack's status names codes that its creation need not have had; ReturnPilot's shipments have numbers.
        console.print(Text(shown(f"package {package.position}: {' '.join(filter(None, known))}")), soft_wrap=True)
    for row in history.labels:
        pages = "" if row.page_count is None else f", {row.page_count} pages"
        line = f"label {row.position}: {row.location} ({row.media_type}, {row.byte_count} bytes{pages})"
        console.print(Text(shown(line)), soft_wrap=True)
    if (missing := _missing_label(history)) is not None:
        console.print(Text(shown(missing)), soft_wrap=True)
    print_table(
        ("observed at", "what", "from", "to", "carrier says", "reason"),
        [
            (row.observed_at, row.field, row.old_value, row.new_value, row.carrier_status, row.reason)
            for row in history.transitions
        ],
        console,
    )


def _who(party: Party) -> str:
    address = party.address
    parts = (
        party.name,
        f"{address.street} {address.house_number}".strip(),
        address.line_2,
        f"{address.postal_code} {address.city}".strip(),
        address.region,
        address.country,
        party.email,
        party.phone,
    )
    return ", ".join(filter(None, parts))


def _missing_label(history: History) -> str | None:
    order, code = history.order, history.order.label_error_code
    if order.state not in (State.TRACKING, State.COMPLETED) or code is None:
        return None
    stored = {row.position for row in history.labels}
    position = next((each.position for each in history.packages if each.position not in stored), 1)
    since = order.label_sought_since  # None where it is no longer sought
    how_long = "" if since is None else f" since {since:%Y-%m-%d %H:%M:%S} UTC"
    return f"label missing{how_long}: {code}: {order.label_error_message}; {way_on(order, position, code)}"


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
