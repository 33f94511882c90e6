"""A pure model of a return's row, of the claims on it, and of a carrier that knows what reached it.

Its moments are on a clock of its own, which runs ahead of ours by what a play let pass. What passes at once and all
that is waited for differ by minutes, so that neither the speed of a test nor a database's clock matters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from worker.domain.decide import decide
from worker.domain.decision import Decision
from worker.domain.lifecycle import MAY_BECOME, State, Step
from worker.domain.next_action import TOLD, action_for
from worker.domain.outcomes import (
    Absent,
    Created,
    Failed,
    FailureKind,
    Interrupted,
    LabelReady,
    LabelTrouble,
    NotCancelled,
    Outcome,
    Poisoned,
    StoredLabel,
    Tracked,
    Withdrawn,
)
from worker.domain.policy import MAX_CLAIMS, Backoff, Policy
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus, TrackingUpdate

LEASE = timedelta(minutes=50)
CALL = timedelta(minutes=20)
"""What must be left of a lease for a creation to be sent."""
SENDABLE = LEASE + CALL
"""So long after its intent a creation may still reach the carrier, whatever became of its worker."""
SHORT, LONG = timedelta(minutes=40), timedelta(minutes=120)
"""What passes at once: less than a lease but too much for a call, and more than a creation can last."""
SEARCHED, PLAIN = "searched", "plain"
"""How an account's name begins, which is all there is to know of it."""

MOMENTS = ("due_at", "label_due_at", "track_due_at", "create_started_at", "first_attempt_at", "followed_since")
MOMENTS += ("failing_since", "label_sought_since")
"""Every moment of a claimed row that is compared with now, or with another."""
SEEN = """
SELECT id, state, next_step AS step, lease_token AS token, claims, shop_changes AS changes,
       create_started_at IS NOT NULL AS intent, first_attempt_at IS NOT NULL AS tried,
       cancel_requested_at IS NOT NULL AS cancel, retry_requested_at IS NOT NULL AS retry,
       carrier_ref IS NOT NULL AS at_carrier, lease_owner IS NOT NULL AS is_held,
       due_at IS NOT NULL AS waits, due_at IS NOT NULL AND due_at <= {now} AS is_due,
       (SELECT count(*) FROM status_transition WHERE return_order_id = return_order.id) AS lines
  FROM return_order WHERE account IN ($1, $2) ORDER BY id"""
"""What the database shows of a play; `Row.seen` is what it has to."""

_SLACK = timedelta(minutes=1)
_WAIT = timedelta(minutes=30)
_BACKOFF = Backoff(first=_WAIT, factor=1, cap=_WAIT, max_attempts=3, give_up_after=timedelta(hours=7))
_SEARCHABLE = Policy(backoff=_BACKOFF, settles_after=SENDABLE, searchable=True)
_POLICIES = {PLAIN: Policy(backoff=_BACKOFF), SEARCHED: _SEARCHABLE}
_LABEL = StoredLabel(1, "file:labels/x.pdf", "application/pdf", 1000, 1, "ab" * 32)
_UNREACHED = Failed(FailureKind.NETWORK, "not reached")
_REFUSED = Failed(FailureKind.REFUSED, "no")
_LOST = Failed(FailureKind.OUTCOME_UNKNOWN, "no answer")


class Luck(Enum):
    """How a question to the carrier goes."""

    WELL = "well"
    NOT_YET = "not yet"
    UNREACHED = "unreached"


class Fate(Enum):
    """What becomes of a worker that sent a creation; `AGAIN`: it has not noticed that it did."""

    CREATED = "created"
    REFUSED = "refused"
    UNREACHED = "unreached"
    LOST = "lost"
    DIED = "died"
    AGAIN = "again"


@dataclass
class Sent:
    """A creation under way, from its intent on; `made` is None until the carrier, or the network, has settled it."""

    reference: str
    at: datetime
    made: bool | None = None
    absences: int = 0

    def may_arrive(self, now: datetime) -> bool:
        """Whether the carrier may yet make it."""
        return self.made is None and now < self.at + SENDABLE

    def is_ruled_out(self, now: datetime) -> bool:
        """Whether it surely never was: the carrier or its worker knows, or two look-ups that nobody can outrun."""
        return self.made is False or (self.made is None and not self.may_arrive(now) and self.absences >= 2)

    def settle(self, now: datetime, *, made: bool) -> bool:
        """Make it or not, if that is still open; whether it came to that."""
        if self.may_arrive(now):
            self.made = made
        return self.made is made

    def answer(self, fate: Fate, now: datetime) -> Outcome:
        """What its worker is told; whatever can no longer be true is no answer."""
        match fate:
            case Fate.CREATED if self.settle(now, made=True):
                return Created(f"NR-{self.reference}", None)
            case Fate.REFUSED if self.settle(now, made=False):
                return _REFUSED
            case Fate.UNREACHED if self.settle(now, made=False):
                return _UNREACHED
            case _:
                return _LOST


