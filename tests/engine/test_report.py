"""What the log says of a call that failed: why, in our words, and not a word of what was answered."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.domain.cases import NOW, POLICY, pending, tracking
from worker.carriers.endings import check_creation, check_question
from worker.carriers.port import CarrierError
from worker.carriers.replies import Reply
from worker.domain.decide import decide
from worker.domain.error_codes import ErrorCode
from worker.domain.lifecycle import Step
from worker.domain.outcomes import Failed, FailureKind, Invalid, LabelTrouble, Outcome
from worker.domain.returns import ReturnOrder
from worker.engine.report import Report, expect_series
from worker.telemetry.metrics import Metrics

SAID = b'{"message": "Jansen: 06-12345678"}'


def told(order: ReturnOrder, outcome: Outcome) -> dict[str, object]:
    """The line that an operator sees of a decision."""
    decision = decide(order, outcome, NOW, POLICY, 0.5)
    with capture_logs() as lines:
        Report(Metrics("1")).recorded(order, decision)
    seen = [line for line in lines if line["log_level"] != "debug"]
    assert "Jansen" not in str(seen)
    return dict(seen[-1])


def failed(error: CarrierError) -> Failed:
    return error.failed


@pytest.mark.parametrize("status", [400, 404, 405, 409, 422, 500, 502, 504])
@pytest.mark.parametrize("check", [check_creation, check_question])
def test_a_call_that_failed_is_told_with_its_status_and_not_with_what_was_answered(check: object, status: int) -> None:
    with pytest.raises(CarrierError) as ended:
        check(Reply(status, {}, SAID))  # type: ignore[operator]
    order = pending() if check is check_creation else tracking()
    assert f"the carrier answered {status}" in str(told(order, failed(ended.value))["why"])


def test_an_answer_that_cannot_be_read_is_told_without_it() -> None:
    with pytest.raises(CarrierError) as error:
        Reply(200, {}, b"Jansen: no JSON").json_object()
    line = told(tracking(), failed(error.value))
    assert line["why"] == "the carrier answered 200, and the answer is not JSON"


def test_how_often_or_since_when_it_fails_is_told_too() -> None:
    last = tracking(attempts=POLICY.backoff.max_attempts - 1)
    line = told(last, Failed(FailureKind.UNINTELLIGIBLE, "the answer is not JSON: Jansen"))
    assert line["why"] == f"{POLICY.backoff.max_attempts} tries: the answer is not JSON"

    long = tracking(failing_since=NOW - POLICY.backoff.give_up_after - timedelta(minutes=1))
    line = told(long, Failed(FailureKind.NETWORK, "the connection was cut: Jansen"))
    assert str(line["why"]).startswith("since 20")
    assert str(line["why"]).endswith(" UTC: the connection was cut")


def test_a_label_that_fails_is_told_with_its_own_reason() -> None:
    order = tracking(next_step=Step.LABEL, label_due_at=NOW)
    line = told(
        order,
        LabelTrouble(ErrorCode.LABEL_UNREACHABLE, "the label cannot be had, at x.example, it broke: Jansen"),
    )
    assert line["why"] == "the label cannot be had, at x.example, it broke"


def test_what_a_payload_breaks_is_not_told_since_it_may_quote_a_customer() -> None:
    assert told(pending(), Invalid(("customer.name: Jansen is none",)))["why"] is None


def test_every_metric_has_its_series_from_the_start() -> None:
    metrics = Metrics("1")
    expect_series(metrics, {"default": ["create"]})
    metrics.expect_webhooks(["shop"], ["delivered"])
    metrics.expect_pages(["overview"], ["200"])
    families = list(metrics.registry.collect())
    assert len(families) > 30
    of_subscribers = "returns_worker_news_"  # one comes with its registration, and goes
    assert [each.name for each in families if not each.samples and not each.name.startswith(of_subscribers)] == []
