"""Fills a database with returns as shops and workers leave them: finished, waiting for their next poll, or due."""

import json
from dataclasses import dataclass

from tests.process.running import PAYLOAD
from tests.store.shop import Shop

_STEP = 50_000  # rows for each statement


@dataclass(frozen=True, slots=True)
class Rows:
    """How many returns of each kind.

    `terminal` are delivered. `waiting` are followed, and asked about next in the day after the next. `due` are followed
    and due over `spread` seconds, which begin `after` seconds from now. `pending` have yet to be created. All but those
    have their history, and with `belongings` the live ones have their packages and label.
    """

    terminal: int = 0
    waiting: int = 0
    due: int = 0
    pending: int = 0
    spread: float = 0.0
    after: float = -60.0
    belongings: bool = True


async def fill(shop: Shop, rows: Rows) -> None:
    """Insert them, the terminal ones first, as they are the oldest."""
    if shop.sqlite:
        await shop.run("BEGIN IMMEDIATE")
    first = 1
    for kind, count in (("terminal", rows.terminal), ("waiting", rows.waiting), ("due", rows.due)):
        for start in range(first, first + count, _STEP):
            await _insert(shop, kind, start, min(start + _STEP, first + count) - 1, rows, first)
        first += count
    if rows.pending:
        await _insert_pending(shop, first, first + rows.pending - 1)
    if shop.sqlite:
        await shop.run("COMMIT")
        await shop.run("ANALYZE")
    else:
        await shop.run("VACUUM (ANALYZE)")


async def _insert(shop: Shop, kind: str, start: int, end: int, rows: Rows, first: int) -> None:
    count = rows.due if kind == "due" else rows.waiting
    due_at = {
        "terminal": "NULL",
        "waiting": _from_now(shop, f"86400 + 86400.0 * (n - {first}) / {max(count, 1)}"),
        "due": _from_now(shop, f"{rows.after} + {rows.spread} * (n - {first}) / {max(count, 1)}"),
    }[kind]
    over = kind == "terminal"
    long_ago = _from_now(shop, "-172800")
    columns = {
        "id": "n",
        "reference": "'RMA-' || n",
        "payload": f"'{json.dumps(PAYLOAD)}'",
        "state": "'completed'" if over else "'tracking'",
        "next_step": "'track'",
        "tracking_status": "'delivered'" if over else "'pre_transit'",
        "carrier_status": "'Delivered'" if over else "'Created'",
        "carrier_ref": "'9RET' || (100000000000 + n)",
        "due_at": due_at,
        "track_due_at": due_at,
        "unchanged_polls": "4",
        **dict.fromkeys(
            ("created_at", "updated_at", "create_started_at", "first_attempt_at", "followed_since", "status_since"),
            long_ago,
        ),
    }
    override = "" if shop.sqlite else "OVERRIDING SYSTEM VALUE "
    numbers = _numbers(shop, start, end)
    chosen = ", ".join(
        f"CAST({value} AS jsonb)" if name == "payload" and not shop.sqlite else value for name, value in columns.items()
    )
    await shop.run(f"INSERT INTO return_order ({', '.join(columns)}) {override}SELECT {chosen} FROM {numbers}")
    await _insert_history(shop, start, end, over=over)
    if rows.belongings and not over:
        await _insert_belongings(shop, start, end)


async def _insert_history(shop: Shop, start: int, end: int, *, over: bool) -> None:
    steps = [("state", "'pending'", "'tracking'"), ("tracking_status", "NULL", "'pre_transit'")]
    if over:
        steps += [("tracking_status", "'pre_transit'", "'delivered'"), ("state", "'tracking'", "'completed'")]
    numbers, when = _numbers(shop, start, end), _from_now(shop, "-172800")
    values = ", ".join(f"('{field}', {old}, {new})" for field, old, new in steps)
    await shop.run(
        "WITH step(field, old_value, new_value) AS (VALUES " + values + ")"
        " INSERT INTO status_transition (return_order_id, observed_at, field, old_value, new_value)"
        f" SELECT n, {when}, step.field, step.old_value, step.new_value FROM {numbers} CROSS JOIN step"
    )


async def _insert_belongings(shop: Shop, start: int, end: int) -> None:
    numbers, when = _numbers(shop, start, end), _from_now(shop, "-172800")
    for position in (1, 2):
        await shop.run(
            "INSERT INTO package (return_order_id, position, label_code, description)"
            f" SELECT n, {position}, '7RET' || (100000000000 + n), 'package {position}' FROM {numbers}"
        )
    await shop.run(
        "INSERT INTO label"
        " (return_order_id, position, location, media_type, byte_count, page_count, sha256, fetched_at)"
        f" SELECT n, 1, 'default/' || n || '.pdf', 'application/pdf', 1000, 2, '{'0' * 64}', {when} FROM {numbers}"
    )


async def _insert_pending(shop: Shop, start: int, end: int) -> None:
    payload = json.dumps(PAYLOAD)
    value = f"'{payload}'" if shop.sqlite else f"CAST('{payload}' AS jsonb)"
    override = "" if shop.sqlite else "OVERRIDING SYSTEM VALUE "
    await shop.run(
        f"INSERT INTO return_order (id, reference, payload) {override}"
        f"SELECT n, 'RMA-' || n, {value} FROM {_numbers(shop, start, end)}"
    )


def _numbers(shop: Shop, start: int, end: int) -> str:
    if not shop.sqlite:
        return f"generate_series({start}, {end}) AS numbers(n)"
    return (
        f"(WITH RECURSIVE counted(n) AS (VALUES ({start}) UNION ALL SELECT n + 1 FROM counted WHERE n < {end})"
        " SELECT n FROM counted)"
    )


def _from_now(shop: Shop, seconds: str) -> str:
    """SQL for the time so many seconds from now, given as an expression of the row's number."""
    if shop.sqlite:
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds')"
    return f"(now() + ({seconds}) * interval '1 second')"