@dataclass(frozen=True)
class Fortune:
    """How it goes for a worker that goes on; `arrives`: its creation, whatever it learns; `chance` is for `decide`."""

    luck: Luck
    fate: Fate
    arrives: bool
    chance: float


@dataclass(eq=False)
class Held:
    """A row that a worker claimed, and how far it came with it; it may be long lost."""

    worker: int
    order: ReturnOrder
    sent: Sent | None = None
    outcome: Outcome | None = None
    refused: bool = False

    def may_give_up(self) -> bool:
        """Whether nothing was sent that could come to anything."""
        return self.outcome is None and (self.sent is None or self.sent.made is None)

    def decide(self, now: datetime, chance: float) -> Decision:
        """The real decision; `now` is on the database's clock."""
        assert self.outcome is not None
        return decide(self.order, self.outcome, now, _POLICIES[_kind(self.order)], chance)

    def grow_older(self, span: timedelta) -> None:
        """What it was claimed with is as far back as the row."""
        moments = {name: getattr(self.order, name) for name in MOMENTS}
        self.order = self.order._replace(**{name: moment and moment - span for name, moment in moments.items()})


@dataclass
class Carrier:
    """Everything that was ever sent to it."""

    sent: list[Sent] = field(default_factory=list)

    def send(self, reference: str, now: datetime) -> Sent:
        """Nobody may send before every earlier creation is ruled out."""
        assert self.has_nothing(reference, now), f"{reference} is sent again"
        self.sent.append(Sent(reference, now))
        return self.sent[-1]

    def made(self, reference: str) -> int:
        """How many creations of the reference it has made."""
        return sum(sent.made is True for sent in self.sent if sent.reference == reference)

    def has_nothing(self, reference: str, now: datetime) -> bool:
        """Whether no creation of the reference exists or may exist."""
        return all(sent.is_ruled_out(now) for sent in self.sent if sent.reference == reference)

    def check(self, row: "Row", now: datetime) -> None:
        """At most one exists; where one has to it does, and where none may none does."""
        made = self.made(row.reference)
        assert made <= 1
        assert made == 1 or row.state not in (State.TRACKING, State.COMPLETED)
        assert self.has_nothing(row.reference, now) or not row.says_nothing_exists()

    def on_the_way(self, now: datetime) -> list[Sent]:
        """What may still arrive."""
        return [sent for sent in self.sent if sent.may_arrive(now)]

    def look_up(self, reference: str, luck: Luck) -> Outcome:
        """The truth, or no answer."""
        if luck is Luck.UNREACHED:
            return _UNREACHED
        if self.made(reference):
            return Created(f"NR-{reference}", None, adopted=True)
        for sent in self.sent:
            sent.absences += sent.reference == reference
        return Absent()


def performed(order: ReturnOrder, carrier: Carrier, luck: Luck) -> Outcome | None:
    """What a worker's step comes to, as `worker/engine/loop.py` has it; None for a creation that is to be sent."""
    if order.claims > MAX_CLAIMS and order.state in (State.PENDING, State.TRACKING):
        return Poisoned()
    searched = _kind(order) == SEARCHED
    action = action_for(order, can_cancel=searched)
    if not isinstance(action, Step):
        return action
    if action is not Step.CREATE:
        return _ANSWERS[action, luck]
    if order.create_started_at is None:
        return None
    return carrier.look_up(order.reference, luck) if searched else Interrupted()


def is_history(lines: Iterable[Mapping[str, Any]], state: State) -> bool:
    """Whether the history has no gap, knows no forbidden way, and ends in `state`."""
    last = State.PENDING
    for line in lines:
        if line["field"] == "state":
            old, new = State(line["old_value"]), State(line["new_value"])
            if old is not last or not (new is old or new in MAY_BECOME[old]):
                return False
            last = new
    return last is state


def _kind(order: ReturnOrder) -> str:
    return order.account.split("-")[0]


