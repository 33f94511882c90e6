"""Whether a worker can do its work now, for /readyz: what of it the database answers."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

from worker.store.database import Database
from worker.store.failures import DatabaseRefused, DatabaseUnavailable
from worker.store.holds import describe, read_accounts
from worker.store.schema import SchemaState, schema_state
from worker.telemetry.http import Readiness

_REFUSES = (
    "refuses to be used: a right or a password is missing, or the file is not whole; see database_refuses in the log"
)


async def read_readiness(
    database: Database, accounts: Collection[str], webhooks: Callable[[], Awaitable[Mapping[str, str]]]
) -> Readiness:
    """Look at the database and its schema, and say of each account and webhook what lets it wait.

    A worker is ready also where one of these waits.
    """
    try:
        state = await schema_state(database)
    except DatabaseUnavailable as error:
        why = _REFUSES if isinstance(error, DatabaseRefused) else "cannot be reached"
        return Readiness(False, {"database": why, "schema": "not known"})
    if database.outage.refuses:  # it may answer these questions all the same
        return Readiness(False, {"database": _REFUSES, "schema": state.value})
    checks = {"database": "reachable", "schema": state.value}
    if state is SchemaState.CURRENT:
        with suppress(DatabaseUnavailable):
            states = await read_accounts(database)
            checks |= {f"account {name}": describe(states[name]) for name in accounts if name in states}
            checks |= await webhooks()
    return Readiness(state is SchemaState.CURRENT, checks)
