"""What a shop's request comes to, for every state and every request."""

from typing import Any, NamedTuple

import pytest

from tests.domain.cases import NOW, PAST, labelling, pending, resting, sent, tracking
from worker.domain.decide import decide
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.next_action import NEVER_SENT, NOT_TOLD, NOTHING_THERE, action_for
from worker.domain.outcomes import NothingToDo, Outcome, PutBack, RefTaken, RequestRefused, Withdrawn
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder

HELD = State.NEEDS_ATTENTION
NONE: dict[str, Any] = {}
CANCEL, RETRY = {"cancel_requested_at": PAST}, {"retry_requested_at": PAST}
BOTH = CANCEL | RETRY


def _too_late(state: State) -> RequestRefused:
    return RequestRefused(f"a withdrawal was asked for, but the return is already {state}", cancel=True)


def _not_rejected(state: State) -> RequestRefused:
    return RequestRefused(f"a retry was asked for, but the return is {state}, not rejected", cancel=False)


unsent = resting(HELD, create_started_at=None, error_code=ErrorCode.CARRIER_UNREACHABLE)
crashed_while_sending = resting(HELD, error_code=ErrorCode.WORKER_CRASHED)
number_taken = resting(HELD, error_code=ErrorCode.CARRIER_REF_TAKEN)
in_doubt_without_intent = resting(HELD, create_started_at=None)
at_carrier = resting(HELD, carrier_ref="9RET1", error_code=ErrorCode.CARRIER_LOST_IT)


class Asked(NamedTuple):
    """A row that something is asked of, and what it comes to where the carrier takes no withdrawal."""

    name: str
    order: ReturnOrder
    request: dict[str, Any]
    comes_to: Outcome | Step


TABLE = [
    Asked("pending, nothing", pending(), NONE, Step.CREATE),
    Asked("pending, cancel", pending(), CANCEL, Withdrawn(NEVER_SENT)),
    Asked("pending, retry", pending(), RETRY, _not_rejected(State.PENDING)),
    Asked("pending, both", pending(), BOTH, Withdrawn(NEVER_SENT)),
    Asked("sent, nothing", sent(), NONE, Step.CREATE),
    Asked("sent, cancel", sent(), CANCEL, Step.CREATE),
    Asked("sent, retry", sent(), RETRY, _not_rejected(State.PENDING)),
    Asked("sent, both", sent(), BOTH, Step.CREATE),
    *(
        row
        for name, order in (("tracking", tracking()), ("labelling", labelling()))
        for row in (
            Asked(f"{name}, nothing", order, NONE, order.next_step),
            Asked(f"{name}, cancel", order, CANCEL, Withdrawn(NOT_TOLD)),
            Asked(f"{name}, retry", order, RETRY, _not_rejected(State.TRACKING)),
            Asked(f"{name}, both", order, BOTH, Withdrawn(NOT_TOLD)),
        )
    ),
    Asked("rejected, nothing", resting(State.REJECTED), NONE, NothingToDo()),
    Asked("rejected, cancel", resting(State.REJECTED), CANCEL, Withdrawn(NOTHING_THERE)),
    Asked("rejected, retry", resting(State.REJECTED), RETRY, PutBack()),
    Asked("rejected, both", resting(State.REJECTED), BOTH, Withdrawn(NOTHING_THERE)),
    *(
        row
        for state in (State.COMPLETED, State.CANCELLED)
        for row in (
            Asked(f"{state}, nothing", resting(state), NONE, NothingToDo()),
            Asked(f"{state}, cancel", resting(state), CANCEL, _too_late(state)),
            Asked(f"{state}, retry", resting(state), RETRY, _not_rejected(state)),
            Asked(f"{state}, both", resting(state), BOTH, _too_late(state)),
        )
    ),
    Asked("held, nothing", unsent, NONE, NothingToDo()),
    Asked("held, retry", unsent, RETRY, _not_rejected(HELD)),
    Asked("held unsent, cancel", unsent, CANCEL, Withdrawn(NEVER_SENT)),
    Asked("held at the carrier, cancel", at_carrier, CANCEL, Withdrawn(NOT_TOLD)),
    Asked("held in doubt, cancel", resting(HELD), CANCEL, NothingToDo()),
    Asked("held in doubt without intent, cancel", in_doubt_without_intent, CANCEL, NothingToDo()),
    Asked("held after a crash while sending, cancel", crashed_while_sending, CANCEL, NothingToDo()),
    Asked("held with a taken number, cancel", number_taken, CANCEL, NothingToDo()),
]


@pytest.mark.parametrize(("order", "request_", "expected"), [row[1:] for row in TABLE], ids=[row.name for row in TABLE])
def test_a_request_comes_to_what_the_table_says(
    order: ReturnOrder, request_: dict[str, Any], expected: Outcome | Step
) -> None:

    assert action_for(order._replace(**request_), can_cancel=False) == expected


@pytest.mark.parametrize("request_", [CANCEL, BOTH], ids=["cancel", "both"])
@pytest.mark.parametrize("order", [tracking(), labelling(), at_carrier], ids=["tracking", "labelling", "held"])
def test_a_carrier_that_takes_withdrawals_is_told_of_each(order: ReturnOrder, request_: dict[str, Any]) -> None:

    assert action_for(order._replace(**request_), can_cancel=True) is Step.CANCEL


@pytest.mark.parametrize("row", [row for row in TABLE if "held at" not in row.name and "ing, " not in row.name])
def test_nobody_is_told_of_what_the_carrier_does_not_have(row: Asked) -> None:
    assert action_for(row.order._replace(**row.request), can_cancel=True) == row.comes_to


def test_a_return_whose_creation_was_answered_is_never_called_never_sent() -> None:
    """Not even when its number could not be kept, and the row was read before the intent was committed."""

    held = decide(pending(), RefTaken("9RET1"), NOW, Policy(), 0.5).order
    assert action_for(held._replace(cancel_requested_at=NOW), can_cancel=True) == NothingToDo()