_ANSWERS: Mapping[tuple[Step, Luck], Outcome] = {
    (Step.LABEL, Luck.WELL): LabelReady(_LABEL),
    (Step.LABEL, Luck.NOT_YET): LabelTrouble("label_not_ready", "no"),
    (Step.LABEL, Luck.UNREACHED): _UNREACHED,
    (Step.TRACK, Luck.WELL): Tracked(TrackingUpdate(TrackingStatus.DELIVERED, "Bezorgd")),
    (Step.TRACK, Luck.NOT_YET): Tracked(TrackingUpdate(TrackingStatus.IN_TRANSIT, "Onderweg")),
    (Step.TRACK, Luck.UNREACHED): _UNREACHED,
    (Step.CANCEL, Luck.WELL): Withdrawn(TOLD),
    (Step.CANCEL, Luck.NOT_YET): NotCancelled(_REFUSED),
    (Step.CANCEL, Luck.UNREACHED): NotCancelled(_UNREACHED),
}


_UNSEEN = {"account", "reference", "due", "held_until"}


@dataclass
class Row:
    """What a row of `return_order` has to be; each method is one statement of a worker's or of the shop's."""

    id: int
    account: str
    reference: str
    due: datetime | None
    state: State = State.PENDING
    step: Step = Step.CREATE
    token: int = 0
    claims: int = 0
    changes: int = 0
    lines: int = 0
    intent: bool = False
    tried: bool = False
    cancel: bool = False
    retry: bool = False
    at_carrier: bool = False
    held_until: datetime | None = None

    @property
    def queue(self) -> Step:
        """Where it waits: what the carrier has and the shop withdraws goes before everything else."""
        return Step.CANCEL if self.cancel and self.step is not Step.CREATE else self.step

    def may_be_claimed(self, now: datetime) -> bool:
        """Due, and held by nobody whose lease lasts."""
        return self._is_due(now) and (self.held_until is None or self.held_until < now)

    def claim(self, now: datetime) -> int:
        """A new lease; its token."""
        self.token, self.claims, self.held_until = self.token + 1, self.claims + 1, now + LEASE
        return self.token

    def start(self, order: ReturnOrder, now: datetime) -> bool:
        """Commit the intent; whether it may be sent."""
        lasts = self.held_until is not None and self.held_until > now + CALL
        same = (order.lease_token, order.shop_changes) == (self.token, self.changes)
        if not (same and lasts and self.state is State.PENDING and not self.intent):
            return False
        self.intent = self.tried = True
        return True

    def record(self, order: ReturnOrder, decision: Decision, now: datetime, ahead: timedelta) -> bool:
        """Become what was decided; whether this was still the holder's to say."""
        if not self._is_held_by(order) or order.state is not self.state:
            return False
        after = decision.order
        self.state, self.step, self.claims = after.state, after.next_step, after.claims
        self.intent, self.tried = after.create_started_at is not None, after.first_attempt_at is not None
        self.at_carrier, self.held_until = after.carrier_ref is not None, None
        self.lines += len(decision.transitions)
        if order.shop_changes == self.changes:
            self.due = after.due_at and after.due_at + ahead
            self.cancel = after.cancel_requested_at is not None
            self.retry = after.retry_requested_at is not None
        else:
            self.due = now  # what the shop asked for while it was held is looked at next
        return True

    def hand_back(self, order: ReturnOrder) -> None:
        """Nothing was done: the claim does not count, and the holder's own intent is taken back."""
        if self._is_held_by(order):
            self.held_until, self.claims = None, max(self.claims - 1, 0)
            self.intent = self.intent and order.create_started_at is not None
            self.tried = self.tried and order.first_attempt_at is not None

    def ask(self, now: datetime, *, cancel: bool) -> None:
        """The shop asks for a withdrawal or a retry."""
        self.cancel, self.retry = self.cancel or cancel, self.retry or not cancel
        self.due, self.changes = now, self.changes + 1

    def mend(self) -> bool:
        """The shop changes the payload; whether the database lets it."""
        if self.intent or self.state not in (State.PENDING, State.REJECTED):
            return False
        self.changes += 1
        return True

    def says_nothing_exists(self) -> bool:
        """Whether it may be sent, or was settled without anything at the carrier."""
        if self.state is State.PENDING:
            return not self.intent
        return self.state is State.REJECTED or (self.state is State.CANCELLED and not self.at_carrier)

    def seen(self, now: datetime) -> dict[str, Any]:
        """What `SEEN` must show of it."""
        same = {name: value for name, value in vars(self).items() if name not in _UNSEEN}
        held, waits = self.held_until is not None, self.due is not None
        return same | {"is_held": held, "waits": waits, "is_due": self._is_due(now)}

    def _is_held_by(self, order: ReturnOrder) -> bool:
        return self.held_until is not None and self.token == order.lease_token

    def _is_due(self, now: datetime) -> bool:
        return self.due is not None and self.due <= now + _SLACK
