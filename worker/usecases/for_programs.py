"""What a program is told of returns: the same members in a command's --json and below /api."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from worker.domain.decision import Decision, Transition
from worker.domain.returns import ReturnOrder
from worker.store.tables import ReturnOrderRow
from worker.usecases.search import Findings, Found

if TYPE_CHECKING:  # it imports the carriers, and what only lists or finds does without
    from worker.usecases.show import ShownReturn
    from worker.usecases.today import Today


def listed(order: ReturnOrderRow) -> dict[str, Any]:
    """A return in a list: every column but the payload."""
    return _columns(order, without=("payload",))


def shown_return(found: "ShownReturn") -> dict[str, Any]:
    """One return with its payload and all that belongs to it, what it waits for, and what a person can do now."""
    history = found.history
    parts = {name: [_columns(row) for row in getattr(history, name)] for name in ("packages", "labels", "transitions")}
    return (
        _columns(history.order)
        | parts
        | {
            "transitions_left_out": history.left_out,
            "payload_unreadable": history.payload_unreadable,
            "archived_at": found.archived_at,
            "waits_for": found.waits_for,
            "account_waits": found.account_waits,
            "ways": [way.name.lower() for way in found.ways],
        }
    )


def found_returns(findings: Findings) -> dict[str, Any]:
    """What was found, and how far was looked."""
    looked = findings.looked
    return {
        "found": [_found(each) for each in findings.found],
        "is_more": findings.is_more,
        "go_on_before": findings.go_on_before,
        "unreadable": looked.unreadable if looked is not None else 0,
    }


def decided(order: ReturnOrder, decision: Decision) -> dict[str, Any]:
    """What a person's decision makes, or would make, of a return."""
    return {
        "reference": order.reference,
        "account": order.account,
        "before": _standing(order),
        "after": _standing(decision.order),
        "transitions": [_line(each) for each in decision.transitions],
    }


def told_today(today: "Today") -> dict[str, Any]:
    """Today at one glance."""
    late = ("needs_attention", "labels_missing", "oldest_due_at", "label_sought_since")
    return {
        "now": today.now,
        "accounts": [
            asdict(each.standing)
            | {name: getattr(each, name) for name in late}
            | {"behind_seconds": round(each.behind.total_seconds())}
            for each in today.accounts
        ],
        "attention": [
            {
                "error_code": each.troubled.error_code,
                "count": each.troubled.count,
                "since": each.troubled.since,
                "ways": [way.name.lower() for way in each.ways],
            }
            for each in today.attention
        ],
        "figures": today.figures,
        "figures_since": today.changes.since,
        "figures_are_all": today.changes.is_all,
        "subscribers": [asdict(each) for each in today.subscribers],
        "workers": [
            {
                "worker": each.worker,
                "until": each.until,
                "serves": [
                    {"kind": kind, "names": list(names), "count": each.counts[kind]}
                    for kind, names in each.served.items()
                ],
            }
            for each in today.workers
        ],
    }


_STANDING = ("state", "tracking_status", "carrier_status", "carrier_ref", "due_at", "error_code", "error_message")
_LINE = ("field", "old_value", "new_value", "carrier_status", "carrier_time", "reason")


def _standing(order: ReturnOrder) -> dict[str, Any]:
    return {name: getattr(order, name) for name in _STANDING}


def _line(transition: Transition) -> dict[str, Any]:
    return {name: getattr(transition, name) for name in _LINE}


def _columns(row: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    columns = [column.name for column in row.__table__.c if column.name not in without]
    return {name: _told(getattr(row, name)) for name in columns}


def _told(value: Any) -> Any:
    """The same, but bytes as a text: SQLite keeps them in a column of texts."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _found(found: Found) -> dict[str, Any]:
    best = found.hits[0]
    names = ("reference", "account", "state", "carrier_ref", "archived_at", "erased_at")
    matched = [{"matched": hit.matched, "value": hit.value} for hit in found.hits]
    return {name: getattr(best, name) for name in names} | {"is_exact": found.is_exact, "matches": matched}
