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
from worker.store.columns import read_moment, types_of
from worker.store.dialect import POSTGRESQL, SQLITE
from worker.store.tables import ReturnOrderRow


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
_KINDS = {name: kind for name, kind in types_of(ReturnOrderRow, "payload").items() if name in ReturnOrder._fields}
_STORED_MOMENTS = [name for name, kind in _KINDS.items() if kind == "timestamptz"]

# What was recorded last before the database was restored, or copied to where it is now, may be older than the truth.
DOUBTFUL_SINCE = "(SELECT p.restored_at FROM database_place p WHERE return_order.updated_at < p.restored_at)"

_PACKAGE = tuple(field.name for field in fields(PackageInfo))


def _belongings(dialect: str) -> str:
    """The packages and labels recorded so far, for the steps that look at them."""
    members = ", ".join(f"'{name}', p.{name}" for name in _PACKAGE)
    if dialect == POSTGRESQL:
        packages, labels = f"json_agg(json_build_object({members}))", "json_agg(l.position)"
    else:
        packages, labels = f"json_group_array(json_object({members}))", "json_group_array(l.position)"
    return f"""CASE WHEN next_step <> 'create' THEN
    (SELECT CAST({packages} AS text) FROM package p WHERE p.return_order_id = return_order.id) END AS packages,
  CASE WHEN next_step <> 'create' THEN
    (SELECT CAST({labels} AS text) FROM label l WHERE l.return_order_id = return_order.id) END AS labels"""


# A payload that is stored larger than that has no date that is looked for at each poll.
_SMALL = 1_000_000
_DAY = 11  # characters: a date has 10

# The driver cannot say `infinity`, nor a year that Python does not know, and would fail for all rows of the answer.
_SAID = "{0} >= '0001-01-01 00:00+00' AND {0} < '10000-01-01 00:00+00'"
_UNSAID = ", ".join(f"CASE WHEN NOT ({_SAID.format(name)}) THEN '{name}' END" for name in _STORED_MOMENTS)


_SAYABLE = (f"CASE WHEN {_SAID.format(n)} THEN {n} END AS {n}" if n in _STORED_MOMENTS else n for n in _KINDS)
_OWN = {
    POSTGRESQL: f"""{", ".join(_SAYABLE)}, nullif(concat_ws(', ', {_UNSAID}), '') AS unreadable,
  CASE WHEN pg_column_size(payload) <= {_SMALL} AND jsonb_typeof(payload -> 'pickup_date') = 'string'
       THEN left(payload ->> 'pickup_date', {_DAY}) END AS pickup_date""",
    SQLITE: f"""{", ".join(_KINDS)}, NULL AS unreadable,
  CASE WHEN typeof(payload) = 'text' AND length(CAST(payload AS blob)) <= {_SMALL} AND json_valid(payload)
       THEN CASE json_type(payload, '$.pickup_date') WHEN 'text'
            THEN substr(json_extract(payload, '$.pickup_date'), 1, {_DAY}) END END AS pickup_date""",
}
RETURNED = {
    dialect: f"{own}, {DOUBTFUL_SINCE} AS doubtful_since, {_belongings(dialect)}" for dialect, own in _OWN.items()
}
"""What `read_claimed` reads of `return_order`."""


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
