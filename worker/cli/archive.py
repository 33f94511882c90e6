"""The command that moves returns which are over out of the live tables."""

import time
from datetime import datetime
from typing import Annotated

import typer

from worker.cli.context import logs_for, opened_database, run, settings_of
from worker.cli.left import Left
from worker.cli.person import duration_of
from worker.cli.talk import MOST, Exit, fail, is_utf8, say, shown
from worker.cli.ways_out import AccountOption, DryRunOption
from worker.store.accounts import database_now
from worker.store.archive import archive_batch, count_over
from worker.store.database import Database

_BATCH = 200  # returns in a transaction: some 20 ms, so that no shop and no worker waits longer
_SAY_EVERY = 10.0  # seconds


def archive(
    context: typer.Context,
    older_than: Annotated[str, typer.Option("--older-than", help="Over, and unchanged, so long ago, such as 400d.")],
    account: AccountOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MOST, help="So many at most, oldest first.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Move completed and cancelled returns, with their history, to `archived_return`, while work goes on.

    `show` and `label` find them there. Their references and numbers stay taken. On PostgreSQL as the tables' owner.
    What rows of the shop's own refer to by a foreign key stays, and is named.
    """

    async def work() -> None:
        settings = settings_of(context)
        logs_for(settings)
        if not is_utf8(account or ""):
            fail("error: an argument is not UTF-8", Exit.USAGE)
        age = duration_of("--older-than", older_than)
        assert age is not None
        async with opened_database(settings, only_to_read=dry_run) as database:
            before = await database_now(database) - age
            if dry_run:
                count, kept = await count_over(database, before, account)
                say(f"{_returns(min(count, limit or MOST))} would be archived")
                for what, many in kept.items():
                    say(shown(f"{_returns(many)} would be left: {what}"))
                return
            began = time.monotonic()
            referred, refused = Left(), Left()
            count = await _archive(database, before, account, limit or MOST, referred, refused)
        referred.tell()
        refused.tell()
        left = f", {referred.count + refused.count} left" if referred.count + refused.count else ""
        say(f"{_returns(count)} archived{left} in {time.monotonic() - began:.1f} s")
        if referred.count:
            say("what is referred to stays as long as it is: an archived return keeps its id, account and reference")
        refused.fail_if_any()

    run(work)


async def _archive(
    database: Database, before: datetime, account: str | None, limit: int, referred: Left, refused: Left
) -> int:
    count, last, said = 0, 0, time.monotonic()
    while count < limit:
        batch = await archive_batch(database, before, account, last, min(_BATCH, limit - count))
        count, last = count + batch.count, batch.last
        referred.add(batch.referred)
        refused.add(batch.refused)
        if batch.finished:
            break
        if time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            say(f"{_returns(count)} archived so far")
    return count


def _returns(count: int) -> str:
    return f"{count} {'return' if count == 1 else 'returns'}"
