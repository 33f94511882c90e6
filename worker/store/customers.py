"""Finds returns by what their payloads say of a customer, live ones and archived ones."""

import unicodedata
from dataclasses import dataclass

from sqlalchemy import Connection, text

from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.erasure import ARCHIVED, LIVE, PLACES
from worker.store.transactions import reading

_LONGEST = 1000  # characters: what is longer is no address, and a shop may insert a million of them
_EMAIL = {
    (POSTGRESQL, LIVE.table): "r.payload -> 'customer' ->> 'email'",
    (POSTGRESQL, ARCHIVED.table): "r.document -> 'order' -> 'payload' -> 'customer' ->> 'email'",
    (SQLITE, LIVE.table): "CASE WHEN json_valid(r.payload) THEN json_extract(r.payload, '$.customer.email') END",
    (SQLITE, ARCHIVED.table): """CASE WHEN json_valid(r.document)
  THEN json_extract(r.document, '$.order.payload.customer.email') END""",
}
_ADDRESSES = {
    key: text(f"""
SELECT id, account, reference, email
  FROM (SELECT r.id, r.account, r.reference, {email} AS email FROM {key[1]} r
         WHERE r.id > :after AND r.id <= :upto AND r.erased_at IS NULL) AS addressed
 WHERE length(email) <= {_LONGEST} ORDER BY id""")
    for key, email in _EMAIL.items()
}
_NEWEST = text(
    "SELECT max(newest) FROM (SELECT max(id) AS newest FROM return_order UNION ALL SELECT max(id) FROM archived_return)"
    " AS both_places"
)


@reading
def newest_id(connection: Connection) -> int:
    """The highest id there is, live or archived; 0: none."""
    return connection.execute(_NEWEST).scalar_one() or 0


@dataclass(frozen=True, slots=True)
class Named:
    """Which return it is."""

    id: int
    account: str
    reference: str


@reading
def with_email(connection: Connection, email: str, after: int, upto: int, most: int) -> list[Named]:
    """Returns whose customer has that address, with ids beyond `after` and up to `upto`.

    No index leads to them: each call reads every payload in between. The databases have several ideas of what upper and
    lower case is, SQLite that of ASCII; so addresses are compared here.
    """
    wanted, found = _compared(email), dict[int, Named]()
    for place in PLACES:
        rows = connection.execute(_ADDRESSES[connection.dialect.name, place.table], {"after": after, "upto": upto})
        for order_id, account, reference, address in rows:
            if _compared(address) == wanted:
                found[order_id] = Named(order_id, account, reference)  # one may just have been archived
    return [found[order_id] for order_id in sorted(found)][:most]


def _compared(address: object) -> str:
    """An address as it is compared: whichever case, spaces around it, and ways to write a letter with its accent."""
    return unicodedata.normalize("NFC", str(address).strip().casefold())
