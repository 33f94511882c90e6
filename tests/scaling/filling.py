"""Fills a database with returns of the size that real ones have: what an Izipack return of two packages leaves.

The texts are those that the simulated carrier answers; each row has its own numbers in them, so that nothing is smaller
by being the same.
"""

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.process.running import PAYLOAD
from worker.store.database import Database
from worker.store.schema import migrate

_HISTORY = (
    ("state", "pending", "tracking", None, "created at the carrier", "created"),
    ("tracking_status", None, "pre_transit", None, None, None),
    ("tracking_status", "pre_transit", "in_transit", "PickedUp", None, "status"),
    ("tracking_status", "in_transit", "in_transit", "InTransit", None, "status"),
    ("tracking_status", "in_transit", "delivered", "Delivered", None, "status"),
    ("state", "tracking", "completed", "Delivered", "the carrier says Delivered", None),
)
_OF_A_FOLLOWED_ONE = 3  # lines; the last ones come with its end
_ANSWERS = {
    "created": {
        "orderNumber": "9RET{n}",
        "packages": [
            {
                "labelCode": f"7RET{{n}}{number}",
                "description": f"package {number}",
                "dimensions": {"height": 240, "width": 40, "depth": 40, "weight": 5000},
            }
            for number in (1, 2)
        ],
    },
    "status": {
        "status": "{word}",
        "deliveryDateUtc": "2026-11-26T19:50:46.735969",
        "description": "Webshop return (RMA-{n})",
        "extraInstructions": None,
        "companyName": None,
        "toAttentionOf": None,
        "packages": [{"labelCode": "7RET{n}1"}, {"labelCode": "7RET{n}2"}],
    },
}


@dataclass(frozen=True, slots=True)
class Amount:
    """How many returns: completed ones, and followed ones, of which so many are due now."""

    completed: int
    followed: int
    due: int = 0


async def fill(url: str, amount: Amount) -> None:
    """Make the schema and the rows, the completed ones first, as time leaves them."""
    database = Database(url)
    await migrate(database)
    await database.close()
    statements = _statements(amount, sqlite=url.startswith("sqlite"))
    if url.startswith("sqlite"):
        await asyncio.to_thread(_run_sqlite, url.removeprefix("sqlite:///"), statements)
        return
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement, timeout=3600)
    await connection.execute("VACUUM (ANALYZE)", timeout=3600)
    await connection.close()


def _run_sqlite(file: str, statements: list[str]) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    connection.execute("BEGIN")
    for statement in statements:
        connection.execute(statement)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _statements(amount: Amount, *, sqlite: bool) -> list[str]:
    total = amount.completed + amount.followed
    numbers = (
        f"(WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {total}) SELECT n FROM g) AS g"
        if sqlite
        else f"generate_series(1, {total}) AS g(n)"
    )
    ago = _moment("-400 days", sqlite)
    followed = f"n > {amount.completed}"
    # Those that are not due are spread over the next six hours.
    later = (
        "strftime('%Y-%m-%d %H:%M:%f', 'now', '+' || (600 + n * 7919 % 21600) || ' seconds')"
        if sqlite
        else "now() + make_interval(secs => 600 + n::bigint * 7919 % 21600)"
    )
    due = f"CASE WHEN {followed} THEN CASE WHEN n > {total - amount.due} THEN {ago} ELSE {later} END END"
    payload = json.dumps(PAYLOAD).replace("Webshop return", "Webshop return {n}")
    order = f"""INSERT INTO return_order (account, reference, payload, state, next_step, tracking_status,
        carrier_status, carrier_ref, due_at, track_due_at, created_at, updated_at, create_started_at, followed_since,
        first_attempt_at, status_since, lease_token)
      SELECT 'default', 'RMA-' || n, {_text(payload, sqlite, "jsonb")},
        CASE WHEN {followed} THEN 'tracking' ELSE 'completed' END, 'track',
        CASE WHEN {followed} THEN 'in_transit' ELSE 'delivered' END,
        CASE WHEN {followed} THEN 'InTransit' ELSE 'Delivered' END, '9RET' || n,
        {due}, {due}, {", ".join([ago] * 6)}, 90 FROM {numbers} ORDER BY n"""
    return [order, *_belongings(amount, sqlite=sqlite), "ANALYZE"]


def _belongings(amount: Amount, *, sqlite: bool) -> list[str]:
    ago = _moment("-400 days", sqlite)
    lines = " UNION ALL ".join(
        "SELECT "
        + ", ".join(
            [str(index), *(_literal(value) for value in line[:5]), _text(_answer(line), sqlite, "text")]
        ).replace("' || n || '", "{n}")
        for index, line in enumerate(_HISTORY)
    )
    raw = "replace(h.raw, '{n}', CAST(o.id AS text))" + ("" if sqlite else "::jsonb")
    return [
        f"""INSERT INTO status_transition (return_order_id, observed_at, field, old_value, new_value, carrier_status,
          reason, raw)
        SELECT o.id, {ago}, h.field, h.old_value, h.new_value, h.carrier_status, h.reason, {raw}
          FROM return_order o JOIN (SELECT * FROM (
            SELECT 0 AS line, '' AS field, '' AS old_value, '' AS new_value, '' AS carrier_status, '' AS reason,
                   '' AS raw UNION ALL {lines}) AS all_lines WHERE field <> '') AS h
            ON h.line < CASE WHEN o.state = 'completed' THEN {len(_HISTORY)} ELSE {_OF_A_FOLLOWED_ONE} END
         ORDER BY o.id, h.line""",
        """INSERT INTO package (return_order_id, position, label_code, description)
        SELECT o.id, p.position, '7RET' || o.id || p.position, 'package ' || p.position
          FROM return_order o CROSS JOIN (SELECT 1 AS position UNION ALL SELECT 2) AS p ORDER BY o.id""",
        f"""INSERT INTO label (return_order_id, position, location, media_type, byte_count, page_count, sha256,
          fetched_at)
        SELECT id, 1, 'file:///var/lib/returns-worker/labels/default/9RET' || id || '-1-889bd112e45a.pdf',
          'application/pdf', 1528, 2, '{"889bd112e45a4528" * 4}', {ago} FROM return_order ORDER BY id""",
    ]


def _answer(line: tuple[Any, ...]) -> str | None:
    return None if line[5] is None else json.dumps(_ANSWERS[line[5]]).replace("{word}", str(line[3]))


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def _text(template: str | None, sqlite: bool, kind: str) -> str:
    if template is None:
        return "NULL"
    built = "'" + template.replace("'", "''").replace("{n}", "' || n || '") + "'"
    return built if sqlite else f"CAST({built} AS {kind})"


def _moment(offset: str, sqlite: bool) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '{offset}')" if sqlite else f"(now() + interval '{offset}')"
