"""Rows, outcomes and strategies for the tests of the pure core."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from worker.domain.cadence import Ladder
from worker.domain.decision import Decision
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import TOLD, action_for
from worker.domain.outcomes import (
    Absent,
    Adopted,
    Ambiguous,
    Created,
    Failed,
    FailureKind,
    Interrupted,
    Invalid,
    LabelReady,
    LabelTrouble,
    NotCancelled,
    Outcome,
    Poisoned,
    RefTaken,
    SendingStopped,
    StoredLabel,
    Tracked,
    Unreadable,
    Withdrawn,
)
from worker.domain.policy import Backoff, Policy
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAST = NOW - timedelta(seconds=5)
LABEL = StoredLabel(1, "file:labels/x.pdf", "application/pdf", 1000, 1, "ab" * 32)
POLICY = Policy(open_ended=frozenset({TrackingStatus.PENDING}))

OPEN_STATUSES = [status for status in TrackingStatus if not status.is_terminal]
LABEL_CODES = [
    ErrorCode.LABEL_NOT_READY,
    ErrorCode.LABEL_UNREACHABLE,
    ErrorCode.LABEL_UNUSABLE,
    ErrorCode.LABEL_NOT_STORED,
]
SEARCHABLE = Policy(settles_after=timedelta(seconds=110), searchable=True)


def pending(**changes: Any) -> ReturnOrder:
    return ReturnOrder(id=1, account="default", reference="R-1", due_at=PAST, claims=1, lease_token=1)._replace(
        **changes
    )


def sent(**changes: Any) -> ReturnOrder:
    """A pending row whose intent to create an earlier holder committed."""
    return pending(**({"create_started_at": NOW - timedelta(minutes=2)} | changes))


def tracking(**changes: Any) -> ReturnOrder:
    values: dict[str, Any] = {
        "state": State.TRACKING,
        "next_step": Step.TRACK,
        "carrier_ref": "9RET1",
        "followed_since": NOW - timedelta(days=2),
        "create_started_at": NOW - timedelta(days=2),
        "tracking_status": TrackingStatus.PRE_TRANSIT,
        "carrier_status": "Created",
        "track_due_at": PAST,
    }
    return pending(**(values | changes))


def labelling(**changes: Any) -> ReturnOrder:
    """A tracking row that was claimed for its label; its poll is due later."""
    values = {"next_step": Step.LABEL, "label_due_at": PAST, "track_due_at": NOW + timedelta(hours=1)}
    return tracking(**(values | changes))


def resting(state: State, **changes: Any) -> ReturnOrder:
    """A row in a state in which only a request makes it due."""
    values: dict[str, Any] = {"state": state, "error_code": None}
    if state is State.COMPLETED:
        values |= {"carrier_ref": "9RET1", "tracking_status": TrackingStatus.DELIVERED}
    if state is State.REJECTED:
        values |= {"error_code": ErrorCode.CARRIER_REFUSED, "error_message": "no", "attempts": 3}
    if state is State.NEEDS_ATTENTION:
        values |= {"error_code": ErrorCode.CREATE_OUTCOME_UNKNOWN, "create_started_at": PAST}
    return pending(**(values | changes))


def problems(decision: Decision) -> list[str]:
    """Which of the database's checks on `return_order` the decided row would break."""
    row = decision.order
    checks = {
        "a live row has a due_at": row.state not in (State.PENDING, State.TRACKING) or row.due_at is not None,
        "pending is to be created": row.state is not State.PENDING or row.next_step is Step.CREATE,
        "tracking is not to be created": row.state is not State.TRACKING or row.next_step in (Step.LABEL, Step.TRACK),
        "at the carrier with a number": row.state not in (State.TRACKING, State.COMPLETED) or bool(row.carrier_ref),
        "nothing else is due": row.state in (State.PENDING, State.TRACKING)
        or row.due_at is None
        or (row.state is State.NEEDS_ATTENTION and row.cancel_requested_at is not None),
        "what is to be adopted is not created": row.to_adopt is None or row.create_started_at is None,
        "moments are aware": all(
            moment is None or moment.tzinfo is not None
            for moment in (
                row.due_at,
                row.label_due_at,
                row.track_due_at,
                row.create_started_at,
                row.label_sought_since,
            )
        ),
        "a label is sought since some moment": row.label_due_at is None or row.label_sought_since is not None,
        "counts are not negative": min(row.attempts, row.label_attempts, row.unchanged_polls, row.claims) >= 0,
        "messages are capped": len(row.error_message or "") <= 2000 and len(row.label_error_message or "") <= 2000,
    }
    return [name for name, holds in checks.items() if not holds]


