"""The commands that look at returns: list, show."""

from operator import attrgetter
from typing import Annotated

import typer

from worker.cli.options import AccountOption, JsonOption, ReferenceArgument, StateFilter, duration_of
from worker.cli.output import MOST, Exit, answer_json, fail, say, shown
from worker.cli.printing import print_list
from worker.cli.session import Session
from worker.cli.shown_return import print_return, say_if_archived
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.domain.tracking import TrackingStatus
from worker.settings import Settings
from worker.store.database import Database
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.history import find_orders
from worker.usecases.for_programs import listed, shown_return
from worker.usecases.show import show_to_person

_IN_LIST = attrgetter("reference", "account", "state", "tracking_status", "carrier_status", "carrier_ref", "due_at")


def list_returns(
    context: typer.Context,
    state: StateFilter = None,
    account: AccountOption = None,
    error_code: Annotated[
        str | None, typer.Option("--error-code", help="Only with this error code, its own or its label's.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Only last changed so long ago, such as 2h.")
    ] = None,
    tracking: Annotated[
        list[TrackingStatus] | None,
        typer.Option(
            metavar="STATUS",
            help=f"Only these: {', '.join(TrackingStatus)}; may be given several times.",
        ),
    ] = None,
    no_label: Annotated[
        bool, typer.Option("--no-label", help="Only what is at the carrier, or was, and never had a label.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="At most so many, newest first.")] = 50,
    as_json: JsonOption = False,
    worklist: Annotated[
        bool, typer.Option("--worklist", help="Creations in doubt, oldest first, as CSV for `resolve --from`.")
    ] = False,
) -> None:
    """List returns, newest first."""
    if worklist:
        if as_json or set(state or ()) - {State.NEEDS_ATTENTION} or error_code or older_than or tracking or no_label:
            fail("error: --worklist is CSV of returns that need attention: it goes with no other filter", Exit.USAGE)
        from worker.cli.worklist import write_worklist  # noqa: PLC0415 - it imports the carriers, and a list does without

        write_worklist(context, account, limit)
        return
    if error_code is not None and error_code not in list(ErrorCode):
        fail(shown(f"error: --error-code: there is no {error_code!r}; there is {', '.join(ErrorCode)}"), Exit.USAGE)
    changed_before = duration_of("--older-than", older_than)

    async def work(settings: Settings, database: Database) -> None:
        orders = await find_orders(
            database,
            account=account,
            states=state or (),
            limit=limit,
            error_code=error_code,
            older_than=changed_before,
            tracking=tracking or (),
            no_label=no_label,
        )
        if account is not None and not orders and account not in settings.accounts:
            say(shown(f"account {account} is not configured here, and has no returns"))
        elif not orders and not as_json:
            say("there is no such return")
        # What is asked for by a column that is not always there is shown.
        more = {"updated": "updated_at"} if older_than is not None else {}
        more |= {"no label since": "label_sought_since"} if no_label else {}
        print_list(
            orders,
            ("reference", "account", "state", "tracking", "carrier says", "carrier ref", "due", *more, "error"),
            lambda order: (*_IN_LIST(order), *(getattr(order, name) for name in more.values()), _error_of(order)),
            listed,
            as_json=as_json,
        )

    Session(context, only_to_read=True).call(work)


def show(
    context: typer.Context,
    reference: ReferenceArgument,
    account: AccountOption = None,
    internal: Annotated[bool, typer.Option("--all", help="The worker's own columns too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one return with its whole history: what it waits for, and what can be done about it now."""
    found = Session(context, only_to_read=True).call(show_to_person, reference, account)
    history = found.history
    say_if_archived(found)
    if history.payload_unreadable is not None:
        say(shown(f"note: its payload cannot be shown: {history.payload_unreadable}"))
    if as_json:
        answer_json(shown_return(found), indent=2)
        return
    print_return(found, account=account, internal=internal)


def _error_of(order: ReturnOrderRow) -> str | None:
    return order.error_code or order.label_error_code
