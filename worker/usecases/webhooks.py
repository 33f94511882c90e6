"""How each subscriber to changes stands; and what a person does to one: hold, release, retire, replay."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from worker.domain.by_hand import Person
from worker.domain.news import SubscriberKind
from worker.settings import Settings
from worker.settings.durations import format_duration
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.outbox import MOST_COUNTED
from worker.store.tables import ReturnOrderRow
from worker.store.upkeep.archive import Archived, archived_since
from worker.store.upkeep.history import History
from worker.store.upkeep.replays import Repeated, Span, changed_since, repeat_archived, repeat_live, repeat_missed
from worker.store.upkeep.webhooks import (
    TABLES,
    SubscriberState,
    forget_subscriber,
    hold_subscriber,
    is_anything_left,
    read_subscribers,
    release_subscriber,
    remove_some,
)
from worker.usecases.find import find_anywhere
from worker.usecases.not_done import NoSuchSubscriber, NotDone, WrongRequest, capped, require_utf8

Tell = Callable[[int, int | None], None]
"""Told how much is done, and of how much; None: that is not known."""

_RETURNS = 100  # in a transaction
_DOCUMENTS = 20  # of archived returns at once: each may be large
_MISSED = 500  # events in a transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscriber, and what it waits for; the counts end at `MOST_COUNTED`."""

    subscriber: str
    kind: str
    waiting: int
    oldest_at: datetime | None
    given_up: int
    given_up_since: datetime | None
    sent_by: str | None
    workers: int  # that live and serve it
    waits_for: str
    last_error: str | None = None
    held_until: datetime | None = None  # None also: until it is released
    hold_code: str | None = None
    circuit_open_until: datetime | None = None
    failures: int = 0
    is_registered: bool = True  # by a worker, so that it is told at all


async def read_standings(settings: Settings, database: Database) -> list[Standing]:
    """Each subscriber that a worker has registered, or that is configured here."""
    known = await read_subscribers(database)
    names = sorted({*known, *settings.news})
    return [standing_of(known[name]) if name in known else _unregistered(settings, name) for name in names]


def _unregistered(settings: Settings, name: str) -> Standing:
    waits = "a worker that is started with it: until then it is told of nothing"
    return Standing(name, settings.news[name].kind, 0, None, 0, None, None, 0, waits, is_registered=False)


def standing_of(subscriber: SubscriberState) -> Standing:
    """How one stands whom a worker has registered."""
    hold, circuit = subscriber.hold, subscriber.circuit
    return Standing(
        subscriber=subscriber.name,
        kind=subscriber.kind,
        waiting=subscriber.waiting,
        oldest_at=subscriber.oldest_at,
        given_up=subscriber.missed,
        given_up_since=subscriber.missed_since,
        sent_by=subscriber.sender,
        workers=subscriber.workers,
        waits_for=explain(subscriber),
        last_error=subscriber.last_error,
        held_until=hold.until if hold is not None else None,
        hold_code=hold.code if hold is not None else None,
        circuit_open_until=circuit.open_until,
        failures=circuit.failures,
    )


def explain(subscriber: SubscriberState) -> str:
    """What keeps its events waiting, and what ends that; "ok": nothing."""
    return "; ".join(_waits(subscriber)) or "ok"


def explain_release(subscriber: SubscriberState) -> str:
    """What follows from a release; the last failure is of before, and says nothing of the try that comes."""
    waiting = f"{count_of(subscriber.waiting)} {'waits' if subscriber.waiting == 1 else 'wait'}"
    if subscriber.workers and subscriber.waiting:
        waiting += ", and is tried now" if subscriber.waiting == 1 else ", and are tried now"
    return f"{subscriber.name} is released: " + "; ".join([waiting, *_waits(replace(subscriber, last_error=None))])


def _waits(subscriber: SubscriberState) -> Iterator[str]:
    name, hold, circuit = subscriber.name, subscriber.hold, subscriber.circuit
    if not subscriber.workers:
        yield (
            f"no worker serves it: start one with [news.{name}], or `returns-worker webhooks retire {name}` removes it"
        )
    if hold is not None and hold.until is not None:
        yield f"rests until {hold.until:%Y-%m-%d %H:%M:%S} UTC, as it asked for ({hold.message})"
    elif hold is not None:
        yield f"held ({hold.code}: {hold.message}) until `returns-worker webhooks release {name}`"
    if circuit.is_open(subscriber.now):
        times = f"after {circuit.failures} failures in a row"
        yield f"left alone until {circuit.open_until:%Y-%m-%d %H:%M:%S} UTC {times}, then one event is tried"
    elif not circuit.is_closed:
        yield f"one event at a time is tried after {circuit.failures} failures in a row"
    if subscriber.missed:
        since = f" since {subscriber.missed_since:%Y-%m-%d %H:%M:%S} UTC" if subscriber.missed_since else ""
        again = f"`returns-worker webhooks replay {name} --missed` sends them once more"
        yield f"{count_of(subscriber.missed)} given up{since}: {again}"
    if subscriber.last_error:
        yield f"last failure: {subscriber.last_error}"


def count_of(events: int) -> str:
    """So many events, in words; what was counted only so far is "or more"."""
    if events >= MOST_COUNTED:
        return f"{MOST_COUNTED} events or more"
    return f"{events} {'event' if events == 1 else 'events'}"


def count_in_short(events: int) -> str:
    """The same in a table: `10000+`."""
    return f"{events}+" if events >= MOST_COUNTED else str(events)


async def hold(settings: Settings, database: Database, name: str, person: Person) -> SubscriberState:
    """Send nothing to a webhook until it is released."""
    await require_webhook(settings, database, name)
    await hold_subscriber(database, name, person.by)
    return await _registered(settings, database, name)


