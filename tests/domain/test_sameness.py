"""A reference and what carriers make of it are the same; the next one of a shop's numbers never is."""

import html
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from worker.domain.returns import Address, Party
from worker.domain.sameness import SHORTEST_CUT, may_be_the_customer, may_be_the_reference

_LETTERS = st.text(st.characters(codec="utf-8", categories=("Lu", "Ll", "Nd")), min_size=1, max_size=12)
_SEPARATORS = st.sampled_from(["-", "/", "_", " ", ".", "#", "&", ":", "'", "+", "🙂", " – "])


@st.composite
def references(draw: st.DrawFn) -> str:
    """Letters and digits of any script with signs between them, as a shop may number its returns."""
    parts = draw(st.lists(_LETTERS, min_size=1, max_size=4))
    text = parts[0] + "".join(draw(_SEPARATORS) + part for part in parts[1:])
    assume(any(char.isascii() and char.isalnum() for char in text))
    return text[:50].strip()


def _without_separators(text: str) -> str:
    return "".join(char for char in text if char.isalnum())


def _fullwidth(text: str) -> str:
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


CHANGES = {
    "as it is": lambda text: text,
    "entities": html.escape,
    "entities twice": lambda text: html.escape(html.escape(text)),
    "percent signs": lambda text: quote(text, safe=""),
    "another separator": lambda text: "".join(char if char.isalnum() else "-" for char in text),
    "no separator": _without_separators,
    "upper case": str.upper,
    "lower case": str.lower,
    "spaces around": lambda text: f"  {text} ",
    "an invisible character": lambda text: text[:1] + "\u200b" + text[1:],
    "composed": lambda text: unicodedata.normalize("NFC", text),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "full width": _fullwidth,
    "no marks": lambda text: "".join(
        char for char in unicodedata.normalize("NFD", text) if not unicodedata.combining(char)
    ),
    "ASCII alone": lambda text: "".join(char for char in unicodedata.normalize("NFC", text) if char.isascii()),
    "question marks": lambda text: "".join(
        char if char.isascii() else "?" for char in unicodedata.normalize("NFC", text)
    ),
    "read as Latin-1": lambda text: text.encode().decode("latin-1"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@given(reference=references())
@example(reference="Bestélling/7")
@example(reference="A&B-1")
@example(reference="Ærø-12")
def test_a_reference_is_known_again_whatever_a_carrier_made_of_it(change: Any, reference: str) -> None:
    assert may_be_the_reference(reference, change(reference))


@given(reference=references(), kept=st.integers(SHORTEST_CUT, 50))
def test_a_reference_is_known_again_by_a_beginning_of_usual_length(reference: str, kept: int) -> None:
    beginning = reference[:kept]
    assume(len(beginning.strip()) >= SHORTEST_CUT)
    assert may_be_the_reference(reference, beginning)


@given(number=st.integers(0, 10**25), zeros=st.integers(0, 5))
def test_a_reference_that_became_a_number_is_known_again(number: int, zeros: int) -> None:
    reference = "0" * zeros + str(number)
    for theirs in (number, str(number), float(number), int(float(number))):
        assert may_be_the_reference(reference, theirs), theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("00123", 123),
        ("123.50", 123.5),
        ("1E5", 100000.0),
        ("9007199254740993", 9007199254740992),  # as JavaScript keeps it
        ("12345678901234567890", 12345678901234567000),
        ("A&B", "A&amp;B"),
        ("R/1", "R-1"),
        ("R/1", "R%2F1"),
        ("Müller-7", "Mueller-7"),
        ("Müller-7", "MÃ¼ller-7"),
        ("Smørrebrød 7", "Smorrebrod 7"),
        ("ORDER-2024-000123", "ORDER-2024"),
        ("ORDER & SONS 7", "ORDER &am"[:10]),
        ("٠١٢٣", "0123"),
        ("🙂-12", "12"),
    ],
)
def test_what_carriers_were_seen_to_do_is_known_again(ours: str, theirs: Any) -> None:
    assert may_be_the_reference(ours, theirs) or len(str(theirs)) < SHORTEST_CUT


@given(
    prefix=st.sampled_from(["", "R-", "ORDER-2024-", "RETOUR/", "Bestélling ", "№"]),
    number=st.integers(0, 10**12),
    distance=st.integers(1, 10**6),
    zeros=st.booleans(),
)
def test_the_next_numbers_of_a_shop_are_never_taken_for_one_another(
    prefix: str, number: int, distance: int, zeros: bool
) -> None:
    one, other = (f"{number:013}", f"{number + distance:013}") if zeros else (str(number), str(number + distance))
    assume(len(one) == len(other))  # a number that has one digit more may be one that was cut
    assert not may_be_the_reference(prefix + one, prefix + other)
    assert not may_be_the_reference(prefix + other, prefix + one)
    if not prefix:
        assert not may_be_the_reference(one, int(other))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("R-1001", "R-1002"),
        ("R-1001", "R-100"),  # nobody keeps five characters
        ("2024-1-11", "2024-11-1"),
        ("R-1", "R-01-1"),
        ("ORD-12345", "ORD-1"),
        ("123", "1234"),
        ("123", 1234),
        ("123", 123.5),
        ("R-1", None),
        ("R-1", True),
        ("1", True),
        ("R-1", ""),
        ("R-1", ["R-1"]),
        ("🙂", "🙃"),
        ("1", float("inf")),
        ("1e999999", 5),
    ],
)
def test_another_reference_is_another(ours: str, theirs: Any) -> None:
    assert not may_be_the_reference(ours, theirs)


def party(name: str = "", email: str = "", **address: str) -> Party:
    return Party(name, email, address=Address(**address))


OURS = party("Zoë O'Hara", "Zoe@Example.com", street="Kerkstraat 1", postal_code="1234 AB")


@pytest.mark.parametrize(
    "theirs",
    [
        party("somebody", "zoe@example.COM "),
        party("ZOE OHARA", "", street="Kerkstr. 1", postal_code="1234AB"),
        party("Zoë O&#39;Hara", "other@example.com", postal_code="1234ab"),
        party("Zoe O'Hara", street="kerkstraat 1"),
    ],
)
def test_a_customer_is_known_by_the_email_address_or_by_name_and_address(theirs: Party) -> None:
    assert may_be_the_customer(OURS, theirs)


@pytest.mark.parametrize(
    "theirs",
    [
        party(),
        party("Zoë O'Hara"),
        party("Zoë O'Hara", postal_code="9999 ZZ"),
        party("Zoë O'Hara", street="Kerkstraat 2"),
        party("Ann O'Hara", street="Kerkstraat 1", postal_code="1234 AB"),
        party("", "", street="Kerkstraat 1", postal_code="1234 AB"),
    ],
)
def test_another_customer_is_another(theirs: Party) -> None:
    assert not may_be_the_customer(OURS, theirs)
    assert not may_be_the_customer(party(), theirs)
