"""Runs a function of the store in one transaction, on either database.

The function is synchronous and is given a connection; its caller gives the database, and awaits it. Beside that
connection it waits for nothing, so that a transaction ends as soon as the database lets it. On SQLite it runs in a
thread: what else it changes is looked at when it has ended, and not before.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from worker.store.database import Database, Work

P = ParamSpec("P")
T = TypeVar("T")
Awaited = Callable[Concatenate[Database, P], Coroutine[Any, Any, T]]


def _run_by(how: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[[Work[P, T]], Awaited[P, T]]:
    def decorated(work: Work[P, T]) -> Awaited[P, T]:
        @wraps(work)
        async def run(database: Database, /, *args: P.args, **named: P.kwargs) -> T:
            result: T = await how(database, work, *args, **named)
            return result

        return run

    return decorated


in_transaction = _run_by(Database.transaction)
"""Several writes that happen together."""

in_statement = _run_by(Database.statement)
"""One statement that may write; where there is no pooler, without the round trips of a transaction."""

reading = _run_by(Database.reading)
"""Reads, each of them by itself; on SQLite they do not wait for the writer."""
