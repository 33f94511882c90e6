"""Finds whose a label code is."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, text

from worker.domain.returns import ReturnOrder
from worker.store.dialect import POSTGRESQL, SQLITE, among
from worker.store.transactions import reading


@dataclass(frozen=True, slots=True)
class Owner:
    """The return whose creation brought a label code."""

    account: str
    reference: str
    code: str


# Written out for each number of codes, and not as a list in JSON: PostgreSQL takes a list for a hundred, and would read
# all packages rather than look a hundred times into the index. That one's condition is repeated for it to be used.
# The accounts, of which there may be a thousand, are compared with what the codes lead to.
_OWNER = {
    dialect: text(f"""
SELECT o.account, o.reference, p.label_code AS code FROM package p JOIN return_order o ON o.id = p.return_order_id
 WHERE p.label_code IS NOT NULL AND p.label_code IN :codes AND o.id <> :id
   AND {near}""").bindparams(bindparam("codes", expanding=True))
    for dialect, near in {
        POSTGRESQL: "CAST(:accounts AS jsonb) ? o.account",
        SQLITE: f"o.account {among(SQLITE, 'accounts', 'text')}",
    }.items()
}


@reading
def owner_of(
    connection: Connection, order: ReturnOrder, codes: Collection[str], accounts: Collection[str]
) -> Owner | None:
    """Another return than `order` with one of these label codes, in one of these accounts; None when nobody has them.

    Archived returns are not looked at: they are over, so that nobody asks about them whose answer could come late.
    """
    values = {"id": order.id, "codes": sorted(codes), "accounts": json.dumps(sorted(accounts))}
    found = connection.execute(_OWNER[connection.dialect.name], values).first()
    return None if found is None else Owner(found.account, found.reference, found.code)
