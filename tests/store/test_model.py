"""Whatever workers, shops, the carrier and time do, in any order: each return comes to one end and is created once."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine as Machine
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.store import model
from tests.store.model import Carrier, Fate, Fortune, Held, Luck, Row, Sent
from tests.store.shop import Refused, Shop
from worker.domain.lifecycle import QUEUES, State
from worker.store.claims import Lane, claim, hand_back, start_creation
from worker.store.database import Database
from worker.store.records import record

T = TypeVar("T")

SETTLED = (State.COMPLETED, State.CANCELLED, State.REJECTED, State.NEEDS_ATTENTION)
ONLY_LUCK = Fortune(Luck.WELL, Fate.CREATED, arrives=True, chance=0.0)


class Play:
    """One example: what happens, done to the database and to the model alike."""

    def __init__(self, database: Database, shop: Shop, number: int) -> None:
        self.database, self.shop = database, shop
        self.accounts = f"{model.PLAIN}-{number}", f"{model.SEARCHED}-{number}"
        self.rows: dict[int, Row] = {}
        self.held: list[Held] = []
        self.recorded: list[Held] = []
        self.carrier = Carrier()
        self.ahead = timedelta()
        self.clock = datetime.min.replace(tzinfo=UTC)
        self.wishes = count(1)

    def now(self) -> datetime:
        """The time in this play."""
        return datetime.now(UTC) + self.ahead

    async def tick(self) -> None:
        """Wait until the database's time is later than all it set before: what is due first must not be chance."""
        last = self.clock
        while self.clock <= last:
            await self.read_clock()

    async def read_clock(self) -> None:
        now = await self.shop.value(f"SELECT {self.shop.moment()}")
        self.clock = datetime.fromisoformat(now).replace(tzinfo=UTC) if self.shop.sqlite else now

    def due(self) -> list[Row]:
        now = self.now()
        return [row for row in self.rows.values() if row.may_be_claimed(now)]

    async def insert(self, account: str) -> None:
        await self.tick()
        reference = f"{account}-{len(self.rows)}"
        statement = "INSERT INTO return_order (account, reference, payload) VALUES ($1, $2, '{}') RETURNING id"
        order_id = await self.shop.value(statement, account, reference)
        self.rows[order_id] = Row(order_id, account, reference, self.now())
        await self.read_clock()

    async def claim(self, worker: int, quota: int) -> list[Held]:
        """As many as there are places in each lane, and all where there are places enough."""
        lanes = [Lane(account, step, quota) for account in self.accounts for step in QUEUES]
        due = self.due()
        claimed = await claim(self.database, lanes, f"worker-{worker}", model.LEASE)
        taken = [Held(worker, each.order) for each in claimed]
        got = Counter((held.order.account, held.order.queue) for held in taken)
        assert got == {lane: min(quota, n) for lane, n in Counter((row.account, row.queue) for row in due).items()}
        assert {held.order.id for held in taken} <= {row.id for row in due}
        for held in taken:
            assert held.order.lease_token == self.rows[held.order.id].claim(self.now())
        self.held += taken
        return taken

    async def go_on(self, held: Held, fortune: Fortune) -> None:
        """The next thing that a worker does with what it has; nothing prevents it from doing so too late."""
        if held.outcome is not None:
            await self.record([held], fortune.chance)
        elif held.sent is not None:
            await self.answer(held, held.sent, fortune)
        elif held.refused:
            await self.give_up(held)
        else:
            await self.act(held, fortune.luck)

    async def act(self, held: Held, luck: Luck) -> None:
        """Do the step; of a creation only as far as that it is on its way, or may not be sent."""
        held.outcome = model.performed(held.order, self.carrier, luck)
        if held.outcome is None:
            await self.start(held)

    async def start(self, held: Held) -> None:
        await self.tick()
        row = self.rows[held.order.id]
        allowed = await start_creation(self.database, held.order, model.CALL) is not None
        assert allowed == row.start(held.order, self.now())
        held.refused = not allowed
        if allowed:
            held.sent = self.carrier.send(row.reference, self.now())
        await self.read_clock()

    async def answer(self, held: Held, sent: Sent, fortune: Fortune) -> None:
        """The creation comes to its end, or only its worker does; or its intent is committed once more."""
        if fortune.arrives:
            sent.settle(self.now(), made=True)
        if fortune.fate is Fate.AGAIN:
            await self.start(held)
        elif fortune.fate is Fate.DIED:
            self.held.remove(held)
        else:
            held.outcome = sent.answer(fortune.fate, self.now())

    async def record(self, batch: Sequence[Held], chance: float) -> None:
        await self.tick()
        made = [(held.order, held.decide(self.clock, chance)) for held in batch]
        await self.tick()
        before = await self.everything()
        written = await record(self.database, made)
        after = await self.everything()
        for order, decision in made:
            ours = self.rows[order.id].record(order, decision, self.now(), self.ahead)
            assert (order.id in written) == ours
            assert ours or before[order.id] == after[order.id]
        self.recorded += [held for held in batch if held in self.held]
        self.held = [held for held in self.held if held not in batch]
        await self.read_clock()

    async def hand_back(self, held: Held) -> None:
        await hand_back(self.database, [held.order])
        self.rows[held.order.id].hand_back(held.order)

    async def give_up(self, held: Held) -> None:
        """What was not sent yet never will be."""
        if held.sent is not None:
            held.sent.made = False
        self.held.remove(held)
        await self.hand_back(held)

    async def expire(self, row: Row) -> None:
        """The lease is over before its time, as for a clock that jumped."""
        await self.shop.run(f"UPDATE return_order SET lease_until = {self.shop.moment(-1)} WHERE id = $1", row.id)
        row.held_until = self.now() - timedelta(seconds=1)

    async def let_pass(self, span: timedelta) -> None:
        """It is later when everything lies further back."""
        seconds = f"{span.total_seconds():.0f} seconds"
        form = f"{{0}} - interval '{seconds}'"
        if self.shop.sqlite:
            form = f"strftime('%Y-%m-%d %H:%M:%f', {{0}}, '-{seconds}')"
        moved = ", ".join(f"{name} = {form.format(name)}" for name in (*model.MOMENTS, "lease_until"))
        await self.shop.run(f"UPDATE return_order SET {moved} WHERE account IN ($1, $2)", *self.accounts)
        self.ahead += span
        for held in self.held:
            held.grow_older(span)

    async def ask(self, row: Row, *, cancel: bool) -> None:
        """Each request has a moment of its own, since setting the same one again says nothing."""
        await self.tick()
        column = "cancel_requested_at" if cancel else "retry_requested_at"
        moment = self.shop.moment(-3600 * next(self.wishes))
        await self.shop.run(f"UPDATE return_order SET {column} = {moment} WHERE id = $1", row.id)
        row.ask(self.now(), cancel=cancel)
        await self.read_clock()

    async def mend(self, row: Row) -> None:
        payload, allowed = json.dumps({"description": next(self.wishes)}), True
        try:
            await self.shop.run("UPDATE return_order SET payload = $1 WHERE id = $2", payload, row.id)
        except Refused:
            allowed = False
        assert allowed == row.mend()

    async def check(self) -> None:
        """The database is what the model says, and the model is what it may be."""
        seen = await self.shop.fetch(model.SEEN.format(now=self.shop.moment()), *self.accounts)
        now = self.now()
        assert seen == [self.rows[order_id].seen(now) for order_id in sorted(self.rows)]
        assert all(row["waits"] for row in seen if row["state"] in (State.PENDING, State.TRACKING))
        for row in self.rows.values():
            self.carrier.check(row, now)
            assert sum((held.order.id, held.order.lease_token) == (row.id, row.token) for held in self.held) <= 1

    async def end(self) -> None:
        """All workers die, half of what is on its way arrives, and one who has only luck does the rest."""
        self.held.clear()
        for sent in self.carrier.on_the_way(self.now())[::2]:
            sent.settle(self.now(), made=True)
        for _ in range(40):
            await self.let_pass(model.LONG)
            while self.due():
                await self.finish(await self.claim(0, 9))
            if not any(row.due for row in self.rows.values()):
                break
        await self.check()
        for row in self.rows.values():
            assert row.state in SETTLED
            assert row.due is None
            assert model.is_history(await self.shop.transitions(row.id), row.state)

    async def finish(self, taken: Sequence[Held]) -> None:
        for held in taken:
            await self.act(held, ONLY_LUCK.luck)
            if held.sent is not None:
                await self.answer(held, held.sent, ONLY_LUCK)
        await self.record(taken, ONLY_LUCK.chance)

    async def everything(self) -> dict[int, dict[str, Any]]:
        rows = await self.shop.fetch("SELECT * FROM return_order WHERE account IN ($1, $2)", *self.accounts)
        return {row["id"]: row for row in rows}


