"""A database as the seventh schema left it, with data of every kind that there was then."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.store.conftest import Open
from tests.store.shop import Shop
from worker.store import schema
from worker.store.columns import FOREVER, sqlite_text
from worker.store.schema import migrate

REVISION = "0007"
VERSION_TABLES = {"alembic_version", "returns_worker_schema"}
"""Where the revision stands, then and later; all other tables hold the shop's and the worker's data."""

WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
LATER = WHEN + timedelta(days=400)
ODD = '\'; -- "Zoë" %s :name \\ \u202e🎁 \t' + "x" * 3000
LARGE = json.dumps({"description": "x" * 2_000_000})
RAW = '{"orderNumber": 12345678901234567890, "x": 1e2, "text": "\\u00e9 \\ud83c\\udf81", "none": null}'

RETRIED = (
    *("carrier_unreachable", "carrier_error", "carrier_timeout", "carrier_busy", "carrier_key_refused"),
    "unintelligible_answer",
)
LABEL_CODES = ("label_not_ready", "label_unreachable", "label_unusable", "label_not_stored", "worker_crashed")
HELD = ("create_outcome_unknown", "carrier_ref_taken", "reference_not_unique", "worker_crashed", "carrier_lost_it")
REJECTED = ("invalid_payload", "carrier_refused")
"""With RETRIED every error code there was."""


async def made_at_the_seventh(url: str, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the schema, and its version as the worker of that time noted it, and fill every table."""
    with monkeypatch.context() as then:
        then.setattr(schema, "_HEAD", REVISION)
        await migrate(opened(url))
    async with Shop.at(url) as shop:
        await shop.run("DROP TABLE IF EXISTS returns_worker_schema")
        await shop.run(
            "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL,"
            " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
        await shop.run("DELETE FROM alembic_version")
        await shop.run(f"INSERT INTO alembic_version VALUES ('{REVISION}')")
        for table, row in _rows():
            await _insert(shop, table, row)
        await shop.run("DELETE FROM return_order WHERE reference = 'DELETED'")
        done = {"creations": 42, "restored_at": WHEN, "backed_up_at": WHEN}
        await shop.run(
            f"UPDATE database_place SET {', '.join(f'{name} = ${n}' for n, name in enumerate(done, 1))}",
            *_given(shop, done),
        )


async def _insert(shop: Shop, table: str, row: dict[str, Any]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await shop.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", *_given(shop, row))


def _given(shop: Shop, row: dict[str, Any]) -> list[Any]:
    return [sqlite_text(value) if shop.sqlite and isinstance(value, datetime) else value for value in row.values()]


def _rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its table; numbers are the database's own, as a shop's are, and so begin with 1."""
    last = 0
    for last, order in enumerate(_orders(), 1):
        yield "return_order", {"account": "default", "payload": '{"items": []}', "due_at": WHEN} | order
        if order["reference"].startswith("STORED"):
            for position, (code, pages) in enumerate((("A1", 1), (None, None)), 1):
                yield (
                    "package",
                    _of(last, position, label_code=code, description=ODD, tracking_url="https://x.example/"),
                )
                yield (
                    "label",
                    _of(
                        *(last, position),
                        location=f"file:///labels/{position}.pdf",
                        media_type="application/pdf",
                        byte_count=5_000_000_000,
                        page_count=pages,
                        sha256="ab" * 32,
                        fetched_at=WHEN,
                    ),
                )
        moved = {"return_order_id": last, "field": "state", "old_value": "pending", "new_value": order.get("state")}
        yield "status_transition", moved | {"observed_at": WHEN, "reason": ODD, "raw": RAW}
        seen = {"return_order_id": last, "field": "tracking_status", "new_value": order.get("tracking_status")}
        yield "status_transition", seen | {"carrier_status": ODD, "carrier_time": LATER, "raw": None}
    gone = {"order": {"id": 900, "price": 1.10}, "transitions": [json.loads(RAW)], "packages": [], "labels": []}
    for number, document in ((900, gone), (901, {})):
        archived = {"id": number, "account": "default", "reference": f"ARCHIVED-{number}", "ended_at": WHEN}
        ref = f"NR-{number}" if document else None
        yield "archived_return", archived | {"carrier_ref": ref, "archived_at": LATER, "document": json.dumps(document)}
    held = {"held_until": FOREVER, "hold_code": "carrier_key_refused", "hold_message": ODD, "refused_key": "c0ffee"}
    circuits = {"failures": 5, "open_until": LATER, "create_failures": 7, "create_open_until": WHEN}
    yield "carrier_account", {"name": "default", "spent_until": WHEN, "updated_at": WHEN} | held
    yield "carrier_account", {"name": "pilot", "create_hold_message": ODD, "updated_at": WHEN} | circuits
    yield "carrier_account", {"name": "idle", "updated_at": LATER}


def _of(order_id: int, position: int, **columns: Any) -> dict[str, Any]:
    return {"return_order_id": order_id, "position": position} | columns


def _orders() -> Iterator[dict[str, Any]]:
    """Returns in every state, with every code, and with all that a step, a shop or a person may have left in one."""
    yield {"reference": "NEW", "due_at": LATER}
    yield {"reference": f"ODD {ODD}", "account": ODD, "payload": json.dumps({"name": ODD, "deep": [[[1e2, 2**70]]]})}
    yield {"reference": "LARGE", "payload": LARGE}
    yield {"reference": "ASKED", "cancel_requested_at": WHEN, "retry_requested_at": LATER, "shop_changes": 3}
    leased = {"lease_owner": "host:1:x", "lease_until": LATER, "lease_token": 9007199254740993, "claims": 4}
    begun = {"create_started_at": WHEN, "first_attempt_at": WHEN, "attempts": 1}
    yield {"reference": "BEGUN"} | begun | leased
    yield {"reference": "IN-DOUBT", "lookups": 2, "error_code": "create_outcome_unknown", "error_message": ODD} | begun
    for code in RETRIED:
        yield {"reference": f"CREATE-{code}", "attempts": 3, "error_code": code, "failing_since": WHEN}
        yield _followed(f"TRACK-{code}", attempts=2, error_code=code, error_message=ODD, failing_since=WHEN)
    for status in ("pending", "pre_transit", "in_transit", "unknown"):
        yield _followed(f"FOLLOWED-{status}", tracking_status=status, status_since=WHEN, unchanged_polls=9)
        yield _followed(f"WITHDRAWN-{status}", tracking_status=status, cancel_requested_at=WHEN, **leased)
    yield _followed("LINK", return_url="https://pilot.example/r?x=1", label_due_at=LATER, next_step="label")
    yield _followed("SHIPMENT", followed_since=None, tracking_status="pending", label_due_at=WHEN)
    for code in LABEL_CODES:
        sought = {"label_due_at": None if code == "worker_crashed" else WHEN, "label_attempts": 6}
        yield _followed(f"LABEL-{code}", label_error_code=code, label_error_message=ODD, **sought)
        yield _followed(f"STORED-AND-{code}", label_error_code=code, **sought)
    yield _followed("STORED")
    over = {"state": "completed", "due_at": None, "track_due_at": None}
    for status in ("delivered", "failed", "cancelled", "expired"):
        yield _followed(f"STORED-{status}", tracking_status=status, **over)
        yield _followed(f"NEVER-{status}", tracking_status=status, label_error_code="label_not_ready", **over)
    for code in REJECTED:
        yield {"reference": f"REJECTED-{code}", "state": "rejected", "due_at": None, "error_code": code}
    for code in (*HELD, *RETRIED):
        parked = {"state": "needs_attention", "due_at": None, "error_code": code, "error_message": ODD}
        yield {"reference": f"HELD-{code}"} | begun | parked
        yield _followed(f"HELD-TRACKED-{code}", track_due_at=None, **parked)
    yield {"reference": "CANCELLED", "state": "cancelled", "due_at": None, "cancel_requested_at": WHEN}
    yield _followed("CANCELLED-THERE", state="cancelled", due_at=None, tracking_status="cancelled")
    yield {"reference": "DELETED"}


def _followed(reference: str, **columns: Any) -> dict[str, Any]:
    """A return that the carrier has."""
    at_carrier = {"state": "tracking", "next_step": "track", "carrier_ref": f"NR-{reference}", "carrier_status": "Word"}
    times = {"track_due_at": LATER, "create_started_at": WHEN, "followed_since": WHEN, "tracking_status": "unknown"}
    return {"reference": reference} | at_carrier | times | columns
