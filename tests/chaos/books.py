"""Keeps account: what the carriers have, what the database says, and what follows from comparing them."""

import re
from collections import Counter
from dataclasses import dataclass

from tests.process.shop import Shop
from worker.domain.lifecycle import MAY_BECOME, State
from worker.simulator import Simulator

REFERENCE = re.compile(r"C-\d{6}")


@dataclass(frozen=True, slots=True)
class Orders:
    """The orders of both carriers: each one's number and the reference of the return it was created for."""

    numbers: dict[str, str]

    @classmethod
    def of(cls, carrier: Simulator) -> "Orders":
        """Read from the carriers themselves, not from what anybody was answered."""
        numbers = {}
        for number, order in carrier.orders.items():
            found = REFERENCE.search(order.description)
            assert found is not None, order.description
            numbers[number] = found[0]
        numbers |= {str(order.id): order.reference for order in carrier.pilot_orders.values()}
        return cls(numbers)

    @property
    def duplicates(self) -> list[str]:
        """References that were created more than once."""
        return sorted(reference for reference, count in Counter(self.numbers.values()).items() if count > 1)

    def number_of(self, reference: str) -> str | None:
        """The number of the order that was created for a return."""
        return next((number for number, owner in self.numbers.items() if owner == reference), None)


async def lost(shop: Shop, inserted: list[str], orders: Orders) -> list[str]:
    """Returns that came to no end, or to one that the carrier knows nothing of; and orders that nobody knows."""
    rows = {row["reference"]: row for row in await shop.execute("SELECT * FROM return_order")}
    wrong = [f"{reference}: its row is gone" for reference in inserted if reference not in rows]
    for reference, row in rows.items():
        if row["state"] != State.COMPLETED:
            wrong.append(f"{reference}: {row['state']} ({row['error_code']}: {row['error_message']})")
        elif orders.numbers.get(row["carrier_ref"]) != reference:
            wrong.append(f"{reference}: has {row['carrier_ref']}, which is not its order at the carrier")
    known = {row["carrier_ref"] for row in rows.values()}
    wrong += [
        f"{reference}: {number} is nobody's" for number, reference in orders.numbers.items() if number not in known
    ]
    return wrong


async def untrue_histories(shop: Shop) -> list[str]:
    """Returns whose history does not lead, by changes that there are, from `pending` to where they stand."""
    at: dict[int, str] = {}
    wrong = []
    for line in await shop.execute(
        "SELECT * FROM status_transition WHERE field = 'state' ORDER BY return_order_id, id"
    ):
        order_id, old, new = line["return_order_id"], line["old_value"], line["new_value"]
        if old != at.get(order_id, "pending") or not (old == new or State(new) in MAY_BECOME[State(old)]):
            wrong.append(f"{order_id}: {at.get(order_id, 'pending')}, then {old} -> {new}")
        at[order_id] = new
    rows = await shop.execute("SELECT id, state FROM return_order")
    return wrong + [
        f"{row['id']}: ends {at.get(row['id'])}, is {row['state']}" for row in rows if at.get(row["id"]) != row["state"]
    ]


async def asked_about(shop: Shop) -> int:
    """How many returns a person was asked about."""
    rows = await shop.execute(
        "SELECT DISTINCT return_order_id FROM status_transition"
        " WHERE new_value = 'needs_attention' AND old_value <> new_value"
    )
    return len(rows)


def second_posts(carrier: Simulator, before: int) -> list[str]:
    """References sent once more to the carrier that cannot be searched, after an answer that proves nothing.

    Of the first `before` creations: what came later a person had said something about.
    """
    unsure: set[str] = set()
    wrong = []
    for request in carrier.requests("create")[:before]:
        found = REFERENCE.search(str((request.body or {}).get("description")))
        assert found is not None
        if found[0] in unsure:
            wrong.append(found[0])
        if request.reply_status not in (429, 503):
            unsure.add(found[0])
    return wrong
