"""Finds returns by what their payloads say of a customer, live ones and archived ones."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from worker.domain.sought import address_folded
from worker.store.dialect import NOW, POSTGRESQL, SQLITE
from worker.store.erasure import LIVE, PLACES, Place
from worker.store.transactions import reading

_LONGEST = 1000  # characters: what is longer is no address, and a shop may insert a million of them


def of_customer(dialect: str, place: Place, *path: str) -> str:
    """A text of the customer's, such as "email", in the payload of a row `r`, as SQL."""
    if dialect == POSTGRESQL:
        payload = "r.payload" if place is LIVE else "r.document -> 'order' -> 'payload'"
        return " -> ".join((payload, "'customer'", *(f"'{each}'" for each in path[:-1]))) + f" ->> '{path[-1]}'"
    column, way = ("r.payload", "$") if place is LIVE else ("r.document", "$.order.payload")
    return f"CASE WHEN json_valid({column}) THEN json_extract({column}, '{'.'.join((way, 'customer', *path))}') END"


# The databases have several ideas of what upper and lower case is, SQLite that of ASCII; so addresses are compared
# here, and there only those are left out that are plain ASCII and another.
_IS_PLAIN = {
    POSTGRESQL: "octet_length(email) = length(email) AND email !~ '[[:cntrl:]]'",
    SQLITE: "email NOT GLOB '*[^ -~]*'",
}
_ADDRESSES = {
    (dialect, place.table): text(f"""
SELECT id, account, reference, email
  FROM (SELECT r.id, r.account, r.reference, {of_customer(dialect, place, "email")} AS email FROM {place.table} r
         WHERE r.id > :after AND r.id <= :upto AND r.erased_at IS NULL) AS addressed
 WHERE length(email) <= {_LONGEST} AND NOT ({_IS_PLAIN[dialect]} AND lower(trim(email)) <> :folded) ORDER BY id""")
    for dialect in NOW
    for place in PLACES
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


def addressed(connection: Connection, email: str, after: int, upto: int) -> dict[int, tuple[Named, str]]:
    """Returns whose customer has that address, with ids beyond `after` and up to `upto`, by id, each as it is written.

    No index leads to them: each call reads every payload in between.
    """
    folded, found = address_folded(email), dict[int, tuple[Named, str]]()
    window = {"after": after, "upto": upto, "folded": folded}
    for place in PLACES:
        for row in connection.execute(_ADDRESSES[connection.dialect.name, place.table], window):
            if address_folded(str(row.email)) == folded:
                found[row.id] = Named(row.id, row.account, row.reference), str(row.email)  # may just have been archived
    return found


@reading
def with_email(connection: Connection, email: str, after: int, upto: int, most: int) -> list[Named]:
    """The first of them, by id."""
    found = addressed(connection, email, after, upto)
    return [found[order_id][0] for order_id in sorted(found)][:most]