async def release(settings: Settings, database: Database, name: str) -> SubscriberState:
    """End whatever keeps a webhook waiting; what waits is tried now, beginning with one."""
    await require_webhook(settings, database, name)
    await release_subscriber(database, name)
    return await _registered(settings, database, name)


async def retirable(settings: Settings, database: Database, name: str, *, force: bool) -> SubscriberState | None:
    """A subscriber that may be removed; None: it was removed, and left some that waits. Raises `NotDone`."""
    known = await read_subscribers(database)
    if name not in known and await is_anything_left(database, name):
        return None
    subscriber = await _registered(settings, database, name)
    if subscriber.workers and not force:
        raise NotDone(
            f"a worker that runs serves {name}, and registers it again when it starts: remove [news.{name}] from every"
            " worker's configuration and restart them, then retire it; or say --force"
        )
    return subscriber


async def retire(database: Database, name: str, tell: Tell = lambda done, total: None) -> int:
    """Remove a subscriber with all that waits for it or was given up; returns how many events that were."""
    await forget_subscriber(database, name)  # first: no event is written for it any more
    count = 0
    for table in TABLES:
        while removed := await remove_some(database, table, name):
            count += removed
            tell(count, None)
    return count


async def replay_since(
    settings: Settings,
    database: Database,
    name: str,
    age: timedelta,
    account: str | None,
    tell: Tell = lambda done, total: None,
) -> Repeated:
    """Tell a subscriber once more all that happened within `age`, the returns in the order of their ids."""
    subscriber, now = await _told_of(settings, database, name, account), await database_now(database)
    if subscriber.kind is SubscriberKind.TABLE and age > subscriber.keep:
        raise NotDone(
            f"{name} keeps events for {format_duration(subscriber.keep)}: what happened before would be dropped again,"
            f" read or not; say less, or raise news.{name}.keep, restart the workers, and repeat it then"
        )
    span, done, last, newest = Span(now - age, now), Repeated(), 0, 1
    while last < newest:
        ids, upto, newest = await changed_since(database, now - age, last)
        for start in range(0, len(ids), _RETURNS):
            some = ids[start : start + _RETURNS]
            done += await repeat_live(database, subscriber, some, span)
            tell(some[-1], newest)
        last = upto
    last = 0
    while archived := await archived_since(database, now - age, last, _DOCUMENTS):
        done += await repeat_archived(database, subscriber, _readable(archived), span)
        last = archived[-1].id
        tell(done.events, None)
    return done


async def replay_returns(
    settings: Settings, database: Database, name: str, references: Sequence[str], account: str | None
) -> Repeated:
    """Tell a subscriber once more the whole history of these returns; raises `NotDone` before anything is done."""
    subscriber = await _told_of(settings, database, name, account)
    found = [await find_anywhere(database, reference, account) for reference in dict.fromkeys(references)]
    others = [each.reference for each in found if subscriber.accounts and each.account not in subscriber.accounts]
    if others:
        raise WrongRequest(f"{name} is not told of the accounts of {', '.join(capped(others))}")
    unreadable = [each.reference for each in found if isinstance(each, Archived) and each.history is None]
    if unreadable:
        raise NotDone(f"what the archive has of {', '.join(capped(unreadable))} cannot be read; `show` says why")
    span, done = Span(None, await database_now(database)), Repeated()
    live = [each.id for each in found if isinstance(each, ReturnOrderRow)]
    for start in range(0, len(live), _RETURNS):
        done += await repeat_live(database, subscriber, live[start : start + _RETURNS], span)
    archived = _readable([each for each in found if isinstance(each, Archived)])
    return done + await repeat_archived(database, subscriber, archived, span)


async def replay_missed(
    settings: Settings, database: Database, name: str, account: str | None, tell: Tell = lambda done, total: None
) -> Repeated:
    """Send a webhook once more, as they were, the events that were given up."""
    subscriber = await _told_of(settings, database, name, account)
    if subscriber.kind is not SubscriberKind.WEBHOOK:
        raise WrongRequest(f"{name} is a table: nothing of it is ever given up; --since repeats the history")
    now, done = await database_now(database), Repeated()
    while (some := await repeat_missed(database, subscriber, account, now, _MISSED)) != Repeated():
        done += some
        tell(done.events, None)
    return done


def _readable(some: Sequence[Archived]) -> list[History]:
    return [each.history for each in some if each.history is not None]


async def _registered(settings: Settings, database: Database, name: str) -> SubscriberState:
    require_utf8(name)
    known = await read_subscribers(database)
    if name not in known:
        if name in settings.news:
            raise NotDone(f"no worker has been started with [news.{name}] so far: start one, which registers it")
        raise NoSuchSubscriber(name, known)
    return known[name]


async def require_webhook(settings: Settings, database: Database, name: str) -> SubscriberState:
    """How it goes with a webhook that a worker has registered; raises `NotDone` where it is none."""
    subscriber = await _registered(settings, database, name)
    if subscriber.kind is not SubscriberKind.WEBHOOK:
        raise WrongRequest(f"{name}: a table is not sent to, so it is never held: the shop reads it by itself")
    return subscriber


async def _told_of(settings: Settings, database: Database, name: str, account: str | None) -> SubscriberState:
    require_utf8(account or "")
    subscriber = await _registered(settings, database, name)
    if account is not None and subscriber.accounts and account not in subscriber.accounts:
        raise WrongRequest(f"{name} is not told of account {account!r}")
    return subscriber if account is None else replace(subscriber, accounts=(account,))
