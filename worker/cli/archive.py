"""The command that moves returns which are over out of the live tables."""

import time
from typing import Annotated

import typer

from worker.cli.options import AccountFilter, DryRunOption, duration_of
from worker.cli.output import MOST, Left, Seldom, counted, say, shown
from worker.cli.session import Session
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases import archive as usecase

_SAY_EVERY = 10.0  # seconds


def archive(
    context: typer.Context,
    older_than: Annotated[str, typer.Option("--older-than", help="Over, and unchanged, so long ago, such as 400d.")],
    account: AccountFilter = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=MOST, help="So many at most, oldest first.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Move completed and cancelled returns, with their history, to `archived_return`, while work goes on.

    `show` and `label` find them there. Their references and numbers stay taken. On PostgreSQL as the tables' owner.
    What rows of the shop's own refer to by a foreign key stays, and is named.
    """
    age = duration_of("--older-than", older_than)
    assert age is not None

    async def preview(_: Settings, database: Database) -> None:
        count, kept = await usecase.count_archivable(database, age, account)
        say(f"{counted(min(count, limit or MOST))} would be archived")
        for what, many in kept.items():
            say(shown(f"{counted(many)} would be left: {what}"))

    async def work(_: Settings, database: Database) -> None:
        began, seldom = time.monotonic(), Seldom(_SAY_EVERY)
        count, referred, refused = 0, Left(), Left()
        async for batch in usecase.archive(database, age, account, limit or MOST):
            count += batch.count
            referred.add(batch.referred)
            refused.add(batch.refused)
            if not batch.finished:
                seldom.say(f"{counted(count)} archived so far")
        referred.tell()
        refused.tell()
        left = f", {referred.count + refused.count} left" if referred.count + refused.count else ""
        say(f"{counted(count)} archived{left} in {time.monotonic() - began:.1f} s")
        if referred.count:
            say("what is referred to stays as long as it is: an archived return keeps its id, account and reference")
        refused.fail_if_any()

    Session(context, only_to_read=dry_run).call(preview if dry_run else work)
