"""Prints one return for a person: what it is, what it waits for, what can be done about it, and its history."""

from collections.abc import Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any

from rich.console import Console
from rich.text import Text

from worker.cli.output import pasted, quoted, say, shown
from worker.cli.printing import of_stdout, print_facts, print_table, text_of
from worker.domain.returns import Party
from worker.domain.waits import REASON, WaitsFor, next_steps
from worker.store.tables import LabelRow, PackageRow, ReturnOrderRow, StatusTransitionRow
from worker.usecases.show import LabelWay, ShownReturn
from worker.usecases.ways import Way

_FIRST = ("reference", "account", "state", "tracking_status", "carrier_status", "carrier_ref", "return_url")
_THEN = ("error_code", "error_message", "cancel_requested_at", "retry_requested_at", "created_at", "updated_at")
_WRAPPED = ("error_message", "label missing", "waits for", "until", "erased", "next")
_WAYS = {
    Way.FOUND: ("resolve", "--carrier-ref NUMBER", "when you found it at the carrier, under that number"),
    Way.NOT_CREATED: ("resolve", "--not-created", "when you looked, and it is not at the carrier: it is sent again"),
    Way.RETRY: ("retry", "", "does again what failed"),
    Way.POLL: ("poll", "", "asks the carrier now"),
    Way.CANCEL: ("cancel", "", "withdraws it"),
}


def say_if_archived(found: ShownReturn) -> None:
    """An archived return is shown as it was then."""
    if found.archived_at is not None:
        since = f"{found.archived_at:%Y-%m-%d %H:%M:%S} UTC"
        say(shown(f"note: {found.history.order.reference!r} was archived at {since}; this is how it was then"))


def way_on(reference: str, position: int, way: LabelWay, account: str | None = None) -> str:
    """The command that leads on where a label is missing."""
    of_account = _of_account(account)
    which = [*([f"--position {position}"] if position > 1 else []), *of_account]
    match way:
        case LabelWay.ACCEPT:
            takes = pasted("label", reference, *which, "--accept")
            shows = pasted("label", reference, *which, "--refetch --unchecked -o FILE")
            return f"`{takes}` takes what came as it is, `{shows}` shows it"
        case LabelWay.RETRY:
            return f"`{pasted('retry', reference, *of_account)}` has it sought again"
        case LabelWay.REFETCH:
            return f"`{pasted('label', reference, *which, '--refetch')}` asks for it now"


def print_return(
    found: ShownReturn, console: Console | None = None, *, account: str | None = None, internal: bool = False
) -> None:
    """One return for a reader: the row, who sends it to whom, its packages and labels, ways out, every transition.

    `account`: goes into the commands, where the reference alone does not tell. `internal`: the worker's own columns,
    too. What is there to be copied stands on one line, which the terminal may fold.
    """
    console, history, order = console or of_stdout(), found.history, found.history.order
    facts = _columns(order, _FIRST if order.carrier_ref is not None else (*_FIRST, "adopt_carrier_ref"))
    facts |= {name: _who(party) for name, party in found.parties.items()}
    facts |= {"pick-up day": found.pickup_date or ""}
    for package in history.packages:
        facts[f"package {package.position}"] = _package(package)
    for label in history.labels:
        facts[f"label {label.position}"] = _label(label)
        if label.removed_at is None:
            facts[f"get label {label.position}"] = _to_get(order.reference, label.position, account)
    facts |= _columns(order, _THEN) | dict(_conditions(found, account))
    if internal:
        names = [column.name for column in order.__table__.c if column.name not in (*_FIRST, *_THEN, "payload")]  # type: ignore[attr-defined]
        facts |= _columns(order, names)
    print_facts(console, {name: shown(value) for name, value in facts.items() if value}, wrapped=_WRAPPED)
    _print_ways(console, found, account)
    _print_history(console, list(history.transitions))


def _columns(order: ReturnOrderRow, names: Any) -> dict[str, str]:
    values = {name: getattr(order, name) for name in names}
    return {name: text_of(value) for name, value in values.items() if value not in (None, 0, "")}


