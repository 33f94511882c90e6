"""The turns a row can take in any step: tried again, given to a person, rejected, its account made to wait."""

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from worker.domain.cadence import spoken
from worker.domain.decision import Decision, Hold, StepOutcome, Transition
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import State, Step
from worker.domain.outcomes import OUTAGES, Failed, FailureKind
from worker.domain.policy import Policy
from worker.domain.returns import ReturnOrder

MAX_MESSAGE = 2000  # characters of error_message; a payload may break many rules at once

CODES = {
    FailureKind.NETWORK: ErrorCode.CARRIER_UNREACHABLE,
    FailureKind.TIMEOUT: ErrorCode.CARRIER_TIMEOUT,
    FailureKind.SERVER_ERROR: ErrorCode.CARRIER_ERROR,
    FailureKind.THROTTLED: ErrorCode.CARRIER_BUSY,
    FailureKind.UNAUTHORIZED: ErrorCode.CARRIER_KEY_REFUSED,
    FailureKind.REFUSED: ErrorCode.CARRIER_REFUSED,
    FailureKind.NOT_FOUND: ErrorCode.CARRIER_LOST_IT,
    FailureKind.UNINTELLIGIBLE: ErrorCode.UNINTELLIGIBLE_ANSWER,
    FailureKind.OUTCOME_UNKNOWN: ErrorCode.CREATE_OUTCOME_UNKNOWN,
}

_OURS = re.compile(r"(?:\d+ tries: |since [\d-]+ [\d:]+ UTC: )?[^:]*")


def in_our_words(message: str) -> str:
    """A failure's message without what it quotes, which follows a colon; how often or since when it fails stays."""
    return next(_OURS.finditer(message))[0].strip()


class Context(NamedTuple):
    """What a decision is made on; `now` is on the database's clock, `chance` in [0, 1)."""

    order: ReturnOrder
    now: datetime
    policy: Policy
    chance: float

    def having(self, **changes: Any) -> "Context":
        """The same, but for these columns of the row."""
        return self._replace(order=self.order._replace(**changes))


def again(context: Context, failed: Failed, code: ErrorCode, message: str) -> Decision:
    """A failure after which the step is tried again: one that is the row's own for a number of times."""
    return (_outage if failed.kind in OUTAGES else counted)(context, code, message, failed.raw)


def _outage(context: Context, code: ErrorCode, message: str, raw: str | None) -> Decision:
    """Tried again uncounted, for `give_up_after`."""
    since = context.order.failing_since or context.now
    context = context.having(failing_since=since)
    failing_for = context.now - since
    if context.policy.judges_ages and failing_for >= context.policy.backoff.give_up_after:
        return for_a_person(context, code, f"since {since:%Y-%m-%d %H:%M} UTC: {message}", raw)
    return retrying(context, code, message, context.policy.backoff.outage_wait(failing_for, context.chance))


def counted(context: Context, code: ErrorCode, message: str, raw: str | None) -> Decision:
    """A failure that is this row's own: tried again, `max_attempts` times in all."""
    attempts = context.order.attempts + 1
    context = context.having(attempts=attempts)
    if attempts >= context.policy.backoff.max_attempts:
        return for_a_person(context, code, f"{attempts} tries: {message}", raw)
    return retrying(context, code, message, context.policy.backoff.wait(attempts, context.chance))


def retrying(context: Context, code: ErrorCode, message: str, wait: timedelta) -> Decision:
    """The step is done again after `wait`."""
    order = context.order._replace(error_code=code, error_message=message[:MAX_MESSAGE])
    return Decision(due(order, context.now + wait), StepOutcome.RETRYING)


def is_young(context: Context) -> bool:
    """Whether a carrier may not show yet what it took: a 404 means "not yet" then."""
    since = context.order.followed_since or context.now
    return not context.policy.judges_ages or context.now - since < context.policy.backoff.not_found_grace


def account_waits(context: Context, failed: Failed) -> Decision:
    """Turned away for now, or the key refused: the account waits; the return is not to blame and stays as it is."""
    order = context.order._replace(failing_since=None)  # it did answer
    hold = hold_after(failed, context.now, context.policy)
    if hold.until is not None:
        order = due(order, hold.until)
    return Decision(order, StepOutcome.WAITING, hold=hold)


def hold_after(failed: Failed, now: datetime, policy: Policy) -> Hold:
    """How long an account waits: as the carrier asks, within reason; with a refused key until a person acts."""
    code = CODES[failed.kind]
    if failed.kind is FailureKind.UNAUTHORIZED:
        return Hold(None, code, failed.message)
    asked = policy.busy_wait if failed.retry_after is None else failed.retry_after
    wait = min(max(asked, policy.min_busy_wait), policy.max_busy_wait)
    changed = f"; it asked for {spoken(asked)}, {spoken(wait)} is waited" if wait != asked else ""
    return Hold(now + wait, code, failed.message + changed)


def for_a_person(context: Context, code: ErrorCode, message: str, raw: str | None = None) -> Decision:
    """A person decides."""
    return _in_trouble(context, State.NEEDS_ATTENTION, StepOutcome.NEEDS_ATTENTION, code, message, raw)


def rejected(context: Context, code: ErrorCode, message: str, raw: str | None = None) -> Decision:
    """Nothing exists at the carrier, and sending the same again would not help."""
    return _in_trouble(context, State.REJECTED, StepOutcome.REJECTED, code, message, raw)


def _in_trouble(
    context: Context, state: State, outcome: StepOutcome, code: ErrorCode, message: str, raw: str | None
) -> Decision:
    """The row says what is wrong until that is put right; the history says it for good."""
    message = message[:MAX_MESSAGE]
    context = context.having(error_code=code, error_message=message)
    return to_state(context, state, outcome, reason=f"{code}: {message}", raw=raw)


def to_state(context: Context, state: State, outcome: StepOutcome, *, reason: str, raw: str | None = None) -> Decision:
    """The row in another state, with the line that says why."""
    before = context.order
    order = before._replace(state=state, label_due_at=None, track_due_at=None)
    if state is State.CANCELLED:
        order = order._replace(error_code=None, error_message=None, retry_requested_at=None)
    line = Transition("state", before.state, state, before.carrier_status, reason=reason, raw=raw)
    return Decision(order, outcome, (line,))


def remark(order: ReturnOrder, reason: str, raw: str | None = None) -> Transition:
    """A line of the history that changes no state."""
    return Transition("state", order.state, order.state, order.carrier_status, reason=reason, raw=raw)


def healthy(order: ReturnOrder, **changes: Any) -> ReturnOrder:
    """Nothing is wrong with it any more; and these `changes`."""
    return order._replace(attempts=0, failing_since=None, error_code=None, error_message=None, **changes)


def without_label_trouble(order: ReturnOrder, **changes: Any) -> ReturnOrder:
    """Nothing is wrong with its label any more; and these `changes`."""
    return order._replace(label_attempts=0, label_error_code=None, label_error_message=None, **changes)


def due(order: ReturnOrder, at: datetime) -> ReturnOrder:
    """The claimed step's own clock set to `at`."""
    if order.state is State.PENDING:
        return order._replace(due_at=at)
    return order._replace(label_due_at=at) if order.next_step is Step.LABEL else order._replace(track_due_at=at)
