"""Words that are equal to the eye are one word, however a carrier spells them; words that differ stay apart."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.tracking import StatusMap, TrackingStatus, clashes, folded

SAME = [
    (
        "In transit",
        "in_transit",
        "IN-TRANSIT",
        " In\tTransit\n",
        "in\u00a0transit",
        "in\u2011transit",
        "in\u2013transit",
    ),
    ("Straße", "STRASSE", "strasse", "STRAẞE", "ſtrasse"),
    ("Geliefert", "Ｇｅｌｉｅｆｅｒｔ", "geliefert\u200b", "ge\u00adliefert"),
    ("ophalen", "\ufeffophalen", "op\u200dhalen", "op\u034fhalen", "ophalen\ufe0f", "\u202aophalen\u202c"),
    ("Livré", "Livre\u0301", "LIVRÉ", "livre\u200b\u0301"),
    ("Teslim edildi", "TESLİM EDİLDİ", "TESLIM EDILDI", "teslım edıldı", "TESLI\u0307M edildi"),
    ("Aﬁ", "afi", "AFI"),
]
APART = [
    "Delivered",
    "Deliverd",
    "Livré",
    "Livre",
    "Geliefert",
    "Geleverd",
    "1",
    "11",
    "Refusé",
    "Refuse",
    "größe",
    "grosse",
]


@pytest.mark.parametrize("words", SAME, ids=lambda words: words[0])
def test_words_that_are_equal_to_the_eye_are_one(words: tuple[str, ...]) -> None:
    assert {folded(word) for word in words} == {folded(words[0])}
    mapped = StatusMap({words[0]: TrackingStatus.DELIVERED})
    assert {mapped.read(word) for word in words} == {TrackingStatus.DELIVERED}


def test_words_that_a_reader_tells_apart_stay_apart() -> None:
    assert len({folded(word) for word in APART}) == len(APART)


@given(st.text(max_size=30))
def test_a_word_that_is_folded_stays_as_it_is_and_the_form_it_comes_in_does_not_matter(word: str) -> None:
    assert folded(folded(word)) == folded(word)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, word)) == folded(word)  # type: ignore[arg-type]


@pytest.mark.parametrize("mine", ["created", "CRE\u200bATED", "Ｃreated", "C-r-e-a-t-e-d"])
def test_another_spelling_of_a_built_in_word_overrides_it(mine: str) -> None:
    built_in = StatusMap({"Created": TrackingStatus.PRE_TRANSIT, "Sent": TrackingStatus.IN_TRANSIT})
    merged = built_in.overridden_by({mine: TrackingStatus.UNKNOWN})
    assert merged.read("Created") is merged.read(mine) is TrackingStatus.UNKNOWN
    assert merged.read("sent") is TrackingStatus.IN_TRANSIT


def test_two_spellings_clash_only_where_they_mean_different_things() -> None:
    assert clashes({"Straße": "delivered", "x": "failed", "STRASSE": "in_transit"}) == [("Straße", "STRASSE")]
    assert clashes({"Straße": "delivered", "x": "failed", "STRASSE": "delivered"}) == []


def test_every_pair_of_spellings_that_clash_is_named() -> None:
    words = {"In": "failed", "Out": "delivered", "IN": "unknown", "o-u-t": "failed", "in": "failed"}
    assert clashes(words) == [("In", "IN"), ("Out", "o-u-t")]
