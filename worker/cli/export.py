"""The command that hands out everything that is held about a return, or about a customer."""

import json
import os
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from worker.cli.erase import found_by
from worker.cli.options import AccountOption, EmailOption
from worker.cli.output import MOST, Exit, answer, counted, fail, say, shown
from worker.cli.session import Session
from worker.settings import Settings
from worker.store.database import Database
from worker.usecases import customer
from worker.usecases.export import all_files, all_values
from worker.usecases.not_done import NotDone
from worker.usecases.show import ShownReturn, show_return


def export(
    context: typer.Context,
    reference: Annotated[str | None, typer.Argument(help="The shop's reference.")] = None,
    email: EmailOption = None,
    account: AccountOption = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Write the label files into this folder, too; it is made.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=MOST, help=f"With --email: more is refused; else {customer.MOST}.")
    ] = None,
) -> None:
    """Print everything that is held about a return, or about a customer, as JSON; the archive's too."""
    if (reference is None) == (email is None):
        fail("error: say either REFERENCE or --email", Exit.USAGE)
    if email is not None and account is not None:
        fail("error: --email looks in all accounts: a customer is known by his address", Exit.USAGE)
    if email is None and limit is not None:
        fail("error: --limit goes with --email", Exit.USAGE)

    async def work(settings: Settings, database: Database) -> None:
        if email is not None:
            meant = [(each.reference, each.account) for each in await found_by(database, email, limit)]
            found = [await show_return(settings, database, *each) for each in meant]
        else:
            assert reference is not None
            found = [await show_return(settings, database, reference, account)]
        exported: list[dict[str, Any]] = []
        for each in found:
            values = all_values(each)
            if labels is not None:
                values["label_files"] = await _written(settings, each, labels)
            exported.append(values)
        answer(json.dumps({"returns": exported}, indent=2, default=datetime.isoformat))
        say(f"{counted(len(exported))} exported")

    Session(context, only_to_read=True).call(work)


async def _written(settings: Settings, found: ShownReturn, folder: Path) -> list[str]:
    names: list[str] = []
    async for path, content in all_files(settings, found):
        if content is None:
            raise NotDone(f"the label {path} of {found.history.order.reference!r} is not in the label store")
        _write(folder, path, content)
        names.append(str(path))
    return names


def _write(folder: Path, path: PurePosixPath, content: bytes) -> None:
    """For their owner's eyes only, as in the label store."""
    target = folder / path
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(target, "wb", opener=partial(os.open, mode=0o600)) as file:
            file.write(content)
    except OSError as error:
        fail(shown(f"error: cannot write {target}: {error.strerror}"))
