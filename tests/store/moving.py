"""A shop's returns in a SQLite file, and the copy of them to PostgreSQL."""

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.store.shop import Shop
from worker.store.database import Database
from worker.store.upkeep.move import Copied, copy_to
from worker.store.upkeep.move.rows import TABLES

PLACE = "postgresql://db.example/shop"
MOMENT = "2026-01-02 03:04:05.678"
RETIRE = f"UPDATE database_place SET moved_to = '{PLACE}'"  # what a copy that was killed leaves of itself
EVENT = "id, subscriber, type, account, reference, return_order_id, position, source, source_id, observed_at"
EVENT_VALUES = f"'state.tracking', 'default', 'R-tracking', 11, 1, 'transition', 5, '{MOMENT}'"
INSERT = "INSERT INTO return_order (reference, payload) VALUES ('LATER', '{}')"


async def move(source: Database, target: Database, *, dry_run: bool = False) -> Copied:
    copied = await copy_to(source, target, PLACE, lambda done, total: None, dry_run=dry_run)
    assert copied is not None
    return copied


async def has_arrived(source: Database, target: Database) -> bool:
    """Copy once more; whether there was nothing left to copy."""
    return await copy_to(source, target, PLACE, lambda done, total: None) is None


async def is_retired(shop: Shop) -> bool:
    return bool(await shop.value("SELECT moved_to IS NOT NULL FROM database_place"))


async def everything(shop: Shop) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, moments and documents read."""
    return {
        table.name: [
            {name: _read(name, value) for name, value in row.items()}
            for row in await shop.fetch(f"SELECT * FROM {table.name} ORDER BY 1")
        ]
        for table in TABLES
    }


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in {"payload", "raw", "document"}:
        return json.loads(value, parse_float=Decimal, parse_int=Decimal)
    if name.endswith(("_at", "_until", "_since", "carrier_time")) and isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


def fill(file: Path) -> None:
    """Returns in every state, with leases, intents, requests and all that belongs to them; ids with gaps."""
    connection = sqlite3.connect(file)
    insert = "INSERT INTO return_order (id, account, reference, payload, due_at, state, next_step, carrier_ref) VALUES"
    for number, state in enumerate(("pending", "tracking", "completed", "rejected", "needs_attention", "cancelled")):
        step = "create" if state == "pending" else "track"
        due = MOMENT if state in {"pending", "tracking"} else None
        payload = json.dumps({"name": "Zoë 🎁", "number": number, "price": 1.10})
        values = (10 * number + 1, "default", f"R-{state}", payload, due, state, step, f"NR-{number}")
        connection.execute(f"{insert} (?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.executescript(f"""
      UPDATE return_order SET create_started_at = '{MOMENT}', first_attempt_at = '{MOMENT}', lookups = 1,
             lease_owner = 'a:1:x', lease_until = '2026-01-02 03:04:05', lease_token = 9007199254740993, claims = 2
       WHERE state = 'pending';
      UPDATE return_order SET cancel_requested_at = '{MOMENT}' WHERE state = 'tracking';
      UPDATE return_order SET due_at = '2030-01-01 00:00:00' WHERE state = 'tracking';
      INSERT INTO status_transition (id, return_order_id, observed_at, field, new_value, raw)
        VALUES (5, 11, '{MOMENT}', 'state', 'tracking', '{{"orderNumber": 12345678901234567890, "x": 1e2}}'),
               (900, 11, '{MOMENT}', 'tracking_status', 'unknown', NULL);
      DELETE FROM status_transition WHERE id = 900;
      INSERT INTO package (return_order_id, position, label_code) VALUES (11, 1, 'A'), (11, 2, NULL), (21, 1, 'B');
      INSERT INTO label (return_order_id, position, location, media_type, byte_count, page_count, sha256, fetched_at)
        VALUES (11, 1, 'file:///x.pdf', 'application/pdf', 5000000000, 2, 'ab', '{MOMENT}');
      INSERT INTO archived_return (id, account, reference, carrier_ref, ended_at, archived_at, document)
        VALUES (7, 'default', 'R-archived', 'NR-archived', '{MOMENT}', '{MOMENT}',
                '{{"order": {{"id": 7, "price": 1.10}}, "transitions": []}}');
      INSERT INTO carrier_account (name, spent_until, held_until, hold_code, hold_message, refused_key, failures)
        VALUES ('default', '{MOMENT}', '9999-12-31 23:59:59.000', 'carrier_key_refused', 'said no', 'abc', 3);
      INSERT INTO news_subscriber (name, kind, events) VALUES ('shop', 'table', '["state.*"]');
      INSERT INTO news_subscriber (name, kind, events) VALUES ('hook', 'webhook', '[]');
      INSERT INTO return_event ({EVENT}) VALUES (8, 'shop', {EVENT_VALUES}), (70, 'shop', {EVENT_VALUES});
      DELETE FROM return_event WHERE id = 70;
      INSERT INTO webhook_event ({EVENT}, old_value) VALUES (9, 'hook', {EVENT_VALUES}, 'Zoë 🎁');
      INSERT INTO webhook_missed ({EVENT}, reason) VALUES (4, 'hook', {EVENT_VALUES}, 'created');
    """)
    connection.commit()
    connection.close()
