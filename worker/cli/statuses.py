"""The command that shows the carrier's words seen so far, and reads followed returns by a map that has changed."""

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple
from typing import Annotated

import typer

from worker.cli.options import AccountFilter, Decider, DryRunOption, JsonOption, grouped, owner_of_command
from worker.cli.output import Exit, answer, counted, fail, say, shown
from worker.cli.printing import print_list
from worker.cli.progress import progress
from worker.cli.session import Session
from worker.domain.decision import Decision
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases import statuses as usecase
from worker.usecases.desk import Settled
from worker.usecases.not_done import capped
from worker.usecases.statuses import Word, list_words


@grouped
def statuses(
    context: typer.Context,
    account: AccountFilter = None,
    remap: Annotated[
        bool, typer.Option("--remap", help="Read the returns that are still followed by the map as it is now.")
    ] = False,
    *,
    decider: Decider,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the carrier's words seen so far, how often, and what they are mapped to."""
    if remap and as_json:
        fail("error: --json is for the list of words, not for --remap", Exit.USAGE)
    if dry_run and not remap:
        fail("error: --dry-run is for --remap", Exit.USAGE)
    if not remap:
        _show(Session(context, only_to_read=True).call(list_words, account), as_json=as_json)
        return
    person, owner = decider.person, owner_of_command()

    async def work(settings: Settings, database: Database) -> None:
        left = list[str]()
        with progress("reading returns by the map"):
            done = [
                each
                async for some in usecase.remap(settings, database, account, person, owner, dry_run=dry_run)
                for each in some
            ]
        changed = _tell(done, left)
        for line in capped(left):
            say(shown(line))
        say(f"{counted(changed)} {'would be ' if dry_run else ''}mapped once more")
        say("a worker that was started before the map was changed reads by the old one: restart it first")

    Session(context).call(work)


def _show(words: Sequence[Word], *, as_json: bool) -> None:
    print_list(
        words,
        ("account", "carrier says", "returns", "seen", "last seen", "mapped to"),
        lambda each: (*astuple(each)[:5], each.mapped_to or "nothing: unknown"),
        asdict,
        as_json=as_json,
    )
    if as_json:
        return
    unmapped = [each for each in words if each.mapped_to is None]
    if not words:
        say("no carrier has said a word yet")
    for name in dict.fromkeys(each.account for each in unmapped):
        say(f"\nnot mapped yet; find out what they mean, and add them under [accounts.{shown(name)}.status_map]:")
        for each in unmapped:
            if each.account == name:
                say(f"  {shown(json.dumps(each.word, ensure_ascii=False))} = ...")


def _tell(done: Sequence[Settled], left: list[str]) -> int:
    changed = 0
    for each in done:
        if not isinstance(each.outcome, Decision):
            left.append(f"{each.order.reference}: left: {each.outcome.reason}")
            continue
        changed += 1
        line = each.outcome.transitions[0]
        answer(shown(f"{each.order.reference}: {line.old_value} -> {line.new_value}: {line.reason}"))
    return changed
