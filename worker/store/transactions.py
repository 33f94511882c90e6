"""Runs a function of the store in one transaction, on either database.

The function is synchronous and is given a connection; its caller gives the database, and awaits it. Beside that
connection it waits for nothing, so that a transaction ends as soon as the database lets it. On SQLite it runs in a
thread, so it changes nothing but the database.
"""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from worker.store.database import Database, Work

P = ParamSpec("P")
T = TypeVar("T")
Awaited = Callable[Concatenate[Database, P], Coroutine[Any, Any, T]]


def in_transaction(work: Work[P, T]) -> Awaited[P, T]:
    """Several writes that happen together."""

    @wraps(work)
    async def run(database: Database, /, *args: P.args, **named: P.kwargs) -> T:
        return await database.transaction(work, *args, **named)

    return run


def in_statement(work: Work[P, T]) -> Awaited[P, T]:
    """One statement that may write; where there is no pooler, without the round trips of a transaction."""

    @wraps(work)
    async def run(database: Database, /, *args: P.args, **named: P.kwargs) -> T:
        return await database.statement(work, *args, **named)

    return run


def reading(work: Work[P, T]) -> Awaited[P, T]:
    """Reads, each of them by itself; on SQLite they do not wait for the writer."""

    @wraps(work)
    async def run(database: Database, /, *args: P.args, **named: P.kwargs) -> T:
        return await database.reading(work, *args, **named)

    return run
