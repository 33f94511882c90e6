"""Looks at the database for `check`."""

import os
from collections import Counter

from worker.settings import Settings
from worker.store.database import Database
from worker.store.database_clock import clock_offset, differing
from worker.store.durability import risks
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.fitness import hidden_rows, open_to_all, require_utf8
from worker.store.holds import NOTHING, describe, explain, read_accounts
from worker.store.news import KindChanged
from worker.store.outbox import read_standings
from worker.store.queries import Backlog, read_backlog
from worker.store.restores import retirement
from worker.store.schema import UNKNOWN_VERSION, SchemaState, schema_state
from worker.store.sqlite_file import absence
from worker.usecases.findings import Findings, Verdict
from worker.usecases.opening import database_of

_MADE_BY_START = "; or start the worker, which makes one"


async def check_database(settings: Settings, findings: Findings) -> list[Backlog]:
    """Look at the database, its schema, its rows and its accounts; what there is to do, as far as it can be read."""
    database = database_of(settings)
    try:
        if database.path is not None:
            path, missing = database.path.absolute(), absence(database.path)
            if not os.access(path.parent if missing else path, os.W_OK):
                why = f"{path.parent} is no folder that can be written" if missing else f"{path} cannot be written"
                findings.bad(f"database: {why}")
                return []
            if missing:
                findings.warn(f"database: {missing}{_MADE_BY_START if settings.database.migrates_itself else ''}")
                return []
        await database.reading(require_utf8)
        for line in await hidden_rows(database):
            findings.bad(f"database: {line}")
        state = await schema_state(database)
        if state is SchemaState.NEWER:
            findings.bad("database: made by a newer version of returns-worker", Verdict.BAD_CONFIGURATION)
        elif state is SchemaState.UNCLEAR:
            findings.bad(f"database: {UNKNOWN_VERSION}", Verdict.BAD_CONFIGURATION)
        elif state is not SchemaState.CURRENT:
            line = f"database: its schema is {state.value}; run: returns-worker migrate"
            (findings.warn if settings.database.migrates_itself else findings.bad)(line)
        else:
            problem = differing(await clock_offset(database))
            if problem is not None:
                findings.bad(f"clock: {problem}")
            retired = await retirement(database)  # its table came last: a role may have no rights on it
            if retired is not None:
                findings.bad(f"database: {retired}", Verdict.BAD_CONFIGURATION)
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
            await _check_subscribers(settings, database, findings)
            return backlog
    except DatabaseRefused as error:
        findings.bad(f"database: refuses to be used: {error}", Verdict.BAD_CONFIGURATION)
    except DatabaseUnavailable as error:
        findings.bad(f"database: cannot be reached: {error}", Verdict.UNAVAILABLE)
    finally:
        await database.close()
    return []


def _check_accounts_of_rows(settings: Settings, backlog: list[Backlog], findings: Findings) -> None:
    lost: Counter[str] = Counter()
    for row in backlog:
        if row.account not in settings.accounts:
            lost[row.account] += row.count
    lines = [
        f"{count} wait for account {account[:100]!r}, which is not configured: configure it, or see"
        " `returns-worker accounts rename` and `accounts retire`"
        for account, count in sorted(lost.items())
    ]
    findings.bad_each("returns: ", lines, "and {} more accounts that are not configured")


async def _check_holds(settings: Settings, database: Database, findings: Findings) -> None:
    for name, state in (await read_accounts(database)).items():
        if name not in settings.accounts:
            findings.warn(f"account {name}: not configured any more; to forget it: accounts retire {name}")
        elif describe(state) != NOTHING:
            findings.warn(f"account {name}: {explain(state)}")


async def _check_subscribers(settings: Settings, database: Database, findings: Findings) -> None:
    standings = await read_standings(database)
    for name in sorted(settings.news.keys() - {each.name for each in standings}):
        findings.good(f"subscriber {name}: configured, and told of what happens once a worker has started with it")
    for each in standings:
        configured = settings.news.get(each.name)
        if configured is None and not each.is_served:
            findings.warn(
                f"subscriber {each.name}: registered, but neither configured here nor served by a worker that lives;"
                f" its news waits until it is dropped: configure it, or returns-worker webhooks retire {each.name}"
            )
        elif configured is not None and configured.kind != each.kind:
            findings.bad(str(KindChanged(each.name, configured.kind)), Verdict.BAD_CONFIGURATION)
        elif configured is not None:
            findings.good(f"subscriber {each.name}: configured")
