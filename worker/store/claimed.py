"""Reads the rows that a claim brings back: what `decide` and the steps look at, and when the row was taken.

A row that cannot be read is one row's trouble: what is wrong with it is said in `ReturnOrder.unreadable`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row

from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.store.columns import read_moment
from worker.store.dialect import POSTGRESQL, SQLITE


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row under our lease; times are on the database's clock, `due_at` None where nothing was due."""

    order: ReturnOrder
    due_at: datetime | None
    claimed_at: datetime

    @property
    def was_due(self) -> bool:
        """Whether it was due when it was taken."""
        return self.due_at is not None and self.due_at <= self.claimed_at

    @property
    def delay(self) -> float:
        """Seconds that it was overdue when it was taken."""
        return max((self.claimed_at - self.due_at).total_seconds(), 0.0) if self.due_at else 0.0


# What a claim brings back: what `decide` and the steps look at. The payload stays behind.
_COLUMNS = """id, account, reference, state, next_step, due_at, label_due_at, track_due_at, tracking_status,
  carrier_status, carrier_ref, return_url, create_started_at, first_attempt_at, lookups, followed_since, attempts,
  failing_since, unchanged_polls, error_code, error_message, label_attempts, label_error_code, label_error_message,
  cancel_requested_at, retry_requested_at, shop_changes, lease_token, claims, created_at, status_since,
  label_sought_since"""

_NAMES = tuple(name.strip() for name in _COLUMNS.split(","))
_STORED_MOMENTS = (
    *("due_at", "label_due_at", "track_due_at", "create_started_at", "first_attempt_at", "followed_since"),
    *("status_since", "failing_since", "cancel_requested_at", "retry_requested_at", "created_at", "label_sought_since"),
)

# What was recorded last before the database was restored, or copied to where it is now, may be older than the truth.
DOUBTFUL_SINCE = "(SELECT p.restored_at FROM database_place p WHERE {0}.updated_at < p.restored_at)"

_PACKAGE = tuple(field.name for field in fields(PackageInfo))


def _belongings(order: str, dialect: str) -> str:
    """The packages and labels recorded so far, for the steps that look at them."""
    members = ", ".join(f"'{name}', p.{name}" for name in _PACKAGE)
    if dialect == POSTGRESQL:
        packages, labels = f"json_agg(json_build_object({members}))", "json_agg(l.position)"
    else:
        packages, labels = f"json_group_array(json_object({members}))", "json_group_array(l.position)"
    return f"""CASE WHEN {order}.next_step <> 'create' THEN
    (SELECT CAST({packages} AS text) FROM package p WHERE p.return_order_id = {order}.id) END AS packages,
  CASE WHEN {order}.next_step <> 'create' THEN
    (SELECT CAST({labels} AS text) FROM label l WHERE l.return_order_id = {order}.id) END AS labels"""


# A payload that is stored larger than that has no date that is looked for at each poll.
_SMALL = 1_000_000
_DAY = 11  # characters: a date has 10

# The driver cannot say `infinity`, nor a year that Python does not know, and would fail for all rows of the answer.
_SAID = "o.{0} >= '0001-01-01 00:00+00' AND o.{0} < '10000-01-01 00:00+00'"
_UNSAID = ", ".join(f"CASE WHEN NOT ({_SAID.format(name)}) THEN '{name}' END" for name in _STORED_MOMENTS)


def _postgresql(name: str) -> str:
    return f"CASE WHEN {_SAID.format(name)} THEN o.{name} END AS {name}" if name in _STORED_MOMENTS else f"o.{name}"


POSTGRESQL_RETURNED = f"""{", ".join(map(_postgresql, _NAMES))},
  CASE WHEN pg_column_size(o.payload) <= {_SMALL} AND jsonb_typeof(o.payload -> 'pickup_date') = 'string'
       THEN left(o.payload ->> 'pickup_date', {_DAY}) END AS pickup_date,
  nullif(concat_ws(', ', {_UNSAID}), '') AS unreadable,
  {DOUBTFUL_SINCE.format("o")} AS doubtful_since, {_belongings("o", POSTGRESQL)}"""
SQLITE_RETURNED = f"""{", ".join(_NAMES)},
  CASE WHEN typeof(payload) = 'text' AND length(CAST(payload AS blob)) <= {_SMALL} AND json_valid(payload)
       THEN CASE json_type(payload, '$.pickup_date') WHEN 'text'
            THEN substr(json_extract(payload, '$.pickup_date'), 1, {_DAY}) END END AS pickup_date,
  NULL AS unreadable,
  {DOUBTFUL_SINCE.format("return_order")} AS doubtful_since, {_belongings("return_order", SQLITE)}"""


def read_claimed(row: Row[Any]) -> Claimed:
    """A row that a statement with the columns above returned; what of it cannot be read is said, and None."""
    values: dict[str, Any] = dict(zip(row._fields, row, strict=True))
    unreadable = values["unreadable"]
    for name, read in _READERS.items():
        if (value := values[name]) is not None:
            try:
                values[name] = read(value)
            except (ValueError, TypeError, KeyError):
                values[name] = None
                unreadable = f"{unreadable}, {name}" if unreadable else name
    if unreadable:
        values["unreadable"] = f"what stands in {unreadable} cannot be read: an operator sets it right by SQL"
        values["state"] = values["state"] or State.NEEDS_ATTENTION
        values["next_step"] = values["next_step"] or Step.TRACK
    claimed_at = values.pop("claimed_at")
    for name, collection in (("packages", tuple), ("labels", frozenset)):
        values[name] = values[name] or collection()
    return Claimed(ReturnOrder(**values), values["due_at"], claimed_at)


def _day(value: Any) -> date | None:
    """A payload may hold anything there; what is no date was refused before it was sent, or means nothing."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _code(value: str | None) -> ErrorCode | None:
    """None for a code of a newer version: a row that it left behind must not stop this one."""
    return ErrorCode(value) if value in _CODES else None


def _packages(value: str) -> tuple[PackageInfo, ...]:
    return tuple(PackageInfo(**package) for package in json.loads(value))


_CODES = frozenset(ErrorCode)
_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys((*_STORED_MOMENTS, "doubtful_since", "claimed_at"), read_moment),
    "state": {each.value: each for each in State}.__getitem__,
    "next_step": {each.value: each for each in Step}.__getitem__,
    "tracking_status": {each.value: each for each in TrackingStatus}.__getitem__,
    "error_code": _code,
    "label_error_code": _code,
    "pickup_date": _day,
    "packages": _packages,
    "labels": lambda value: frozenset(json.loads(value)),
}
