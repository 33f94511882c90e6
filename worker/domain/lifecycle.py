"""The states of a return, the steps that move it, and which state may follow which.

::

                      INSERT
                        |
                        v      created               terminal status, or too old
     .-- retry --->  pending ------------> tracking ------------------------> completed
     |                |  |  \\                |  |
     |  refused,      |  |   \\  in doubt,    |  |  fails without end
     |  invalid       |  |    \\ or no end    |  |
     |                v  |     v              v  |
     '----------- rejected     needs_attention   |
                      |               |          |
                      withdrawn       |          v withdrawn
                      '------->   cancelled  <---'

There is no "running" state: the lease says who works on a row. Where the carrier can be searched, a creation in doubt
stays pending while it is looked up; what is found is adopted, what is surely not there is sent again.

A person leaves `needs_attention` and `rejected` by a command (worker/domain/by_hand.py): retry, to pending or, where
the carrier has it, to tracking; resolve, to tracking or pending; cancel, to cancelled.

What is over stays over, but for these: a shop puts back a `rejected` return with a better payload, and a `completed`
one that a person asks the carrier about (`poll`) is followed again when the carrier says that it is still under way.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where a return is in our hands; `ReturnOrder.state`."""

    PENDING = "pending"
    TRACKING = "tracking"
    COMPLETED = "completed"
    REJECTED = "rejected"
    NEEDS_ATTENTION = "needs_attention"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What a worker does with a row it has claimed."""

    CREATE = "create"
    LABEL = "label"
    TRACK = "track"
    CANCEL = "cancel"


SCHEDULED_STEPS = (Step.CREATE, Step.LABEL, Step.TRACK)
"""The values of `ReturnOrder.next_step`, most urgent first; `cancel` follows from a request, not from a clock."""

QUEUES = (Step.CANCEL, *SCHEDULED_STEPS)
"""The values of `ReturnOrder.queue`, most urgent first."""

LIVE_STATES = (State.PENDING, State.TRACKING, State.NEEDS_ATTENTION)
"""States that still ask for work, ours or a person's."""

MAY_BECOME: Mapping[State, frozenset[State]] = {
    State.PENDING: frozenset({State.TRACKING, State.REJECTED, State.NEEDS_ATTENTION, State.CANCELLED}),
    State.TRACKING: frozenset({State.COMPLETED, State.NEEDS_ATTENTION, State.CANCELLED}),
    State.REJECTED: frozenset({State.PENDING, State.TRACKING, State.NEEDS_ATTENTION, State.CANCELLED}),
    State.NEEDS_ATTENTION: frozenset({State.PENDING, State.TRACKING, State.CANCELLED}),
    State.COMPLETED: frozenset({State.TRACKING}),
    State.CANCELLED: frozenset(),
}
"""Every change of state there is; `decide` makes no other (a test walks them all)."""
