"""Reads the payloads of rows that were taken: once they are ours, so that one that cannot be read costs no other."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from worker.domain.lifecycle import State, Step
from worker.domain.policy import MAX_CLAIMS
from worker.store.claimed import Claimed
from worker.store.database import Database
from worker.store.dialect import AMONG_IDS, POSTGRESQL, SQLITE
from worker.store.failures import DatabaseUnavailable, first_line
from worker.store.transactions import reading

LARGEST_PAYLOAD = 1_000_000
"""Bytes of JSON text; triggers refuse a larger one, but not one that was there before they were."""

TOO_LARGE = f"its payload is larger than {LARGEST_PAYLOAD:,} bytes of JSON text"

_AT_ONCE = 32  # rows read by one statement
_BUDGET = 32 * LARGEST_PAYLOAD  # read for one claim, give or take one statement's; what is beyond is handed back

# No `jsonb` takes more than four times its text ("0, " takes 12 bytes), so that a larger one need not be written out to
# know that it is too large; `#> '{{}}'` is the value itself, decompressed. Its text may still be without bound
# ("1e131071"): then this fails, and each is read by itself. OFFSET 0: the text is made once.
_LARGEST_BINARY = 4 * LARGEST_PAYLOAD + 100
_READ = {
    POSTGRESQL: text(f"""
SELECT r.id, CASE WHEN pg_column_size(r.payload) <= {_LARGEST_BINARY}
                   AND pg_column_size(r.payload #> CAST('{{}}' AS text[])) <= {_LARGEST_BINARY} THEN (
         SELECT w.payload FROM (SELECT CAST(r.payload AS text) AS payload OFFSET 0) w
          WHERE octet_length(w.payload) <= {LARGEST_PAYLOAD}) END AS payload
  FROM return_order r
 WHERE r.id {AMONG_IDS[POSTGRESQL]}"""),
    SQLITE: text(f"""
SELECT id, CASE WHEN length(CAST(payload AS blob)) <= {LARGEST_PAYLOAD} THEN CAST(payload AS text) END AS payload
  FROM return_order WHERE id {AMONG_IDS[SQLITE]}"""),
}


@dataclass(frozen=True, slots=True)
class _Unreadable:
    why: str


async def read_payloads(database: Database, taken: Sequence[Claimed]) -> list[Claimed]:
    """The same rows, with the payload where the next step needs one, or with why it cannot be read.

    What has neither then was beyond the bound of memory, or is gone: it is to be handed back. Raises
    `DatabaseUnavailable`: the leases run out, since what is asked for here may be what ends the server.
    """
    wanted = [each.order.id for each in taken if _needs_payload(each)]
    found: dict[int, str | _Unreadable] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        if sum(len(each) for each in found.values() if isinstance(each, str)) >= _BUDGET:
            break
        found |= await _read(database, wanted[start : start + _AT_ONCE])
    return [_with(each, found.get(each.order.id)) for each in taken]


async def read_payload(database: Database, order_id: int) -> tuple[str | None, str | None]:
    """The payload of one return as JSON text, or why it cannot be read."""
    found = (await _read(database, [order_id])).get(order_id)
    return (None, found.why) if isinstance(found, _Unreadable) else (found, None)


def _needs_payload(each: Claimed) -> bool:
    order = each.order
    goes_on = order.state in (State.PENDING, State.TRACKING) and order.claims <= MAX_CLAIMS
    return goes_on and order.next_step is not Step.TRACK and order.unreadable is None


async def _read(database: Database, ids: Sequence[int]) -> dict[int, str | _Unreadable]:
    try:
        return await _texts(database, ids)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        if len(ids) == 1:
            return {ids[0]: _Unreadable(f"its payload cannot be read: {first_line(error)}")}
        found: dict[int, str | _Unreadable] = {}
        for each in ids:
            found |= await _read(database, [each])
        return found


@reading
def _texts(connection: Connection, ids: Sequence[int]) -> dict[int, str | _Unreadable]:
    rows = connection.execute(_READ[connection.dialect.name], {"ids": json.dumps(ids)}).all()
    return {row.id: _Unreadable(TOO_LARGE) if row.payload is None else row.payload for row in rows}


def _with(each: Claimed, found: str | _Unreadable | None) -> Claimed:
    if found is None:
        return each
    if isinstance(found, _Unreadable):
        return replace(each, order=each.order._replace(payload_unreadable=found.why))
    return replace(each, order=each.order._replace(payload=found))
