"""The commands that show how each account stands, hold one, and release it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from worker.cli.context import logs_for, opened_database, run, settings_of
from worker.cli.inspect import JsonOption, NameArgument, print_table
from worker.cli.leaving import rename, retire
from worker.cli.person import ByOption, duration_of, person_of
from worker.cli.talk import Exit, answer, fail, say, shown
from worker.domain.lifecycle import State
from worker.settings import Settings
from worker.store.accounts import database_now, register_accounts
from worker.store.database import Database
from worker.store.holds import AccountState, explain, hold_by_hand, hold_creations, read_accounts, release_by_hand
from worker.store.queries import Backlog, read_backlog

accounts = typer.Typer(
    help="Show what each account waits for, hold one, release it.", add_completion=False, invoke_without_command=True
)


@dataclass(frozen=True, slots=True)
class _Line:
    """What is shown of one account; `rate_per_minute` None where it is not configured here."""

    account: str
    carrier: str | None
    rate_per_minute: int | None
    pending: int
    tracking: int
    due: int
    waits_for: str
    held_until: str | None = None
    hold_code: str | None = None
    creations_held: bool = False
    circuit_open_until: str | None = None
    create_circuit_open_until: str | None = None


@accounts.callback()
def show_accounts(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show what each account waits for, and why."""
    if context.invoked_subcommand is not None:
        return

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings, only_to_read=True) as database:
            states, backlog = await read_accounts(database), await read_backlog(database)
        names = list(dict.fromkeys((*settings.accounts, *states, *sorted({row.account for row in backlog}))))
        lines = [_line(settings, name, states.get(name), backlog) for name in names]
        if as_json:
            for line in lines:
                answer(json.dumps({name: getattr(line, name) for name in _Line.__slots__}))
            return
        print_table(
            ("account", "carrier", "limit/min", "pending", "tracking", "due", "waits for"),
            [
                (
                    line.account,
                    line.carrier or "not configured here",
                    "none" if line.rate_per_minute == 0 else line.rate_per_minute,
                    *(line.pending, line.tracking, line.due, line.waits_for),
                )
                for line in lines
            ],
        )

    run(work)


@accounts.command("hold")
def hold(
    context: typer.Context,
    name: NameArgument,
    no_create: Annotated[
        bool, typer.Option("--no-create", help="Hold only its creations; what it has at the carrier is followed on.")
    ] = False,
    lasting: Annotated[str | None, typer.Option("--for", help="For so long, such as 2h; else until released.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why; `accounts`, `check` and `show` say so.")] = "",
    by: ByOption = None,
) -> None:
    """Ask nothing, or only create nothing, on this account, in any worker; calls under way end as they do."""
    duration = duration_of("--for", lasting)
    if no_create and duration is not None:
        fail("error: --for is for the whole account; creations are held until they are released", Exit.USAGE)
    if duration is not None and not duration:
        fail("error: --for: must be longer than nothing; `accounts release` ends a hold", Exit.USAGE)
    person = person_of(by, reason)
    message = f"by {person.name}" + (f": {person.reason}" if person.reason else "")

    async def change(database: Database) -> None:
        if no_create:
            await hold_creations(database, name, message)
            return
        until = await database_now(database) + duration if duration is not None else None
        await hold_by_hand(database, name, until, message)

    _change(context, name, change)


@accounts.command("release")
def release(context: typer.Context, name: NameArgument) -> None:
    """End every hold of this account and close its circuits; what is still wrong shows at the next call."""

    async def change(database: Database) -> None:
        await release_by_hand(database, name)

    _change(context, name, change)


accounts.command("rename")(rename)
accounts.command("retire")(retire)


def _change(context: typer.Context, name: str, change: Callable[[Database], Awaitable[None]]) -> None:
    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        async with opened_database(settings) as database:
            if name in settings.accounts:
                await register_accounts(database, [name])
            elif name not in await read_accounts(database):
                known = ", ".join(settings.accounts) or "none configured"
                fail(f"error: there is no account {shown(name)!r}; there is {known}", Exit.USAGE)
            await change(database)
            state = (await read_accounts(database))[name]
        say(shown(f"account {name}: {explain(state)}"))

    run(work)


def _line(settings: Settings, name: str, state: AccountState | None, backlog: Sequence[Backlog]) -> _Line:
    configured, rows = settings.accounts.get(name), [row for row in backlog if row.account == name]
    return _Line(
        account=name,
        carrier=configured.carrier if configured else None,
        rate_per_minute=configured.requests_per_minute if configured else None,
        pending=sum(row.count for row in rows if row.state == State.PENDING),
        tracking=sum(row.count for row in rows if row.state == State.TRACKING),
        due=sum(row.due for row in rows),
        waits_for="its configuration" if configured is None else explain(state) if state is not None else "ok",
        **(_for_scripts(state) if state is not None else {}),
    )


def _for_scripts(state: AccountState) -> dict[str, Any]:
    hold, health = state.hold, state.health
    return {
        "held_until": _iso(hold.until) if hold is not None and not hold.is_endless else None,
        "hold_code": hold.code if hold is not None else None,
        "creations_held": state.create_hold_message is not None,
        "circuit_open_until": _iso(health.account.open_until),
        "create_circuit_open_until": _iso(health.creations.open_until),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
