"""Whatever a carrier calls a return, its label gets a harmless name of its own."""

import hashlib
import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.labels import LabelName, VerifiedLabel
from worker.labels.names import aside_path, relative_path

LABEL = VerifiedLabel(b"x", "application/pdf", 1, hashlib.sha256(b"x").hexdigest())
# Passes for a user who may not write to the checkout, and on a slow machine.
QUIET = settings(database=None, deadline=None)
DIGEST = LABEL.sha256[:12]

HOSTILE = ["", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "a\0b", "C:x", "-rf", "~root", "a b"]
HOSTILE += ["é", "e\u0301", "\ud800", "\u202efdp", "x" * 5000, "a\nb", "%2e%2e", ".hidden", "ref.0123456789abcdef"]


def test_a_plain_reference_stays_readable() -> None:
    assert relative_path(LabelName("default", "7RET063502270276", 2), LABEL) == (
        f"default/7RET063502270276-2-{DIGEST}.pdf"
    )


@pytest.mark.parametrize(
    ("media_type", "extension"),
    [("application/pdf", "pdf"), ("image/png", "png"), ("application/zpl", "zpl"), ("application/octet-stream", "bin")],
)
def test_the_extension_says_what_the_file_is(media_type: str, extension: str) -> None:
    label = VerifiedLabel(b"x", media_type, None, LABEL.sha256)
    assert relative_path(LabelName("default", "1", 1), label).endswith(f".{extension}")


def test_an_unknown_kind_of_file_has_no_name() -> None:
    with pytest.raises(ValueError, match="application/pdf"):
        relative_path(LabelName("default", "1", 1), VerifiedLabel(b"x", "text/html", None, LABEL.sha256))


@pytest.mark.parametrize("position", [0, -1])
def test_positions_count_from_one(position: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        LabelName("default", "1", position)


def assert_harmless(path: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,149}\.pdf", path)
    assert ".." not in path


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_hostile_reference_or_account_is_harmless(text: str) -> None:
    assert_harmless(relative_path(LabelName("default", text, 1), LABEL))
    assert_harmless(relative_path(LabelName(text, "1", 1), LABEL))
    assert_harmless(aside_path(LabelName(text, text, 1)).removeprefix("refused-labels/") + ".pdf")


@QUIET
@given(st.text(alphabet=st.characters(codec=None)))
def test_any_reference_is_harmless(text: str) -> None:
    assert_harmless(relative_path(LabelName("default", text, 1), LABEL))


NAMES = [LabelName("a", text, position) for text in [*HOSTILE, "A", "A-1", "A_1", "A.1"] for position in (1, 2, 11)]


def test_two_returns_never_share_a_file_even_with_the_same_bytes() -> None:
    for one, other in itertools.combinations(NAMES, 2):
        assert relative_path(one, LABEL) != relative_path(other, LABEL)


@QUIET
@given(st.text(), st.text(), st.integers(1, 99), st.integers(1, 99))
def test_different_names_have_different_files(one: str, other: str, first: int, second: int) -> None:
    same_name = (one, first) == (other, second)
    names = LabelName("a", one, first), LabelName("a", other, second)
    for path in (aside_path, lambda name: relative_path(name, LABEL)):
        assert (path(names[0]) == path(names[1])) == same_name