PICK, WORKER, WHICH = st.integers(0, 11), st.integers(0, 2), st.sampled_from([1, 1, 0])
STEPS = st.sampled_from([0, 0, 1, 2, 3])
CHANCE = st.sampled_from([0.0, 0.9])
FATE = st.sampled_from([*Fate, Fate.LOST, Fate.DIED])
FORTUNE = st.builds(Fortune, st.sampled_from(Luck), FATE, arrives=st.sampled_from([False, False, True]), chance=CHANCE)


def picked(choices: Sequence[T], pick: int) -> T:
    return choices[pick % len(choices)]


class Life(Machine):
    """Draws what happens next; everybody acts on what he has, however old."""

    def __init__(self, runner: asyncio.Runner, play: Play) -> None:
        super().__init__()
        self.runner, self.play, self.broken = runner, play, False

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.runner.run(work)
        except BaseException:
            self.broken = True
            raise

    def go_on(self, held: Held, fortune: Fortune, steps: int) -> None:
        for _ in range(steps):
            if held in self.play.held:
                self.do(self.play.go_on(held, fortune))

    def rows(self) -> list[Row]:
        return list(self.play.rows.values())

    def leased(self) -> list[Row]:
        return [row for row in self.rows() if row.held_until is not None and row.held_until > self.play.now()]

    def unsent(self) -> list[Held]:
        return [held for held in self.play.held if held.may_give_up()]

    def on_the_way(self) -> list[Sent]:
        return self.play.carrier.on_the_way(self.play.now())

    @initialize(which=WHICH, fortune=FORTUNE, steps=STEPS, dies=st.booleans())
    def begin(self, which: int, fortune: Fortune, steps: int, dies: bool) -> None:
        self.shop_inserts(which)
        self.worker_claims(0, 1, fortune, steps)
        if dies and self.leased():
            self.time_goes_by(0, "lease expires")

    @precondition(lambda life: sum(row.state not in SETTLED for row in life.rows()) < 3)
    @rule(which=WHICH)
    def shop_inserts(self, which: int) -> None:
        self.do(self.play.insert(self.play.accounts[which]))

    @rule(pick=PICK, wish=st.sampled_from(["cancel", "retry", "retry", "payload"]))
    def shop_changes(self, pick: int, wish: str) -> None:
        row = picked(self.rows(), pick)
        self.do(self.play.mend(row) if wish == "payload" else self.play.ask(row, cancel=wish == "cancel"))

    @rule(pick=PICK, fortune=FORTUNE, steps=STEPS)
    def shop_asks_and_is_heard(self, pick: int, fortune: Fortune, steps: int) -> None:
        self.shop_changes(pick, "retry")
        self.worker_claims(0, 3, fortune, steps)

    @precondition(lambda life: life.play.due())
    @rule(worker=WORKER, quota=st.integers(1, 3), fortune=FORTUNE, steps=STEPS)
    def worker_claims(self, worker: int, quota: int, fortune: Fortune, steps: int) -> None:
        for held in self.do(self.play.claim(worker, quota)):
            self.go_on(held, fortune, steps)

    @precondition(lambda life: life.play.held)
    @rule(pick=PICK, fortune=FORTUNE, steps=st.integers(1, 2))
    def worker_goes_on(self, pick: int, fortune: Fortune, steps: int) -> None:
        self.go_on(picked(self.play.held, pick), fortune, steps)

    @precondition(lambda life: life.leased())
    @rule(pick=PICK, worker=WORKER, fortune=FORTUNE, steps=STEPS)
    def worker_is_overtaken(self, pick: int, worker: int, fortune: Fortune, steps: int) -> None:
        row = picked(self.leased(), pick)
        overtaken = [held for held in self.play.held if held.order.id == row.id]
        self.do(self.play.expire(row))
        self.worker_claims(worker, 3, fortune, steps)
        for held in overtaken:
            self.go_on(held, fortune, 1)

    @precondition(lambda life: life.play.held)
    @rule(pick=PICK, chance=CHANCE)
    def worker_records_all(self, pick: int, chance: float) -> None:
        worker = picked(self.play.held, pick).worker
        done = {held.order.id: held for held in self.play.held if held.worker == worker and held.outcome is not None}
        self.do(self.play.record(list(done.values()), chance))

    @rule(pick=PICK, how=st.sampled_from(["gives up", "records again", "hands back again"]))
    def worker_errs(self, pick: int, how: str) -> None:
        if how == "gives up" and self.unsent():
            self.do(self.play.give_up(picked(self.unsent(), pick)))
        elif self.play.recorded:
            held = self.play.recorded.pop(pick % len(self.play.recorded))
            self.do(self.play.record([held], 0.0) if how == "records again" else self.play.hand_back(held))

    @rule(pick=PICK, what=st.sampled_from(["lease expires", "creation arrives", "some passes", "much passes"]))
    def time_goes_by(self, pick: int, what: str) -> None:
        if what == "lease expires" and self.leased():
            self.do(self.play.expire(picked(self.leased(), pick)))
        elif what == "creation arrives" and self.on_the_way():
            picked(self.on_the_way(), pick).settle(self.play.now(), made=True)
        else:
            self.do(self.play.let_pass(model.LONG if what == "much passes" else model.SHORT))

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        self.do(self.play.check())

    def teardown(self) -> None:
        if not self.broken:
            self.do(self.play.end())


@pytest.mark.parametrize(
    ("examples", "steps"),
    [
        pytest.param(20, 50, marks=pytest.mark.timeout(600)),  # a failure is shrunk before it is told
        pytest.param(3000, 80, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_every_return_comes_to_one_end_and_is_never_created_twice(url: str, examples: int, steps: int) -> None:
    quiet = [HealthCheck.too_slow]
    how = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=quiet)
    numbers = count()  # a pair of accounts for each example, so that nothing has to be emptied in between
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        database, connection = Database(url, pool_size=1), Shop.at(url)
        shop = runner.run(connection.__aenter__())
        try:
            run_state_machine_as_test(lambda: Life(runner, Play(database, shop, next(numbers))), settings=how)
        finally:
            runner.run(connection.__aexit__(None, None, None))
            runner.run(database.close())
