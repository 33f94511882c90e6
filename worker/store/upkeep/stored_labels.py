"""Which labels are stored, by their returns: for whoever wants all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select
from sqlmodel import col

from worker.domain.lifecycle import State
from worker.store.tables import LabelRow, ReturnOrderRow
from worker.store.transactions import reading


@dataclass(frozen=True, slots=True)
class LabelOfReturn:
    """One stored label and whose it is; `sha256` as hexadecimal digits."""

    id: int
    account: str
    reference: str
    position: int
    location: str
    sha256: str


@reading
def stored_labels(
    connection: Connection,
    after: int,
    most: int,
    *,
    account: str | None = None,
    states: Sequence[State] = (),
    since: datetime | None = None,
) -> list[LabelOfReturn]:
    """The next `most` labels after the one with this id, of returns that are not archived; no empty filter counts."""
    label, order = LabelRow, ReturnOrderRow
    statement = (
        select(
            col(label.id),
            col(order.account),
            col(order.reference),
            col(label.position),
            col(label.location),
            col(label.sha256),
        )
        .join(order, col(order.id) == col(label.return_order_id))
        .where(col(label.id) > after)
        .order_by(col(label.id))
        .limit(most)
    )
    if account is not None:
        statement = statement.where(col(order.account) == account)
    if states:
        statement = statement.where(col(order.state).in_([state.value for state in states]))
    if since is not None:
        statement = statement.where(col(label.fetched_at) >= since)
    return [LabelOfReturn(*row) for row in connection.execute(statement)]
