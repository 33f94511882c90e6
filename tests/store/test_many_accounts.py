"""No statement grows with the configuration: a thousand accounts are a longer list, and no longer statement."""

import pytest

from tests.store.rows import LEASE
from tests.store.shop import Shop
from worker.domain.lifecycle import QUEUES, Step
from worker.domain.returns import ReturnOrder
from worker.store.accounts import read_agendas, register_accounts
from worker.store.claims import Lane, claim
from worker.store.database import Database
from worker.store.label_codes import owner_of
from worker.store.queries import read_backlog

NAMES = [f"shop_{number:04}" for number in range(1000)]


@pytest.fixture
async def filled(database: Database, shop: Shop) -> Database:
    """A thousand accounts with three new returns each."""
    await register_accounts(database, NAMES)
    await shop.run(
        "INSERT INTO return_order (account, reference, payload)"
        " SELECT a.name, n.v, '{}' FROM carrier_account a, (SELECT 'R-1' AS v UNION SELECT 'R-2' UNION SELECT 'R-3') n"
    )
    return database


async def test_a_thousand_accounts_with_work_are_served_by_one_claim(filled: Database) -> None:
    agendas = await read_agendas(filled, NAMES, 11)
    assert {agenda.due[Step.CREATE] for agenda in agendas.values()} == {3}
    lanes = [Lane(name, step, 1 + index % 2) for index, name in enumerate(NAMES) for step in QUEUES]
    taken = await claim(filled, lanes, "worker-1", LEASE)
    count = dict.fromkeys(NAMES, 0)
    for each in taken:
        count[each.order.account] += 1
    assert [count[name] for name in NAMES] == [1 + index % 2 for index in range(len(NAMES))]
    assert len(await read_backlog(filled)) == len(NAMES)
    assert await owner_of(filled, ReturnOrder(0, NAMES[0], "R"), ["7RET1"], NAMES) is None
