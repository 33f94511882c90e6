"""A return's life foretold: an imagined one is created, labelled and polled, and `decide` says when each comes."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from worker.domain.decide import decide
from worker.domain.demand import polls_within
from worker.domain.lifecycle import Step
from worker.domain.outcomes import Created, LabelReady, Outcome, StoredLabel, Tracked
from worker.domain.policy import Policy
from worker.domain.returns import PackageInfo, ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

Journey = Sequence[tuple[TrackingStatus, timedelta]]
"""The statuses that a parcel goes through and how long it has each; then it is delivered."""

_DAY = timedelta(days=1)
BY_PARCEL: Journey = ((TrackingStatus.PRE_TRANSIT, 2 * _DAY), (TrackingStatus.IN_TRANSIT, 3 * _DAY))
BY_LINK: Journey = (
    (TrackingStatus.PENDING, 5 * _DAY),
    (TrackingStatus.PRE_TRANSIT, 2 * _DAY),
    (TrackingStatus.IN_TRANSIT, 4 * _DAY),
)

MOST_POLLS = 20_000
"""A walk is cut here: a ladder for tests asks so often in an hour."""

_EVEN = 0.5  # the chance that is no jitter
_LABEL = LabelReady(StoredLabel(1, "", "application/pdf", 0, None, ""))
_FEW = 1000  # polls of a walk at a slower pace


class Poll(NamedTuple):
    """One question to the carrier."""

    at: datetime
    before: TrackingStatus  # by the ladder of this one it was time to ask
    status: TrackingStatus  # what the return has from then on


@dataclass(frozen=True, slots=True)
class Forecast:
    """The life of a return, from its creation at `start` until the poll that sees its end."""

    start: datetime
    polls: tuple[Poll, ...]
    by_status: Mapping[TrackingStatus, float]  # how many polls the ladder of each status brings
    labels: int  # how often a label is fetched
    ending: TrackingStatus
    ends_at: datetime
    is_cut: bool = False  # there are more polls than these, and numbers are means, which know no pickup date

    @property
    def life(self) -> timedelta:
        """From creation to the last poll."""
        return self.ends_at - self.start


def forecast(
    policy: Policy, created: Created, journey: Journey, start: datetime, pickup: date | None = None
) -> Forecast:
    """What becomes of a return whose creation is answered by `created`; `journey` must not be empty.

    Nothing fails, a label is there when it is asked for, and no wait has jitter.
    """
    start = start.astimezone(UTC)  # in a zone with DST a sum would be wall time
    order = ReturnOrder(id=0, account="", reference="", due_at=start, pickup_date=pickup)
    polls, after = _walked(order, start, policy, created, journey)
    last, is_cut = polls[-1], after.due_at is not None
    by_status: Mapping[TrackingStatus, float] = Counter(poll.before for poll in polls)
    if is_cut:  # a walk at a slower pace says how long it has which status; how often it is polled then is reckoned
        rough, after = _walked(order, start, _slowed(policy, journey), created, journey)
        spans, last = defaultdict[TrackingStatus, timedelta](timedelta), rough[-1]
        for since, poll in zip((start, *(poll.at for poll in rough)), rough, strict=False):
            spans[poll.before] += poll.at - since
        reckoned = {status: polls_within(policy.ladder(status), span) for status, span in spans.items()}
        by_status = {status: max(count, by_status.get(status, 0)) for status, count in reckoned.items()}
    return Forecast(start, tuple(polls), by_status, len(after.labels), last.status, last.at, is_cut)


def _walked(
    order: ReturnOrder, start: datetime, policy: Policy, created: Created, journey: Journey
) -> tuple[list[Poll], ReturnOrder]:
    """The polls of an order that is created at `start`, until it is over or they are too many; and what it is then."""
    answers = {status: _answer(created, status) for status in TrackingStatus}
    outcome: Outcome = created
    polls: list[Poll] = []
    while order.due_at is not None and len(polls) < MOST_POLLS:
        before, now = order, order.due_at
        if order.next_step is not Step.CREATE:
            outcome = _LABEL if order.next_step is Step.LABEL else answers[_status_at(journey, now - start)]
        decision = decide(order, outcome, now, policy, _EVEN)
        order = decision.order._replace(
            packages=before.packages + decision.packages,
            labels=before.labels.union(label.position for label in decision.labels),
        )
        if before.next_step is Step.TRACK and before.tracking_status and order.tracking_status:
            polls.append(Poll(now, before.tracking_status, order.tracking_status))
    return polls, order


def _status_at(journey: Journey, age: timedelta) -> TrackingStatus:
    for status, stay in journey:
        if age < stay:
            return status
        age -= stay
    return TrackingStatus.DELIVERED


def _answer(created: Created, status: TrackingStatus) -> Tracked:
    """The carrier's answer in a status; a shipment and a label that the creation did not bring come after `pending`."""
    said = created.update
    update = said if said is not None and said.status is status else TrackingUpdate(status, status)
    if created.has_label or status is TrackingStatus.PENDING:
        return Tracked(update)
    return Tracked(update, (PackageInfo(1),), frozenset({1}))


def _slowed(policy: Policy, journey: Journey) -> Policy:
    """At such a pace that few polls are made in all of it."""
    least = sum((stay for _, stay in journey), timedelta(0)) / _FEW
    ladders = {
        status: replace(ladder, first=max(ladder.first, least), cap=max(ladder.cap, least), near_pickup=timedelta(0))
        for status, ladder in ((status, policy.ladder(status)) for status in TrackingStatus)
    }
    return replace(policy, ladders=ladders)