_spans = st.timedeltas(timedelta(microseconds=1), timedelta(days=3650))
_factors = st.one_of(st.floats(1, 10), st.sampled_from([1.0, 1e300, float("inf")]))
_ladders = st.builds(Ladder, first=_spans, factor=_factors, cap=_spans, jitter=st.floats(0, 0.99), max_age=_spans)
_backoffs = st.builds(
    Backoff, first=_spans, factor=_factors, cap=_spans, max_attempts=st.integers(1, 50), give_up_after=_spans
)
policies = st.one_of(
    st.just(POLICY),
    st.builds(
        Policy,
        ladders=st.dictionaries(st.sampled_from(OPEN_STATUSES), _ladders),
        default_ladder=_ladders,
        backoff=_backoffs,
        settles_after=_spans,
        searchable=st.booleans(),
        open_ended=st.sampled_from([frozenset(), POLICY.open_ended]),
    ),
)
chances = st.floats(0, 1, exclude_max=True)

_recent = st.one_of(st.none(), st.timedeltas(timedelta(0), timedelta(days=100)).map(lambda ago: NOW - ago))
_clocks = st.one_of(
    st.none(), st.timedeltas(timedelta(days=-9), timedelta(days=9)).map(lambda distance: NOW + distance)
)
_request = st.sampled_from([None, None, None, PAST])
_text = st.sampled_from(["", "no", "x" * 3000, "\u00e9\u20ac\n"])
_counts = st.one_of(st.integers(0, 30), st.just(2**31 - 2))


@st.composite
def orders(draw: st.DrawFn) -> ReturnOrder:
    """Any row that the database's checks allow and a claim may bring."""
    state = draw(st.sampled_from(State))
    has_ref = state in (State.TRACKING, State.COMPLETED) or (state is State.NEEDS_ATTENTION and draw(st.booleans()))
    step = draw(st.sampled_from([Step.LABEL, Step.TRACK])) if state is State.TRACKING else Step.CREATE
    adopt_carrier_ref = draw(st.sampled_from([None, None, "9RET1"]))
    never_sent = state is State.REJECTED or (adopt_carrier_ref is not None and not has_ref)
    return ReturnOrder(
        id=1,
        account="default",
        reference="R-1",
        state=state,
        next_step=step,
        due_at=NOW - draw(st.timedeltas(timedelta(0), timedelta(days=9))),
        label_due_at=draw(_clocks) if state is State.TRACKING else None,
        track_due_at=draw(_clocks) if state is State.TRACKING else None,
        tracking_status=draw(st.sampled_from(TrackingStatus)) if has_ref else None,
        carrier_status=draw(st.sampled_from(["Created", "InTransit"])) if has_ref else None,
        carrier_ref="9RET1" if has_ref else None,
        adopt_carrier_ref=adopt_carrier_ref,
        create_started_at=None if never_sent else draw(_recent),
        followed_since=draw(_recent) if has_ref else None,
        lookups=draw(st.integers(0, 3)),
        attempts=draw(_counts),
        failing_since=draw(_recent),
        unchanged_polls=draw(_counts),
        error_code=draw(st.one_of(st.none(), st.sampled_from(ErrorCode))),
        label_attempts=draw(_counts),
        created_at=NOW - timedelta(days=200),
        doubtful_since=draw(st.one_of(st.none(), st.just(PAST))),
        cancel_requested_at=draw(_request),
        retry_requested_at=draw(_request),
        claims=draw(st.integers(1, 7)),
        lease_token=1,
    )


updates = st.builds(
    TrackingUpdate,
    status=st.sampled_from(TrackingStatus),
    carrier_status=st.sampled_from(["Created", "InTransit", "Bezorgd"]),
    carrier_time=_recent,
)


def _failures(*kinds: FailureKind) -> st.SearchStrategy[Failed]:
    waits = st.one_of(st.none(), st.timedeltas(timedelta(days=-1), timedelta(days=3650)))
    return st.builds(Failed, kind=st.sampled_from(kinds), message=_text, retry_after=waits)


_created = st.builds(
    Created, carrier_ref=st.just("9RET2"), update=st.one_of(st.none(), updates), has_label=st.booleans()
)
_QUESTION_FAILURES = [kind for kind in FailureKind if kind is not FailureKind.OUTCOME_UNKNOWN]


