"""The commands that look at returns: list, show."""

import shlex
from operator import attrgetter
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from worker.cli.options import AccountOption, JsonOption, ReferenceArgument
from worker.cli.output import MOST, Exit, answer_json, fail, say, shown
from worker.cli.printing import print_list, print_table, text_of
from worker.cli.session import Session
from worker.domain.lifecycle import State
from worker.domain.returns import Party
from worker.settings import Settings
from worker.store.database import Database
from worker.store.upkeep.history import History, find_orders
from worker.usecases.show import LabelWay, ShownReturn, show_return

_INTERNAL = ("payload", "next_step", "lease_token", "shop_changes", "claims")  # `--json` has them
_IN_LIST = attrgetter("reference", "account", "state", "tracking_status", "carrier_status", "carrier_ref", "due_at")


def list_returns(
    context: typer.Context,
    state: Annotated[list[State] | None, typer.Option(help="Only these states; may be given several times.")] = None,
    account: AccountOption = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many, newest first.")] = 50,
    as_json: JsonOption = False,
    worklist: Annotated[
        bool, typer.Option("--worklist", help="Creations in doubt, oldest first, as CSV for `resolve --from`.")
    ] = False,
) -> None:
    """List returns, newest first."""
    if worklist:
        if as_json or set(state or ()) - {State.NEEDS_ATTENTION}:
            fail("error: --worklist is CSV of returns that need attention: it goes with no other --state", Exit.USAGE)
        from worker.cli.worklist import write_worklist  # noqa: PLC0415 - it imports the carriers, and a list does without

        write_worklist(context, account, limit)
        return

    async def work(settings: Settings, database: Database) -> None:
        orders = await find_orders(database, account=account, states=state or (), limit=limit)
        if account is not None and not orders and account not in settings.accounts:
            say(shown(f"account {account} is not configured here, and has no returns"))
        print_list(
            orders,
            ("reference", "account", "state", "tracking", "carrier says", "carrier ref", "due", "error"),
            lambda order: (*_IN_LIST(order), order.error_code or order.label_error_code),
            lambda order: _plain(order, without=("payload",)),
            as_json=as_json,
        )

    Session(context, only_to_read=True).call(work)


def show(
    context: typer.Context, reference: ReferenceArgument, account: AccountOption = None, as_json: JsonOption = False
) -> None:
    """Show one return with its whole history."""
    found = Session(context, only_to_read=True).call(show_return, reference, account)
    history, order = found.history, found.history.order
    say_if_archived(found)
    if history.payload_unreadable is not None:
        say(shown(f"note: its payload cannot be shown: {history.payload_unreadable}"))
    if as_json:
        answer_json(_as_json(history), indent=2)
        return
    print_return(found)
    if not found.is_configured:
        say(f"it waits: account {order.account!r} is not configured here")
    elif found.account_waits is not None:
        say(shown(f"account {order.account!r}: {found.account_waits}"))


def say_if_archived(found: ShownReturn) -> None:
    """An archived return is shown as it was then."""
    if found.archived_at is not None:
        since = f"{found.archived_at:%Y-%m-%d %H:%M:%S} UTC"
        say(shown(f"note: {found.history.order.reference!r} was archived at {since}; this is how it was then"))


def way_on(reference: str, position: int, way: LabelWay) -> str:
    """The command that leads on where a label is missing."""
    reference = shlex.quote(reference)
    command = f"returns-worker label {reference}" + (f" --position {position}" if position > 1 else "")
    match way:
        case LabelWay.ACCEPT:
            return f"`{command} --accept` takes what came as it is, `{command} --refetch --unchecked -o FILE` shows it"
        case LabelWay.RETRY:
            return f"`returns-worker retry {reference}` has it sought again"
        case LabelWay.REFETCH:
            return f"`{command} --refetch` asks for it now"


def print_return(found: ShownReturn, console: Console | None = None) -> None:
    """One return for a reader: the row, who sends it to whom, its packages and labels, and every transition.

    What is there to be copied stands on one line, which the terminal may wrap.
    """
    console, history, order = console or Console(), found.history, found.history.order
    facts = _plain(order, _INTERNAL)
    facts |= {name: _who(party) for name, party in found.parties.items()}
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        if value not in (None, 0, ""):
            console.print(Text.assemble((f"{name:{width}}", "dim"), text_of(value)), soft_wrap=True)
    for package in history.packages:
        known = (package.label_code, package.description, package.tracking_number, package.tracking_url)
        # Izipack's status names codes that its creation need not have had; ReturnPilot's shipments have numbers.
        console.print(Text(shown(f"package {package.position}: {' '.join(filter(None, known))}")), soft_wrap=True)
    for row in history.labels:
        pages = "" if row.page_count is None else f", {row.page_count} pages"
        line = f"label {row.position}: {row.location} ({row.media_type}, {row.byte_count} bytes{pages})"
        console.print(Text(shown(line)), soft_wrap=True)
    if (missing := found.missing_label) is not None:
        how_long = "" if missing.since is None else f" since {missing.since:%Y-%m-%d %H:%M:%S} UTC"
        why = f"{missing.code}: {missing.message}; {way_on(order.reference, missing.position, missing.way)}"
        console.print(Text(shown(f"label missing{how_long}: {why}")), soft_wrap=True)
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


def _as_json(history: History) -> dict[str, Any]:
    parts = {name: [_plain(row) for row in getattr(history, name)] for name in ("packages", "labels", "transitions")}
    return _plain(history.order) | parts


def _plain(row: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    columns = [column.name for column in row.__table__.c if column.name not in without]
    return {name: getattr(row, name) for name in columns}
