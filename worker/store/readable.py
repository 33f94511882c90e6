"""Takes rows, and reads them with the same statement; where one of them makes that fail, they are taken first.

A text that the server cannot send in UTF-8, or a value whose storage is damaged, makes the whole statement fail, and
what it took would be given back with it. Then the rows are taken without being read, and each is read by itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection, Row, exc, text
from sqlalchemy.sql.elements import TextClause

from worker.domain.lifecycle import State, Step
from worker.domain.returns import ReturnOrder
from worker.store.claimed import RETURNED, Claimed, read_claimed
from worker.store.columns import read_moment
from worker.store.database import Database
from worker.store.dialect import NOW
from worker.store.failures import first_line, translated

_BARE = "id, account, state, next_step, lease_token, claims"  # short texts that were compared, and numbers
_LOOK = dict.fromkeys(NOW, "SELECT {returned} FROM return_order WHERE id = :id")

Run = Callable[..., Awaitable[list[Claimed]]]
"""`Database.statement`, `transaction` or `reading`."""


class _Unread(Exception):
    """The statement failed for what is in a row."""


async def readable(database: Database, run: Run, take: Callable[[Connection, bool], list[Claimed]]) -> list[Claimed]:
    """What `take` takes and reads by `read_rows`; called once more, with True, where it has to take them bare.

    Each is then looked at by itself, and one that cannot be read says why (`ReturnOrder.unreadable`). `run` is the
    transaction that it needs.
    """
    try:
        return await run(take, False)
    except _Unread:
        bare = await run(take, True)
    return [await _look_alone(database, each) for each in bare]


async def take_rows(
    database: Database, statements: Mapping[str, str], values: Mapping[str, Any], owner: str, lease: timedelta
) -> list[Claimed]:
    """Take rows by a statement of `worker.store.leases.taking_free`, and read them."""
    parameters = {**values, "owner": owner, "lease": lease.total_seconds()}
    return await readable(database, database.statement, partial(read_rows, statements, parameters))


def read_rows(
    templates: Mapping[str, str], values: Mapping[str, Any], connection: Connection, bare: bool
) -> list[Claimed]:
    """Run a statement that ends in `{returned}`, the columns of its rows; for `readable`, which says when `bare`."""
    dialect = connection.dialect.name
    try:
        with translated():  # what is not about a row stays what it is
            rows = connection.execute(_statement(dialect, templates[dialect], bare), values).all()
    except exc.DBAPIError as error:
        if bare:
            raise
        raise _Unread from error
    return [_bare(row) if bare else read_claimed(row) for row in rows]


async def _look_alone(database: Database, bare: Claimed) -> Claimed:
    try:
        found = await database.reading(partial(read_rows, _LOOK, {"id": bare.order.id}), False)
    except _Unread as error:
        why = f"the database cannot give it ({first_line(error.__cause__ or error)}): an operator sets it right by SQL"
        return replace(bare, order=bare.order._replace(unreadable=why))
    (row,) = found or [bare]
    return row if row.order.lease_token == bare.order.lease_token else bare


@cache
def _statement(dialect: str, template: str, bare: bool) -> TextClause:
    columns = _BARE if bare else RETURNED[dialect]
    return text(template.format(returned=f"{columns}, {NOW[dialect]} AS claimed_at"))


def _bare(row: Row[Any]) -> Claimed:
    order = ReturnOrder(
        id=row.id,
        account=row.account,
        reference=f"(id {row.id})",
        state=State(row.state),
        next_step=Step(row.next_step),
        lease_token=row.lease_token,
        claims=row.claims,
        unreadable="it was taken, and by then somebody else's",
    )
    return Claimed(order, None, read_moment(row.claimed_at))
