"""The commands that show how each subscriber to changes stands, and those that do something to one."""

import sys
from dataclasses import asdict
from typing import Annotated, Any

import structlog
import typer

from worker.cli.options import AccountFilter, ByOption, JsonOption, duration_of, person_of
from worker.cli.output import Exit, fail, say, shown
from worker.cli.printing import print_list
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.domain.by_hand import Person
from worker.settings import Settings
from worker.store.database import Database
from worker.store.upkeep.replays import Repeated
from worker.store.upkeep.webhooks import SubscriberState
from worker.usecases import webhooks as usecase

log = structlog.get_logger()

webhooks = typer.Typer(
    help="Show who is told of changes, test, hold, release, replay or retire one.",
    add_completion=False,
    invoke_without_command=True,
)

SubscriberArgument = Annotated[str, typer.Argument(help="The subscriber's name.", metavar="NAME")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it goes into the log.")]


@webhooks.callback()
def show_webhooks(context: typer.Context, as_json: JsonOption = False) -> None:
    """Show who is told of changes, webhooks and tables, what waits for each, and why."""
    if context.invoked_subcommand is not None:
        return
    print_list(
        Session(context, only_to_read=True).call(usecase.read_standings),
        ("subscriber", "kind", "waiting", "oldest", "given up", "sent by", "waits for"),
        _row,
        asdict,
        as_json=as_json,
    )


def _row(each: usecase.Standing) -> tuple[Any, ...]:
    return (
        *(each.subscriber, each.kind, usecase.count_in_short(each.waiting), each.oldest_at),
        *(usecase.count_in_short(each.given_up), each.sent_by, each.waits_for),
    )


@webhooks.command("test")
def test(context: typer.Context, name: SubscriberArgument) -> None:
    """Send one event of type `test` to this webhook now, as configured here, and say what came back.

    Nothing is written down, and a hold or an open circuit is not asked about.
    """
    from worker.usecases.try_webhook import try_webhook  # noqa: PLC0415 - the others do without HTTP

    tried = Session(context).call_without_database(try_webhook, name)
    told = f"{name}: {tried.said}, after {tried.seconds:.1f} s"
    if not tried.is_delivered:
        fail(shown(told))
    say(shown(told))


@webhooks.command("hold")
def hold(
    context: typer.Context,
    name: SubscriberArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; `webhooks` says so.")] = "",
    by: ByOption = None,
) -> None:
    """Send nothing to this webhook, from any worker, until it is released; its events wait."""
    person = person_of(by, reason)
    held = Session(context).call(usecase.hold, name, person)
    say(shown(f"{name}: {usecase.explain(held)}"))
    _log("held", name, person)


@webhooks.command("release")
def release(context: typer.Context, name: SubscriberArgument, reason: ReasonOption = "", by: ByOption = None) -> None:
    """End whatever keeps this webhook waiting: a hold, a 410, a rest, an open circuit. What waits is tried now.

    It begins with one event, and goes on as they arrive.
    """
    say(shown(usecase.explain_release(Session(context).call(usecase.release, name))))
    _log("released", name, person_of(by, reason))


@webhooks.command("replay")
def replay(
    context: typer.Context,
    name: SubscriberArgument,
    references: Annotated[
        list[str] | None, typer.Argument(help="All that happened to these returns.", metavar="REFERENCE")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="All that happened within this time, as 2d.")] = None,
    missed: Annotated[bool, typer.Option("--missed", help="What was given up.")] = False,
    account: AccountFilter = None,
    reason: ReasonOption = "",
    by: ByOption = None,
) -> None:
    """Tell a subscriber once more what happened, with the ids and positions of the first time.

    What still waits is not doubled. Archived returns are found, too.
    """
    said = [bool(references), since is not None, missed].count(True)
    if said != 1:
        fail(f"error: say {'one of them alone' if said else 'what'}: REFERENCEs, --since or --missed", Exit.USAGE)
    age, person = duration_of("--since", since), person_of(by, reason)
    if age is not None and not age:
        fail("error: --since: must be longer than nothing", Exit.USAGE)

    async def work(settings: Settings, database: Database) -> Repeated:
        with progress("looking through returns" if age is not None else "repeating") as tell:
            if age is not None:
                return await usecase.replay_since(settings, database, name, age, account, tell)
            if references:
                return await usecase.replay_returns(settings, database, name, references, account)
            return await usecase.replay_missed(settings, database, name, account, tell)

    done = Session(context).call(work)
    left = f"; {done.waiting} had not been sent yet, and wait as before" if done.waiting else ""
    say(shown(f"{done.events} events wait for {name} once more{left}"))
    _log("replayed", name, person, events=done.events)


@webhooks.command("retire")
def retire(
    context: typer.Context,
    name: SubscriberArgument,
    force: Annotated[bool, typer.Option("--force", help="Also while a worker that runs serves it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: ReasonOption = "",
    by: ByOption = None,
) -> None:
    """Remove a subscriber, webhook or table, with all that waits for it, for good.

    First remove it from every worker's configuration and restart them: a worker that starts with it registers it again.
    """
    person = person_of(by, reason)

    async def work(settings: Settings, database: Database) -> int:
        subscriber = await usecase.retirable(settings, database, name, force=force)
        if subscriber is not None:
            _ask(subscriber, yes=yes)
        with progress("removing events") as tell:
            return await usecase.retire(database, name, tell)

    count = Session(context).call(work)
    say(shown(f"{name} is removed, with {count} {'event' if count == 1 else 'events'}"))
    _log("retired", name, person, events=count)


def _ask(subscriber: SubscriberState, *, yes: bool) -> None:
    waiting, missed = usecase.count_of(subscriber.waiting), usecase.count_of(subscriber.missed)
    what = f"{subscriber.name}, with {waiting} that wait for it" + (f" and {missed} given up" * bool(subscriber.missed))
    if yes:
        return
    if not sys.stdin.isatty():
        fail(shown(f"error: {what}, would be removed for good: say --yes"), Exit.USAGE)
    if not typer.confirm(shown(f"Remove {what}, for good?"), err=True):
        fail("nothing was removed")


def _log(did: str, name: str, person: Person, **more: int) -> None:
    """Who did it: a subscriber has no history of its own."""
    log.info("subscriber_changed", subscriber=name, did=did, by=person.name, reason=person.reason, **more)
