"""Looks at everything that a worker needs, before it matters."""

import os
from dataclasses import dataclass
from enum import Enum, auto

from worker.carriers.port import CarrierError
from worker.from_settings import Kinship, open_account
from worker.labels import LabelStoreError, LabelStoreUnusable, open_label_store
from worker.runtime.clock import lease_clock
from worker.settings import ConfigurationError, KeyUnavailableError, Settings, key_source
from worker.store.database import Database
from worker.store.database_clock import clock_offset, differing
from worker.store.durability import risks
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.fitness import hidden_rows, open_to_all, require_utf8
from worker.store.holds import NOTHING, describe, explain, read_accounts
from worker.store.queries import Backlog, read_backlog
from worker.store.restores import retirement
from worker.store.schema import UNKNOWN_VERSION, SchemaState, schema_state
from worker.store.sqlite_file import absence
from worker.usecases.overload import overloads

_MADE_BY_START = "; or start the worker, which makes one"


class Verdict(Enum):
    """What a finding comes to."""

    GOOD = auto()
    WARNING = auto()  # it works, but somebody should know
    BAD = auto()  # the worker would not start, or not work
    BAD_CONFIGURATION = auto()  # the same, by its configuration
    UNAVAILABLE = auto()  # the same, since the database cannot be reached


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    line: str


class _Findings(list[Finding]):
    def good(self, line: str) -> None:
        self.append(Finding(Verdict.GOOD, line))

    def warn(self, line: str) -> None:
        self.append(Finding(Verdict.WARNING, line))

    def bad(self, line: str, verdict: Verdict = Verdict.BAD) -> None:
        self.append(Finding(verdict, line))


async def find_faults(settings: Settings, *, online: bool) -> list[Finding]:
    """What is right and wrong with the database, the label store and each account; `online`: ask each carrier too."""
    findings = _Findings()
    backlog = await _check_database(settings, findings)
    await _check_label_store(settings, findings)
    for name in settings.accounts:
        await _check_account(settings, name, online, findings)
    keys = {name: key_source(settings, name) for name in settings.accounts}
    for line in Kinship(settings, keys, lease_clock).warnings():
        findings.warn(f"accounts {line}")
    for line in overloads(settings, backlog):
        findings.warn(line)
    return findings


async def _check_database(settings: Settings, findings: _Findings) -> list[Backlog]:
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
            retired = await retirement(database)  # in the last table that came: a role may have no rights on it
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
            return backlog
    except DatabaseRefused as error:
        findings.bad(f"database: refuses to be used: {error}", Verdict.BAD_CONFIGURATION)
    except DatabaseUnavailable as error:
        findings.bad(f"database: cannot be reached: {error}", Verdict.UNAVAILABLE)
    finally:
        await database.close()
    return []


def _check_accounts_of_rows(settings: Settings, backlog: list[Backlog], findings: _Findings) -> None:
    lost: dict[str, int] = {}
    for row in backlog:
        if row.account not in settings.accounts:
            lost[row.account] = lost.get(row.account, 0) + row.count
    for account, count in sorted(lost.items()):
        findings.bad(
            f"returns: {count} wait for account {account[:100]!r}, which is not configured: configure it, or see"
            " `returns-worker accounts rename` and `accounts retire`"
        )


async def _check_holds(settings: Settings, database: Database, findings: _Findings) -> None:
    for name, state in (await read_accounts(database)).items():
        if name not in settings.accounts:
            findings.warn(f"account {name}: not configured any more; to forget it: accounts retire {name}")
        elif describe(state) != NOTHING:
            findings.warn(f"account {name}: {explain(state)}")


async def _check_label_store(settings: Settings, findings: _Findings) -> None:
    try:
        there = await open_label_store(settings.labels.store).check(make=False)
    except LabelStoreUnusable as error:
        findings.bad(f"labels: {error}", Verdict.BAD_CONFIGURATION)
    except LabelStoreError as error:
        findings.bad(f"labels: {error}")
    else:
        findings.good(f"labels: the store {'can be written' if there else 'is not there yet, and can be made'}")


async def _check_account(settings: Settings, name: str, online: bool, findings: _Findings) -> None:
    key = key_source(settings, name)
    try:
        carrier = open_account(settings, name, key.current, lambda operation, outcome, seconds: None)
        key.current()
    except (ConfigurationError, KeyUnavailableError) as error:
        findings.bad(f"account {name}: {error}", Verdict.BAD_CONFIGURATION)
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
