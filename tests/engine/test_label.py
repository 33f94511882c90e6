"""A label that is refused leaves its bytes behind, and its reason; keeping them never stands in the way of the step."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.domain.cases import LABEL, NOW, POLICY, labelling
from tests.engine.scripted import ScriptedCarrier
from worker.carriers.port import LabelDocument, LabelNotReady
from worker.domain.decide import decide
from worker.domain.error_codes import ErrorCode
from worker.domain.outcomes import Failed, FailureKind, LabelReady, LabelTrouble, Outcome, Poisoned
from worker.domain.returns import ReturnOrder
from worker.engine.label import fetch_label
from worker.engine.report import Report
from worker.labels import FileLabelStore, LabelMissing, LabelName
from worker.simulator.pdf import text_pdf
from worker.telemetry.metrics import Metrics

NAME = LabelName("default", "9RET1", 1)


def a_pdf(pages: int) -> bytes:
    return text_pdf([["a label"]] * pages)


class Sending(ScriptedCarrier):
    """Sends these bytes as the label, where two pages are expected; None: it has none."""

    def __init__(self, content: bytes | None) -> None:
        super().__init__()
        self.content = content

    async def label(self, order: ReturnOrder) -> LabelDocument:
        if self.content is None:
            raise LabelNotReady("not yet")
        return LabelDocument(1, self.content, 2)


@pytest.fixture
def store(tmp_path: Path) -> FileLabelStore:
    return FileLabelStore(tmp_path / "labels")


async def test_a_refused_label_is_kept_aside_until_a_good_one_is_stored(store: FileLabelStore) -> None:
    outcome = await fetch_label(labelling(), Sending(b"<html>sorry"), store)
    assert isinstance(outcome, LabelTrouble) and outcome.code == ErrorCode.LABEL_UNUSABLE
    assert await store.aside(NAME) == b"<html>sorry"
    await fetch_label(labelling(label_attempts=1), Sending(None), store)
    await fetch_label(labelling(label_attempts=1), Sending(b""), store)
    assert await store.aside(NAME) == b"<html>sorry"  # what is nothing does not replace it
    assert isinstance(await fetch_label(labelling(label_attempts=2), Sending(a_pdf(2)), store), LabelReady)
    with pytest.raises(LabelMissing):
        await store.aside(NAME)


async def test_a_wrong_number_of_pages_says_which_setting_and_which_command_lead_on(store: FileLabelStore) -> None:
    outcome = await fetch_label(labelling(), Sending(a_pdf(3)), store)
    assert isinstance(outcome, LabelTrouble)
    assert outcome.message == (
        'the PDF has 3 page(s) where 2 were expected, one per package; the account\'s label_pages = "any" takes any'
        " number, `label REFERENCE --accept` takes this one"
    )


async def test_a_store_that_keeps_nothing_aside_fails_no_step(store: FileLabelStore, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "refused-labels").write_bytes(b"")
    with capture_logs() as logged:
        outcome = await fetch_label(labelling(), Sending(b"<html>"), store)
    assert isinstance(outcome, LabelTrouble) and outcome.code == ErrorCode.LABEL_UNUSABLE
    (line,) = logged
    assert (line["event"], line["reference"]) == ("refused_label_not_kept", "R-1")
    assert "refused-labels" in line["error"]
    with capture_logs() as logged:
        assert isinstance(await fetch_label(labelling(label_attempts=1), Sending(a_pdf(2)), store), LabelReady)
    assert [line["event"] for line in logged] == ["refused_label_not_forgotten"]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (LabelTrouble(ErrorCode.LABEL_UNUSABLE, "not a PDF but JSON (12 bytes)"), "not a PDF but JSON (12 bytes)"),
        (LabelTrouble(ErrorCode.LABEL_NOT_READY, "the carrier answered 202"), "the carrier answered 202"),
        (Failed(FailureKind.SERVER_ERROR, "500: <p>Jane Doe, 5 Elm Street"), "500"),
        (Failed(FailureKind.UNINTELLIGIBLE, "garbage: https://labels.example/?sig=hush"), "garbage"),
        (Poisoned(), "5 claims in a row ended without a result"),
        (LabelReady(replace(LABEL, location="file:///x")), None),
    ],
    ids=repr,
)
def test_the_log_line_says_why_a_label_is_missing_and_quotes_no_carrier(outcome: Outcome, said: str | None) -> None:
    order = labelling(claims=6, error_message=None)
    decision = decide(order, outcome, NOW, POLICY, 0.5)
    with capture_logs() as logged:
        Report(Metrics("1")).recorded(order, decision)
    (line,) = [line for line in logged if line["event"] == "return_advanced"]
    assert line["why"] == said
    assert line["error_code"] == decision.order.label_error_code
    assert "hush" not in str(logged) and "Jane" not in str(logged)
