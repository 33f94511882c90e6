"""The command `check`: says what is wrong before it matters."""

import os
from contextlib import suppress
from typing import Annotated

import typer

from worker.carriers.port import CarrierError
from worker.cli.context import logs_for, run, settings_of
from worker.cli.overload import overloads
from worker.cli.talk import Exit, answer, say, shown
from worker.configured import Kinship, in_force, open_account
from worker.labels import LabelStoreError, LabelStoreUnusable, open_label_store
from worker.runtime.clock import lease_clock
from worker.settings import ConfigurationError, KeyUnavailableError, Settings, key_source, show
from worker.store.clock import clock_offset, differing
from worker.store.database import Database
from worker.store.durability import risks
from worker.store.encoding import require_utf8
from worker.store.exposure import open_to_all
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.holds import NOTHING, describe, explain, read_accounts
from worker.store.moved import retirement
from worker.store.queries import Backlog, read_backlog
from worker.store.row_security import hidden_rows
from worker.store.schema import SchemaState, schema_state
from worker.store.sqlite_file import absence

_MADE_BY_START = "; or start the worker, which makes one"


def check(
    context: typer.Context,
    show_settings: Annotated[bool, typer.Option("--show", help="Print the settings in force, secrets masked.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Ask each carrier one harmless question.")] = False,
) -> None:
    """Say what is wrong before it matters."""

    async def work() -> None:
        if show_settings:
            with suppress(ConfigurationError):  # all that is wrong is said below, with what is only missing
                shown_settings = settings_of(context)
                answer(show(shown_settings, {name: in_force(shown_settings, name) for name in shown_settings.accounts}))
        settings = settings_of(context, need_keys=True)
        logs_for(settings)
        findings = Findings()
        backlog = await _check_database(settings, findings)
        await _check_label_store(settings, findings)
        for name in settings.accounts:
            await _check_account(settings, name, online, findings)
        keys = {name: key_source(settings, name) for name in settings.accounts}
        for line in Kinship(settings, keys, lease_clock).warnings():
            findings.warn(f"accounts {line}")
        for line in overloads(settings, backlog):
            findings.warn(line)
        for line in findings.lines:
            say(line)
        if findings.exit_code:
            raise typer.Exit(findings.exit_code)

    run(work)


class Findings:
    """What a check found, line by line, and the exit code it comes to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.exit_code = 0

    def good(self, line: str) -> None:
        """All is well with this."""
        self.lines.append(f"ok       {line}")

    def warn(self, line: str) -> None:
        """It works, but somebody should know."""
        self.lines.append(f"warning  {line}")

    def bad(self, line: str, code: Exit = Exit.FAILED) -> None:
        """The worker would not start, or not work."""
        self.lines.append(f"error    {line}")
        self.exit_code = max(self.exit_code, code)


async def _check_database(settings: Settings, findings: Findings) -> list[Backlog]:
    """What there is to do, as far as that can be read."""
    database = Database(
        settings.database.url, pool_size=1, pooler=settings.database.pooler, schema=settings.database.schema
    )
    try:
        path = database.path.absolute() if database.path is not None else None
        missing = database.path and absence(database.path)
        if path is not None and missing:
            if not os.access(path.parent, os.W_OK):
                findings.bad(f"database: {path.parent} is no folder that can be written")
                return []
            findings.warn(f"database: {missing}{_MADE_BY_START if settings.database.migrates_itself else ''}")
            return []
        if path is not None and not os.access(path, os.W_OK):
            findings.bad(f"database: {path} cannot be written")
            return []
        async with database.reading() as connection:
            await require_utf8(connection)
        for line in await hidden_rows(database):
            findings.bad(f"database: {line}")
        state = await schema_state(database)
        if state is SchemaState.NEWER:
            findings.bad("database: made by a newer version of returns-worker", Exit.BAD_CONFIGURATION)
        elif state is not SchemaState.CURRENT:
            line = f"database: its schema is {state.value}; run: returns-worker migrate"
            (findings.warn if settings.database.migrates_itself else findings.bad)(line)
        else:
            problem = differing(await clock_offset(database))
            if problem is not None:
                findings.bad(f"clock: {problem}")
            retired = await retirement(database)  # in the last table that came: a role may have no rights on it
            if retired is not None:
                findings.bad(f"database: {retired}", Exit.BAD_CONFIGURATION)
                return []
            findings.good(f"database: {database.dialect}, schema current")
            anybodys = await open_to_all(database)
            if anybodys is not None:
                findings.warn(
                    f"database: every role may create in its schema {anybodys}, also functions that run with the"
                    f" worker's rights or an administrator's: REVOKE CREATE ON SCHEMA {anybodys} FROM PUBLIC, which"
                    " deploy/sql/roles.sql does, or a schema of its own (database.schema)"
                )
            for risk in await risks(database):
                findings.warn(f"database: {risk}")
            backlog = await read_backlog(database)
            _check_accounts_of_rows(settings, backlog, findings)
            await _check_holds(settings, database, findings)
            return backlog
    except DatabaseRefused as error:
        findings.bad(f"database: refuses to be used: {error}", Exit.BAD_CONFIGURATION)
    except DatabaseUnavailable as error:
        findings.bad(f"database: cannot be reached: {error}", Exit.DATABASE_UNAVAILABLE)
    finally:
        await database.close()
    return []


def _check_accounts_of_rows(settings: Settings, backlog: list[Backlog], findings: Findings) -> None:
    lost: dict[str, int] = {}
    for row in backlog:
        if row.account not in settings.accounts:
            lost[row.account] = lost.get(row.account, 0) + row.count
    for account, count in sorted(lost.items()):
        findings.bad(
            f"returns: {count} wait for account {account[:100]!r}, which is not configured: configure it, or see"
            " `returns-worker accounts rename` and `accounts retire`"
        )


async def _check_holds(settings: Settings, database: Database, findings: Findings) -> None:
    for name, state in (await read_accounts(database)).items():
        if name not in settings.accounts:
            findings.warn(shown(f"account {name}: not configured any more; to forget it: accounts retire {name}"))
        elif describe(state) != NOTHING:
            findings.warn(shown(f"account {name}: {explain(state)}"))


async def _check_label_store(settings: Settings, findings: Findings) -> None:
    try:
        there = await open_label_store(settings.labels.store).check(make=False)
    except LabelStoreUnusable as error:
        findings.bad(f"labels: {error}", Exit.BAD_CONFIGURATION)
    except LabelStoreError as error:
        findings.bad(f"labels: {error}")
    else:
        findings.good(f"labels: the store {'can be written' if there else 'is not there yet, and can be made'}")


async def _check_account(settings: Settings, name: str, online: bool, findings: Findings) -> None:
    key = key_source(settings, name)
    try:
        carrier = open_account(settings, name, key.current, lambda operation, outcome, seconds: None)
        key.current()
    except (ConfigurationError, KeyUnavailableError) as error:
        findings.bad(f"account {name}: {error}", Exit.BAD_CONFIGURATION)
        return
    for warning in carrier.warnings:
        findings.warn(f"account {name}: {warning}")
    base_url = settings.accounts[name].base_url or ""
    if base_url.startswith("http://") and not base_url.startswith(("http://127.", "http://localhost", "http://[::1]")):
        findings.warn(f"account {name}: base_url is not https: the key travels in the clear")
    if online:
        try:
            await carrier.ping()
        except CarrierError as error:
            findings.bad(f"account {name}: {error.message[:200]}")
        else:
            findings.good(f"account {name}: the carrier answers and accepts the key")
    else:
        findings.good(f"account {name}: configured")
    await carrier.close()
