"""Compressed time: the worker's own rules for pace, turns and decisions, over a heap for a clock and a drawn carrier.

What decides is the worker's code: `Pace.take`, `lanes_of`, `cut`, `first_step`, `decide`, and the policy that its
settings make. What stands in is around it: for the database queues in the order in which a claim takes rows, for the
carrier a journey for each return and a latency for each request.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from math import inf

from tests.cadence.carrier import Journey
from tests.cadence.clock import moment, seconds
from tests.cadence.ledger import Ledger, Poll
from worker.domain.decide import decide
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import SCHEDULED_STEPS, State, Step
from worker.domain.outcomes import Created, Failed, FailureKind, LabelReady, LabelTrouble, Outcome, StoredLabel
from worker.domain.pacing import TOKEN_LIFE, Pace, shortfall
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder
from worker.engine.turn import cut, first_step, lanes_of

TICK, READING = 1.0, 15.0  # worker.tick and worker.gauges
FASTEST, SLOWEST = 0.2, 2.0  # a request's latency
TROUBLE = 0.002  # of the requests fail

_TOKEN_LIFE = TOKEN_LIFE.total_seconds()
_MANY = 11  # a turn counts no further than this, or than it could take
_LABEL = LabelReady(StoredLabel(1, "file:labels/x.pdf", "application/pdf", 1000, 1, "ab" * 32))
_NO_LABEL = LabelTrouble(ErrorCode.LABEL_NOT_READY, "not yet")
_NOT_REACHED, _BROKEN = Failed(FailureKind.NETWORK, "no connection"), Failed(FailureKind.SERVER_ERROR, "503")


@dataclass(slots=True)
class Hand:
    """What one worker holds of one account, as `worker.engine.account.Account` counts it."""

    places: int
    in_hand: int = 0
    calling: int = 0
    waiting: "deque[Call]" = field(default_factory=deque)

    @property
    def free(self) -> int:
        return max(0, self.places - self.in_hand)

    @property
    def room(self) -> int:
        return max(0, self.places + max(1, self.places // 4) - self.in_hand)


class Account:
    """An account's rows, its queues by step in the order of (due_at, id), and the pace that its workers share."""

    def __init__(self, name: str, policy: Policy, rate: int, places: int = 8, workers: int = 2) -> None:
        """`rate` 0: no limit; `places` is `max_in_flight`, of each worker."""
        self.name, self.policy, self.rate = name, policy, rate
        self.pace = Pace(rate) if rate else None
        self.spent_until: datetime | None = None
        self.hands = [Hand(places) for _ in range(workers)]
        self.rows: dict[int, ReturnOrder] = {}
        self.journeys: dict[int, Journey] = {}
        self.ledger = Ledger(name, rate, policy)
        self.look_at = inf  # when a turn would next find something to do
        self.left_behind = False  # whether rows were left behind for want of a place
        self._later: dict[Step, list[tuple[float, int]]] = {step: [] for step in SCHEDULED_STEPS}
        self._due: dict[Step, list[tuple[float, int]]] = {step: [] for step in SCHEDULED_STEPS}
        self._next_due = inf

    def put(self, order: ReturnOrder) -> float:
        """Write a row that is to be done again; when that is."""
        assert order.due_at is not None
        at = seconds(order.due_at)
        self.rows[order.id] = order
        heappush(self._later[order.next_step], (at, order.id))
        self._next_due = min(self._next_due, at)
        return at

    def see(self, now: float) -> None:
        """Queue what has become due. A poll may have been for long, where its return waited for its label first."""
        if self._next_due > now:
            return
        for step, later in self._later.items():
            due = self._due[step]
            while later and later[0][0] <= now:
                heappush(due, heappop(later))
        self._next_due = min((later[0][0] for later in self._later.values() if later), default=inf)

    def due(self, most: int) -> dict[Step, int]:
        """How many rows are due by step, counted up to `most`."""
        return {step: min(len(queue), most) for step, queue in self._due.items()}

    def take(self, step: Step) -> tuple[float, ReturnOrder]:
        """The row of a step that is due longest, and since when it is."""
        at, row = heappop(self._due[step])
        return at, self.rows[row]

    @property
    def next_due(self) -> float:
        """When the next row becomes due."""
        return self._next_due

    @property
    def backlog(self) -> int:
        """Rows that are due and held by nobody."""
        return sum(map(len, self._due.values()))

    def shortfall(self, now: float) -> float:
        """What the worker reports."""
        self.see(now)
        oldest = min((queue[0][0] for queue in self._due.values() if queue), default=None)
        since = moment(oldest) if oldest is not None else None
        return shortfall(self.pace, self.backlog, since, moment(now)).total_seconds()


