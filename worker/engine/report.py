"""Tells logs and metrics what was recorded: one line and a few counters for each decision."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache

import structlog

from worker.carriers.edge import Observer
from worker.carriers.port import RequestOutcome
from worker.domain.decision import Decision, StepOutcome
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import LIVE_STATES, State, Step
from worker.domain.retrying import in_our_words
from worker.domain.returns import ReturnOrder
from worker.domain.tracking import TrackingStatus
from worker.telemetry.metrics import Metrics

_QUIET = frozenset({StepOutcome.UNCHANGED, StepOutcome.WAITING})
_LOUD = frozenset({StepOutcome.REJECTED, StepOutcome.NEEDS_ATTENTION})
# Messages with these are in our own words throughout; others may quote a customer, or a link, behind a colon.
_OURS = frozenset(
    {
        *(ErrorCode.LABEL_NOT_READY, ErrorCode.LABEL_UNUSABLE, ErrorCode.LABEL_NOT_STORED),
        *(ErrorCode.WORKER_CRASHED, ErrorCode.UNREADABLE_ROW),
    }
)

_FAILURES = (StepOutcome.RETRYING, StepOutcome.WAITING, StepOutcome.NEEDS_ATTENTION)
_OUTCOMES: Mapping[Step, tuple[str, ...]] = {
    Step.CREATE: (StepOutcome.CREATED, StepOutcome.ADOPTED, StepOutcome.ABSENT, StepOutcome.REJECTED, *_FAILURES),
    Step.LABEL: (StepOutcome.STORED, *_FAILURES),
    Step.TRACK: (StepOutcome.CHANGED, StepOutcome.UNCHANGED, StepOutcome.COMPLETED, *_FAILURES),
    Step.CANCEL: (StepOutcome.CANCELLED, StepOutcome.REFUSED, StepOutcome.PUT_BACK, *_FAILURES),
}

log = structlog.get_logger()


def expect_series(metrics: Metrics, operations: Mapping[str, Collection[str]]) -> None:
    """Have every series at 0 from the start; `operations` are those that each account's requests are counted by."""
    metrics.expect(
        operations,
        steps={step: _OUTCOMES[step] for step in Step},
        states=LIVE_STATES,
        request_outcomes=tuple(RequestOutcome),
        transitions=[("state", state) for state in State] + [("tracking_status", status) for status in TrackingStatus],
    )


def observer_of(metrics: Metrics, account: str) -> Observer:
    """Counts the requests of one account."""
    requests, durations = cache(metrics.carrier_requests.labels), cache(metrics.carrier_request_duration.labels)

    def observe(operation: str, outcome: RequestOutcome, seconds: float) -> None:
        requests(account, operation, outcome).inc()
        durations(account, operation).observe(seconds)

    return observe


class Report:
    """The hooks that a recorder calls."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = log.bind()  # bound once, since most polls say nothing new
        self._steps, self._transitions = cache(metrics.steps.labels), cache(metrics.transitions.labels)
        self._unknown_words: set[tuple[str, str]] = set()
        self._with_unknown_codes: set[str] = set()

    def recorded(self, before: ReturnOrder, decision: Decision) -> None:
        """A decision was written."""
        after, step = decision.order, decision.step or before.next_step
        self._steps(before.account, step, decision.outcome).inc()
        for transition in decision.transitions:
            self._transitions(before.account, transition.field, transition.new_value).inc()
        self._note_unknown_word(before, decision)
        if decision.unknown_codes:
            self._note_unknown_codes(before, decision.unknown_codes)
        code, message = after.error_code, after.error_message
        if step is Step.LABEL and decision.outcome in (StepOutcome.RETRYING, StepOutcome.NEEDS_ATTENTION):
            code, message = after.label_error_code, after.label_error_message
            if code is ErrorCode.LABEL_NOT_STORED:
                self._metrics.storage_errors.labels("labels").inc()
                log.warning("label_store_failed", order_id=before.id, error=message)
        quiet, loud = decision.outcome in _QUIET, decision.outcome in _LOUD
        say = self._log.debug if quiet else log.warning if loud else log.info
        say(
            "return_advanced",
            order_id=before.id,
            reference=before.reference,
            account=before.account,
            step=step.value,
            outcome=decision.outcome.value,
            state=after.state.value,
            tracking_status=after.tracking_status.value if after.tracking_status else None,
            carrier_status=after.carrier_status,
            carrier_ref=after.carrier_ref,
            error_code=code,
            why=_why(code, message) if message else None,
            due_at=after.due_at,
        )
        if after.error_message:
            log.debug("return_error", order_id=before.id, message=after.error_message)  # may quote a customer

    def lost(self, before: ReturnOrder, decision: Decision) -> None:
        """A decision was dropped: another worker has the row. A person who settles a creation needs its number."""
        self._metrics.leases_lost.inc()
        log.warning("lease_lost", lease_token=before.lease_token, **_result(before, decision))

    def unrecorded(self, before: ReturnOrder, decision: Decision) -> None:
        """The process ends and could not write it; the worker that takes the row next finds out, or asks a person."""
        log.error("result_not_recorded", **_result(before, decision))

    def storage_failed(self) -> None:
        """A try to write failed."""
        self._metrics.storage_errors.labels("record").inc()

    def _note_unknown_word(self, before: ReturnOrder, decision: Decision) -> None:
        account, after = before.account, decision.order
        asked = before.next_step is Step.TRACK and decision.outcome in (StepOutcome.CHANGED, StepOutcome.UNCHANGED)
        if not asked or after.tracking_status is not TrackingStatus.UNKNOWN or after.carrier_status is None:
            return
        self._metrics.unknown_carrier_status.labels(account).inc()
        word = (account, after.carrier_status)
        if word not in self._unknown_words and len(self._unknown_words) < 1000:
            self._unknown_words.add(word)
            hint = "map it in the account's status_map"
            log.warning("unknown_carrier_status", account=account, carrier_status=after.carrier_status, hint=hint)

    def _note_unknown_codes(self, before: ReturnOrder, codes: Sequence[str]) -> None:
        """Counted each time, said once for an account: its carrier may do so with every return."""
        self._metrics.unknown_label_codes.labels(before.account).inc(len(codes))
        if before.account not in self._with_unknown_codes:
            self._with_unknown_codes.add(before.account)
            log.warning(
                "unknown_label_codes",
                account=before.account,
                order_id=before.id,
                reference=before.reference,
                codes=list(codes[:10]),
                hint="they are the packages' tracking numbers now; is it the carrier's way, or another's answer?",
            )


def _result(before: ReturnOrder, decision: Decision) -> dict[str, object]:
    return {
        "order_id": before.id,
        "reference": before.reference,
        "outcome": decision.outcome.value,
        "carrier_ref": decision.order.carrier_ref,
    }


def _why(code: ErrorCode | None, message: str) -> str | None:
    """What went wrong, without what a carrier or a customer wrote; a refused payload's problems quote the customer."""
    if code is ErrorCode.INVALID_PAYLOAD:
        return None
    return message if code in _OURS else in_our_words(message)
