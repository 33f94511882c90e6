"""The command that shows the carrier's words seen so far, and reads followed returns by a map that has changed."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import typer

from worker.carriers.registry import CARRIERS, CarrierKind
from worker.cli.context import logs_for, opened_database, run, settings_of
from worker.cli.inspect import JsonOption, print_table
from worker.cli.person import ByOption, ReasonOption, owner_of_command, person_of
from worker.cli.talk import Exit, answer, fail, say, shown
from worker.cli.ways_out import DryRunOption, policies_of
from worker.configured import map_of
from worker.domain.decision import Decision
from worker.domain.tracking import TrackingStatus
from worker.domain.ways_out import Person, remapped
from worker.engine.by_hand import Desk, Settled
from worker.settings import Settings
from worker.store.database import Database
from worker.store.words import SeenWord, read_followed, read_words


@dataclass(frozen=True, slots=True)
class _Word:
    """A line of what is shown; `mapped_to` None: nothing maps it, and it is read as `unknown`."""

    account: str
    word: str
    returns: int
    changes: int
    last_seen: datetime
    mapped_to: TrackingStatus | None


def statuses(
    context: typer.Context,
    account: Annotated[str | None, typer.Option("--account", help="Only this account.")] = None,
    remap: Annotated[
        bool, typer.Option("--remap", help="Read the returns that are still followed by the map as it is now.")
    ] = False,
    reason: ReasonOption = "",
    by: ByOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the carrier's words seen so far, how often, and what they are mapped to."""

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        if remap and as_json:
            fail("error: --json is for the list of words, not for --remap", Exit.USAGE)
        if dry_run and not remap:
            fail("error: --dry-run is for --remap", Exit.USAGE)
        if account is not None and account not in settings.accounts:
            fail(f"error: there is no account {shown(account)!r}; there is {', '.join(settings.accounts)}", Exit.USAGE)
        async with opened_database(settings, only_to_read=not remap) as database:
            if remap:
                await _remap(settings, database, account, person_of(by, reason), dry_run=dry_run)
                return
            words = await read_words(database)
        _show([each for each in _mapped(settings, words) if account in (None, each.account)], as_json=as_json)

    run(work)


def _mapped(settings: Settings, seen: Sequence[SeenWord]) -> Iterator[_Word]:
    """One line for each word; what a carrier says of several shipments at once is taken apart."""
    lines: dict[tuple[str, str], _Word] = {}
    maps = {name: map_of(settings, name) for name in settings.accounts}
    for each in seen:
        mapped = maps.get(each.account)
        split = _kind(settings, each.account).words if mapped is not None else (lambda word: (word,))
        for word in dict.fromkeys(split(each.carrier_status)):
            means = mapped.read(word) if mapped is not None and mapped.maps(word) else None
            line = _Word(each.account, word, each.returns, each.changes, each.last_seen, means)
            before = lines.get((each.account, word))
            lines[each.account, word] = line if before is None else _added(before, line)
    yield from lines.values()


def _added(one: _Word, other: _Word) -> _Word:
    """Of one word in two combinations; a return that had both is counted twice."""
    return _Word(
        one.account,
        one.word,
        one.returns + other.returns,
        one.changes + other.changes,
        max(one.last_seen, other.last_seen),
        one.mapped_to,
    )


def _show(words: Sequence[_Word], *, as_json: bool) -> None:
    if as_json:
        for each in words:
            answer(json.dumps(asdict(each) | {"last_seen": each.last_seen.isoformat()}))
        return
    print_table(
        ("account", "carrier says", "returns", "seen", "last seen", "mapped to"),
        [
            (each.account, each.word, each.returns, each.changes, each.last_seen, each.mapped_to or "nothing: unknown")
            for each in words
        ],
    )
    unmapped = [each for each in words if each.mapped_to is None]
    if not words:
        say("no carrier has said a word yet")
    for name in dict.fromkeys(each.account for each in unmapped):
        say(f"\nnot mapped yet; find out what they mean, and add them under [accounts.{shown(name)}.status_map]:")
        for each in unmapped:
            if each.account == name:
                say(f"  {shown(json.dumps(each.word, ensure_ascii=False))} = ...")


async def _remap(settings: Settings, database: Database, account: str | None, person: Person, *, dry_run: bool) -> None:
    desk = Desk(database, person, policies_of(settings), owner_of_command())
    changed = 0
    for name in [account] if account is not None else sorted(settings.accounts):
        meanings = _meanings_of(settings, name)
        ids = [
            each.id
            for each in await read_followed(database, name)
            if each.tracking_status not in meanings(each.carrier_status)
        ]
        changed += _tell(await (desk.preview if dry_run else desk.settle)(ids, remapped(meanings, random.random)))
    say(f"{changed} {'return' if changed == 1 else 'returns'} {'would be ' if dry_run else ''}read anew")
    say("a worker that was started before the map was changed reads by the old one: restart it first")


def _meanings_of(settings: Settings, account: str) -> Callable[[str], frozenset[TrackingStatus]]:
    kind, statuses = _kind(settings, account), map_of(settings, account)
    return lambda carrier_status: kind.meanings(carrier_status, statuses)


def _kind(settings: Settings, account: str) -> CarrierKind:
    return CARRIERS[settings.accounts[account].carrier]


def _tell(done: Sequence[Settled]) -> int:
    changed = 0
    for each in done:
        if not isinstance(each.outcome, Decision):
            say(shown(f"{each.order.reference}: left: {each.outcome.reason}"))
            continue
        changed += 1
        line = each.outcome.transitions[0]
        answer(shown(f"{each.order.reference}: {line.old_value} -> {line.new_value}: {line.reason}"))
    return changed