@dataclass(slots=True)
class Call:
    """A row that was claimed, with the token it was given."""

    account: Account
    hand: Hand
    order: ReturnOrder
    due: float
    claimed: float
    token_until: float
    sent: float = 0.0


class Simulation:
    """Workers who turn over all accounts; a turn that could take nothing is left out, which changes nothing."""

    def __init__(self, accounts: Iterable[Account], seed: int, begin: float = 0.0) -> None:
        """`begin`: when the workers start; what was put before is due as it says."""
        self.accounts = list(accounts)
        self.now, self.random = begin, random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], object]] = []
        self._count, self._turn_at, self._first = 0, inf, 0
        self._read_at = begin - READING
        self._shortfall = dict.fromkeys((account.name for account in self.accounts), 0.0)

    def insert(self, account: Account, order: ReturnOrder, journey: Journey) -> None:
        """A shop's row, which the next tick finds; or one that is followed already."""
        account.journeys[order.id] = journey
        self._look(account, account.put(order))

    def at(self, time: float, do: Callable[..., None], what: object = None) -> None:
        """Call `do(what)` at a time."""
        self._count += 1  # in the order in which they were asked for, where two are at one time
        heappush(self._events, (time, self._count, do, what))

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        self._read_up_to(self.now)
        while self._events and self._events[0][0] <= until:
            self.now, _, do, what = heappop(self._events)
            if self._read_at + READING <= self.now:
                self._read_up_to(self.now)
            do(what)
        self.now = until

    def _read_up_to(self, now: float) -> None:
        """Read the gauges as often as the worker does."""
        while self._read_at + READING <= now:
            self._read_at += READING
            for account in self.accounts:
                shortfall = account.shortfall(self._read_at)
                self._shortfall[account.name] = shortfall
                if shortfall > account.ledger.worst_shortfall:
                    account.ledger.worst_shortfall = shortfall

    def _look(self, account: Account, due: float) -> None:
        """Let the account be looked at when something is due there: a worker without work may be a tick late."""
        at = max(due, self.now) + self.random.random() * TICK
        if at < account.look_at:
            account.look_at = at
            self._turn_by(at)

    def _turn_by(self, at: float) -> None:
        if at < self._turn_at:
            self._turn_at = at
            self.at(at, self._turn)

    def _turn(self, _: object) -> None:
        if self._turn_at > self.now:
            return  # another turn came before this one
        self._turn_at = inf
        for account in self.accounts:
            if account.look_at <= self.now:
                account.look_at = self._serve(account)
            self._turn_by(account.look_at)

    def _serve(self, account: Account) -> float:
        """Let each worker take what it has places for; when the account is to be looked at again."""
        now = self.now
        account.see(now)
        self._first += 1
        hands = account.hands
        for index in range(len(hands)):
            hand = hands[(self._first + index) % len(hands)]
            if not account.backlog:
                break
            if hand.room:
                again = self._claim(account, hand)
                if again is not None:
                    return again
        account.left_behind = bool(account.backlog)
        if account.left_behind:
            return inf  # whoever ends a call looks again
        return account.next_due + self.random.random() * TICK

    def _claim(self, account: Account, hand: Hand) -> float | None:
        """One worker's turn, as in `Advance._shares`; when there will be a token, if there were too few."""
        now, free, next_at = self.now, hand.free, None
        due = account.due(max(_MANY, hand.places + max(1, hand.places // 4) + 1))
        lanes = lanes_of(account.name, due, free=free, ahead=hand.room - free, first=first_step(self.random.random()))
        if account.pace is not None:
            wanted = sum(lane.quota for lane in lanes)
            grant = account.pace.take(account.spent_until, moment(now), wanted)
            if grant.tokens:
                account.spent_until = grant.spent_until
            if grant.tokens < wanted:
                lanes = cut(lanes, grant.tokens)
                next_at = now + max(grant.wait.total_seconds(), 1e-6)
        queued = due[Step.CREATE] > 0 and due[Step.TRACK] > 0 and due[Step.LABEL] > 0
        for lane in lanes:
            for _ in range(lane.quota):
                since, order = account.take(lane.step)
                self._take(Call(account, hand, order, since, now, now + _TOKEN_LIFE))
            if queued:
                account.ledger.served_while_all_wait[lane.step] += lane.quota
        return next_at

    def _take(self, call: Call) -> None:
        hand, account = call.hand, call.account
        reported = self._shortfall[account.name] if self._read_at >= call.due else 0.0
        account.ledger.claimed(call.order, self.now - call.due, reported + READING + TICK)
        hand.in_hand += 1
        if hand.calling < hand.places:
            hand.calling += 1
            self._send(call)
        else:
            hand.waiting.append(call)

    def _send(self, call: Call) -> None:
        """The request leaves; where its token has become void meanwhile, another one is waited for."""
        account, now = call.account, self.now
        if account.pace is not None and call.token_until < now:
            grant = account.pace.take(account.spent_until, moment(now), 1)
            if not grant.tokens:
                self.at(now + max(grant.wait.total_seconds(), 1e-6), self._send, call)
                return
            account.spent_until = grant.spent_until
        call.sent = now
        latency = FASTEST + (SLOWEST - FASTEST) * self.random.random() ** 2
        account.ledger.sent(now, now + latency * self.random.random(), now - call.claimed, sum_calling(account))
        self.at(now + latency, self._answered, call)

    def _answered(self, call: Call) -> None:
        account, hand, now = call.account, call.hand, self.now
        hand.in_hand -= 1
        if hand.waiting:
            self._send(hand.waiting.popleft())
        else:
            hand.calling -= 1
        order = call.order
        outcome = self._outcome(account, order)
        decision = decide(order, outcome, moment(now), account.policy, self.random.random())
        after = decision.order
        if order.next_step is Step.TRACK:
            poll = Poll(order, after, call.due, call.sent, now, outcome)
            account.ledger.polled(poll, account.journeys[order.id])
        if after.due_at is not None:
            self._look(account, account.put(after))
        else:
            del account.rows[order.id]
            account.ledger.ended(after, account.journeys.pop(order.id), now)
        if account.left_behind:
            account.look_at = now
            self._turn_by(now)

    def _outcome(self, account: Account, order: ReturnOrder) -> Outcome:
        now, failed = self.now, self.random.random() < TROUBLE
        if order.state is State.PENDING:
            if failed:
                return _NOT_REACHED  # the one failure after which a creation is surely sent again
            account.journeys[order.id].born = account.ledger.last_created = now
            return Created(f"9RET{order.id}", None)
        if failed:
            return _BROKEN
        journey = account.journeys[order.id]
        if order.next_step is Step.LABEL:
            return _LABEL if now - journey.born >= journey.label_after else _NO_LABEL
        return journey.seen(now)


def sum_calling(account: Account) -> int:
    """Calls of an account that are under way at once."""
    return sum(hand.calling for hand in account.hands)