def met(order: ReturnOrder) -> st.SearchStrategy[Outcome]:
    """Every outcome that the loop can bring to `order`."""
    action = action_for(order, can_cancel=False)
    at_carrier = action_for(order, can_cancel=True)
    if at_carrier is Step.CANCEL:
        told: list[Outcome] = [Withdrawn(TOLD)]
        refused = _failures(*_QUESTION_FAILURES).map(NotCancelled)
        return st.one_of(st.sampled_from([action, *told]) if not isinstance(action, Step) else refused, refused)
    if not isinstance(action, Step):
        return st.just(action)
    poisoned: list[st.SearchStrategy[Outcome]] = [st.just(Poisoned()), st.just(Unreadable("created_at"))]
    if order.state is State.PENDING and order.to_adopt is not None:
        adopted = st.builds(Adopted, st.just("9RET1"), st.builds(Tracked, st.none() | updates))
        return st.one_of(adopted, st.just(RefTaken("9RET1")), _failures(*_QUESTION_FAILURES), *poisoned)
    if order.state is State.PENDING and order.create_started_at is not None:
        found = st.builds(Created, carrier_ref=st.just("9RET2"), update=updates, adopted=st.just(True))
        looked_up = st.one_of(st.just(Absent()), st.builds(Ambiguous, _text), found, _failures(*_QUESTION_FAILURES))
        return st.one_of(st.just(Interrupted()), looked_up, *poisoned)
    if order.state is State.PENDING:
        invalid = st.builds(Invalid, st.lists(_text, min_size=1, max_size=3).map(tuple))
        unsent: list[Outcome] = [RefTaken("9RET2"), SendingStopped()]
        return st.one_of(_created, invalid, st.sampled_from(unsent), _failures(*FailureKind), *poisoned)
    if order.next_step is Step.LABEL:
        trouble = st.builds(LabelTrouble, st.sampled_from(LABEL_CODES), _text)
        return st.one_of(st.just(LabelReady(LABEL)), trouble, _failures(*_QUESTION_FAILURES), *poisoned)
    return st.one_of(st.builds(Tracked, st.none() | updates), _failures(*_QUESTION_FAILURES), *poisoned)


@st.composite
def meetings(draw: st.DrawFn) -> tuple[ReturnOrder, Outcome]:
    """A row and what the loop may bring to it."""
    order = draw(orders())
    return order, draw(met(order))


def every_meeting() -> Iterator[tuple[ReturnOrder, Outcome]]:
    """Each kind of outcome with each kind of row that can meet it: young and old, sent and not, asked and not."""
    young, old = NOW - timedelta(days=1), NOW - timedelta(days=400)
    rows = [
        *(pending(), pending(attempts=11, failing_since=old), sent()),
        *(pending(adopt_carrier_ref="9RET1"), pending(adopt_carrier_ref="9RET1", doubtful_since=PAST, created_at=old)),
        *(track(followed_since=at, attempts=n) for track in (tracking, labelling) for at, n in ((young, 0), (old, 99))),
        tracking(failing_since=old),
        labelling(failing_since=old),
        pending(doubtful_since=PAST, created_at=old),
        resting(State.REJECTED, doubtful_since=PAST, created_at=old),
        *(resting(state) for state in State if state not in (State.PENDING, State.TRACKING)),
        resting(State.NEEDS_ATTENTION, create_started_at=None, error_code=ErrorCode.CARRIER_UNREACHABLE),
        resting(State.NEEDS_ATTENTION, carrier_ref="9RET1", error_code=ErrorCode.CARRIER_LOST_IT),
    ]
    asked: list[dict[str, Any]] = [{}, {"cancel_requested_at": PAST}, {"retry_requested_at": PAST}]
    for row in (row._replace(**request) for row in rows for request in asked):
        for can_cancel in (False, True):
            action = action_for(row, can_cancel=can_cancel)
            for outcome in _all_for(row, action) if isinstance(action, Step) else [action]:
                yield row, outcome


def _all_for(order: ReturnOrder, action: Step) -> list[Outcome]:
    failures: list[Outcome] = [Failed(kind, "no") for kind in FailureKind]
    stuck: list[Outcome] = [Poisoned(), Unreadable("no")]
    if action is Step.CANCEL:
        return [Withdrawn(TOLD), *(NotCancelled(Failed(kind, "no")) for kind in FailureKind)]
    if order.state is State.PENDING and order.to_adopt is not None:
        answers = [Tracked(None), *(Tracked(TrackingUpdate(status, "w")) for status in TrackingStatus)]
        return [*(Adopted("9RET1", each) for each in answers), RefTaken("9RET1"), *stuck, *failures[:-1]]
    if order.state is State.PENDING and order.create_started_at is not None:
        found = Created("9RET2", None, adopted=True)
        return [Interrupted(), Absent(), Ambiguous("two"), found, *stuck, *failures[:-1]]
    if order.state is State.PENDING:
        lost = Failed(FailureKind.OUTCOME_UNKNOWN, "404", wrong_address=True)
        made = [Created("9RET2", None), RefTaken("9RET2"), lost]
        return [*made, Invalid(("x: is wrong",)), SendingStopped(), *stuck, *failures]
    del failures[-1]  # OUTCOME_UNKNOWN is a creation's alone
    if order.next_step is Step.LABEL:
        troubles = [LabelTrouble(code, "no") for code in LABEL_CODES]
        return [LabelReady(LABEL), *troubles, Poisoned(), Unreadable("no"), *failures]
    tracked = [Tracked(None), *(Tracked(TrackingUpdate(status, "w")) for status in TrackingStatus)]
    return [*tracked, Poisoned(), Unreadable("no"), *failures]
