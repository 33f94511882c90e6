"""Returns, and all that belongs to one, for commands and use cases."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Select, func, or_, select, text
from sqlalchemy.sql.elements import TextClause
from sqlmodel import col

from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State
from worker.store.accounts import database_now
from worker.store.columns import UnreadableDocument, columns_of, read_document
from worker.store.database import Database
from worker.store.failures import DatabaseUnavailable, first_line
from worker.store.payloads import read_payload
from worker.store.tables import LabelRow, PackageRow, ReturnOrderRow, StatusTransitionRow
from worker.store.transactions import reading


@dataclass(frozen=True, slots=True)
class History:
    """One return with everything that belongs to it; `payload_unreadable`: why its payload is None.

    `left_out`: so many transitions are older than those that are here.
    """

    order: ReturnOrderRow
    transitions: Sequence[StatusTransitionRow]
    packages: Sequence[PackageRow]
    labels: Sequence[LabelRow]
    payload_unreadable: str | None = None
    left_out: int = 0

    def newest(self, most: int | None) -> "History":
        """The same with so many transitions at most; None: with all that are here."""
        over = max(len(self.transitions) - most, 0) if most is not None else 0
        return replace(self, transitions=self.transitions[over:], left_out=self.left_out + over) if over else self


async def find_orders(
    database: Database,
    *,
    reference: str | None = None,
    account: str | None = None,
    states: Sequence[str] = (),
    limit: int = 50,
    error_code: str | None = None,
    older_than: timedelta | None = None,
    tracking: Sequence[str] = (),
    no_label: bool = False,
    after: int | None = None,
    before: int | None = None,
) -> list[ReturnOrderRow]:
    """Returns, newest first, without their payloads; no filter that is empty counts.

    `error_code`: the return's own, or its label's. `older_than`: recorded last so long ago. `no_label`: the carrier has
    it, or had it, and no label of it was ever stored. `after`, `before`: ids that theirs lie between. One that cannot
    be read is there all the same, by its id, with what is wrong with it.
    """
    if no_label:
        states = [state for state in _WITH_LABEL if not states or state in states]
        if not states:
            return []
    statement = filtered(_WITHOUT_PAYLOAD, account, states, newest_first=True).limit(limit)
    if after is not None:
        statement = statement.where(col(ReturnOrderRow.id) > after)
    if before is not None:
        statement = statement.where(col(ReturnOrderRow.id) < before)
    if reference is not None:
        statement = statement.where(col(ReturnOrderRow.reference) == reference)
    if account is None and reference is not None:
        statement = statement.where(col(ReturnOrderRow.account).in_(accounts_in("return_order")))
    if error_code is not None:
        codes = (ReturnOrderRow.error_code, ReturnOrderRow.label_error_code)
        statement = statement.where(or_(*(col(each) == error_code for each in codes)))
    if older_than is not None:
        changed_before = await database_now(database) - older_than
        statement = statement.where(col(ReturnOrderRow.updated_at) < changed_before)
    if tracking:
        statement = statement.where(col(ReturnOrderRow.tracking_status).in_([str(status) for status in tracking]))
    if no_label:
        stored = select(col(LabelRow.id)).where(col(LabelRow.return_order_id) == col(ReturnOrderRow.id))
        statement = statement.where(~stored.exists())
    try:
        return await _orders(database, statement)
    except DatabaseUnavailable:
        raise
    except Exception:  # whatever the driver makes of what it finds
        names = statement.with_only_columns(*(col(each) for each in _NAMED))
        rows = await database.reading(lambda connection: connection.execute(names).all())
        return [await _order_alone(database, row) for row in rows]


_WITHOUT_PAYLOAD = [column for column in columns_of(ReturnOrderRow) if column.name != "payload"]
_WITH_LABEL = (State.TRACKING, State.COMPLETED)
_NAMED = (ReturnOrderRow.id, ReturnOrderRow.account, ReturnOrderRow.state)


@reading
def _orders(connection: Connection, statement: Any) -> list[ReturnOrderRow]:
    rows = connection.execute(statement).mappings().all()
    return [ReturnOrderRow(**row, payload=None) for row in rows]


async def _order_alone(database: Database, found: Any) -> ReturnOrderRow:
    try:
        [order] = await _orders(database, select(*_WITHOUT_PAYLOAD).where(col(ReturnOrderRow.id) == found.id))
    except DatabaseUnavailable:
        raise
    except Exception as error:
        given: dict[str, Any] = dict.fromkeys(column.name for column in _WITHOUT_PAYLOAD)
        given |= {"id": found.id, "account": found.account, "state": found.state, "reference": f"(id {found.id})"}
        why = {"error_code": ErrorCode.UNREADABLE_ROW, "error_message": first_line(error)}
        order = ReturnOrderRow(**given | why, payload=None)
    return order


def filtered(
    columns: Sequence[Any], account: str | None, states: Sequence[str], *, newest_first: bool = False
) -> Select[Any]:
    """A query for the returns of an account in one of the states, by id; a filter that is empty does not count.

    What leads to rows of live states through a partial index, and not past every return that is over, is written out,
    since SQLite knows no parameter when it plans. It goes with an order by `+id`, which no index has: with one at hand
    both databases would rather read from the newest row on until they have found enough.
    """
    live = _live(states)
    statement = select(*columns).order_by(text(f"{'id' if live is None else '+id'}{' DESC' if newest_first else ''}"))
    if live is not None:
        statement = statement.where(text(live))
    if account is not None:
        statement = statement.where(col(ReturnOrderRow.account) == account)
    if states:
        statement = statement.where(col(ReturnOrderRow.state).in_([str(state) for state in states]))
    return statement


def has_index(states: Sequence[str]) -> bool:
    """Whether an index leads to the returns in these states, past all that are over."""
    return _live(states) is not None


def _live(states: Sequence[str]) -> str | None:
    if set(states) == {State.NEEDS_ATTENTION}:
        return "state = 'needs_attention'"
    return "due_at IS NOT NULL" if states and set(states) <= {State.PENDING, State.TRACKING} else None


def accounts_in(table: str) -> TextClause:
    """The accounts that a table has rows of, for a reference that is looked for in all of them.

    The unique index begins with the account: this is one look into it for each account, where a reference alone would
    read every row (https://wiki.postgresql.org/wiki/Loose_indexscan).
    """
    return text(f"""WITH RECURSIVE known(name) AS (
  SELECT min(account) FROM {table}
  UNION ALL
  SELECT (SELECT min(account) FROM {table} WHERE account > known.name) FROM known WHERE known.name IS NOT NULL
) SELECT name FROM known WHERE name IS NOT NULL""")


async def read_history(database: Database, order: ReturnOrderRow, most: int | None = None) -> History:
    """Everything that belongs to `order`, in the order it happened, and its payload; of the transitions `most`."""
    payload, why = await read_payload(database, order.id)
    document = read_document(payload) if payload is not None else None
    if isinstance(document, UnreadableDocument):
        why, document = document.why, None
    order.payload = document
    transitions, left_out, packages, labels = await _belonging(database, order.id, most)
    return History(order, transitions, packages, labels, why, left_out)


@reading
def _belonging(connection: Connection, order_id: int, most: int | None) -> tuple[list[Any], int, list[Any], list[Any]]:
    def read(table: Any, by: Any, limit: int | None = None) -> list[Any]:
        statement = select(*columns_of(table)).where(table.return_order_id == order_id).order_by(by).limit(limit)
        return [table(**row) for row in connection.execute(statement).mappings()]

    transitions = read(StatusTransitionRow, col(StatusTransitionRow.id).desc(), most)[::-1]
    there = select(func.count()).where(col(StatusTransitionRow.return_order_id) == order_id)
    left_out = connection.execute(there).scalar_one() - len(transitions) if len(transitions) == most else 0
    return transitions, left_out, read(PackageRow, PackageRow.position), read(LabelRow, LabelRow.position)