def _conditions(found: ShownReturn, account: str | None) -> Iterator[tuple[str, str]]:
    """What no column says by itself: a missing label, what is waited for and until when, the archive, an erasure."""
    order = found.history.order
    if (missing := found.missing_label) is not None:
        since = "" if missing.since is None else f"since {_utc(missing.since)}: "
        way = way_on(order.reference, missing.position, missing.way, account)
        yield "label missing", f"{since}{missing.code}: {missing.message}; {way}"
    waits = found.waits_for
    if not found.is_configured and waits in (None, WaitsFor.WORKER_ABSENT):
        yield "waits for", f"its account: {order.account} is not configured here"
    elif waits is not None:
        yield "waits for", f"{waits}: {REASON[waits]}"
    if found.account_waits is not None and waits is not None:
        yield "until", found.account_waits
    if (coming := _next(order)) and found.archived_at is None:
        yield "next", coming
    if found.archived_at is not None:
        yield "archived", f"at {_utc(found.archived_at)}: nothing more is done about it"
    if order.erased_at is not None:
        kept = "reference, numbers, states and times are kept, and nothing more is done about it"
        yield "erased", f"its personal data was erased at {_utc(order.erased_at)}; {kept}"


def _next(order: ReturnOrderRow) -> str:
    return ", ".join(f"{what} at {_utc(when)}" for what, when in next_steps(order))


def _package(package: PackageRow) -> str:
    # Izipack's status names codes that its creation need not have had; ReturnPilot's shipments have numbers.
    known = (package.label_code, package.description, package.tracking_number, package.tracking_url)
    return " ".join(filter(None, known))


def _label(row: LabelRow) -> str:
    pages = "" if row.page_count is None else f", {row.page_count} {'page' if row.page_count == 1 else 'pages'}"
    gone = "" if row.removed_at is None else f"; its file was removed at {_utc(row.removed_at)}"
    return f"{row.location} ({row.media_type}, {row.byte_count} bytes{pages}){gone}"


def _to_get(reference: str, position: int, account: str | None) -> str:
    which = [f"--position {position}"] if position > 1 else []
    return pasted("label", reference, *which, *_of_account(account), "-o FILE")


def _of_account(account: str | None) -> list[str]:
    return [] if account is None else [f"--account {quoted(account)}"]


def _print_ways(console: Console, found: ShownReturn, account: str | None) -> None:
    if not found.ways:
        return
    console.print(Text("\nwhat you can do now", "dim"))
    for way in found.ways:
        name, option, remark = _WAYS[way]
        options = ([option] if option else []) + _of_account(account)
        console.print(Text(shown(f"  {pasted(name, found.history.order.reference, *options)}")), soft_wrap=True)
        console.print(Text.assemble(("      ", ""), (remark, "dim")))
    console.print()


def _print_history(console: Console, rows: list[StatusTransitionRow]) -> None:
    """A table into a pipe and on a wide terminal; else each line by itself, with its reason below, wrapped at words."""
    if not console.is_terminal or console.width >= _ROOM_FOR_A_TABLE:
        columns = attrgetter("observed_at", "field", "old_value", "new_value", "carrier_status", "reason")
        header = ("observed at", "what", "from", "to", "carrier says", "reason")
        print_table(header, [columns(row) for row in rows], console)
        return
    for row in rows:
        change = row.new_value if row.old_value in (None, row.new_value) else f"{row.old_value} -> {row.new_value}"
        said = f" ({row.carrier_status})" if row.carrier_status else ""
        facts = {text_of(row.observed_at): shown(f"{row.field}: {change}{said}")}
        if row.reason:
            facts[" "] = shown(row.reason)
        print_facts(console, facts, wrapped=(" ",))


_ROOM_FOR_A_TABLE = 120  # characters: with the columns of a change they leave a reason some forty


def _utc(moment: datetime) -> str:
    return f"{text_of(moment)} UTC"


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
