"""The carrier's words that were recorded so far, for the person who maps them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from worker.store.columns import read_moment
from worker.store.transactions import reading

# A line of the history is a change: a word that stays the same for weeks was seen once.
_WORDS = text("""
SELECT o.account, t.carrier_status, count(*) AS changes, count(DISTINCT t.return_order_id) AS returns,
       max(t.observed_at) AS last_seen
  FROM status_transition t JOIN return_order o ON o.id = t.return_order_id
 WHERE t.field = 'tracking_status' AND t.carrier_status IS NOT NULL
 GROUP BY o.account, t.carrier_status ORDER BY o.account, t.carrier_status""")

_FOLLOWED = text("""
SELECT id, carrier_status, tracking_status FROM return_order
 WHERE account = :account AND due_at IS NOT NULL AND state = 'tracking' AND carrier_status IS NOT NULL ORDER BY id""")


@dataclass(frozen=True, slots=True)
class SeenWord:
    """What a carrier said of how many returns of an account, how often it came up, and when last."""

    account: str
    carrier_status: str
    changes: int
    returns: int
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Followed:
    """A followed return with the carrier's word and what it was read as."""

    id: int
    carrier_status: str
    tracking_status: str | None


@reading
def read_words(connection: Connection) -> Sequence[SeenWord]:
    """Every word of the history, by account; it reads the whole history, seconds for millions of lines."""
    rows = connection.execute(_WORDS).mappings()
    return [SeenWord(**{**row, "last_seen": read_moment(row["last_seen"])}) for row in rows]


@reading
def read_followed(connection: Connection, account: str) -> Sequence[Followed]:
    """The account's followed returns of which the carrier has said something."""
    rows = connection.execute(_FOLLOWED, {"account": account}).all()
    return [Followed(*row) for row in rows]
