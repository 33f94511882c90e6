"""What a look-up concludes from a list: nothing is absent that may be ours, and nothing ours that is another's."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.carriers.pilot import ADDRESS, NOW, PAYLOAD, document, in_doubt, listed, piloting
from worker.carriers.port import Unintelligible
from worker.domain.lookup import Known, Owner, Recorded
from worker.domain.outcomes import Absent, Ambiguous, Created

CUSTOMER = PAYLOAD["customer"]


def made(reference: Any, minutes: float = 1, number: Any = 1, **changes: Any) -> dict[str, Any]:
    """An order of somebody's, made so many minutes after the creation in doubt began."""
    moment = NOW + timedelta(minutes=minutes)
    return document(reference=reference, created_at=f"{moment:%Y-%m-%d %H:%M:%S}", id=number, **changes)


def for_us(where: str = "origin_address", **changes: Any) -> dict[str, Any]:
    """The part of an order that names our customer."""
    street = {"line_1": CUSTOMER["address"]["street"], "post_code": CUSTOMER["address"]["postal_code"]}
    return {where: {**ADDRESS, "name": CUSTOMER["name"], "email": CUSTOMER["email"], **street, **changes}}


async def looked_up(*pages: dict[str, Any], known: Known | None = None, **changes: Any) -> Any:
    async with piloting(*pages) as pilot:
        return await pilot.look_up(known or Known(), **changes)


def owner(reference: str, number: str | None, account: str = "pilot", *, same_key: bool = True) -> Owner:
    return Owner(account, reference, number, same_key)


def recorded(*numbers: int, minutes: float = -1) -> Known:
    return Known(tuple(Recorded(str(number), NOW + timedelta(minutes=minutes)) for number in numbers))


@pytest.mark.parametrize(
    ("ours", "shown"),
    [
        ("00123", 123),
        ("00123", "123"),
        ("A&B/1", "A&amp;B/1"),
        ("2024/7", "2024-7"),
        ("ORDER-2024-000123", "ORDER-2024"),
        ("Bestélling-7", "Bestlling-7"),
        ("ord-7", "ORD-7"),
    ],
)
async def test_an_order_whose_reference_is_ours_but_for_a_change_is_a_persons_and_never_absent(
    ours: str, shown: Any
) -> None:
    found = await looked_up(listed(made("A", 5, 9), made(shown, 1, 8)), reference=ours)
    assert isinstance(found, Ambiguous)
    assert "order 8" in found.message
    assert json.loads(found.raw or "")[0]["reference"] == shown


@pytest.mark.parametrize(
    "whose",
    [
        for_us(),
        for_us("destination_address"),
        for_us(email="other@example.com"),
        for_us(name="", email=CUSTOMER["email"].upper()),
        for_us(email=None, name=CUSTOMER["name"].upper(), line_1="492 Quitzon Ave", post_code="175947013"),
    ],
)
@pytest.mark.parametrize("reference", ["RMA-1", None, "", ["x"]])
async def test_an_order_for_our_customer_is_a_persons_whatever_its_reference(
    whose: dict[str, Any], reference: Any
) -> None:
    found = await looked_up(listed(made("A", 5, 9), made(reference, 1, 8, **whose)))
    assert isinstance(found, Ambiguous)
    assert "order 8" in found.message


async def test_a_customer_is_known_again_though_such_a_payload_would_be_refused_now() -> None:
    """It may have been sent before there was the rule."""
    customer = {**CUSTOMER, "email": "", "name": CUSTOMER["name"].replace(" ", "\n")}
    order = in_doubt()._replace(payload=json.dumps({**PAYLOAD, "customer": customer}))
    async with piloting(listed(made("RMA-1", 1, 8, **for_us(email=None)))) as pilot:
        assert isinstance((await pilot.carrier.look_up(order)).result(Known()), Ambiguous)


async def test_an_order_for_our_customer_from_before_the_first_attempt_is_no_doubt() -> None:
    assert isinstance(await looked_up(listed(made("RMA-1", -1000, 8, **for_us()))), Absent)


async def test_orders_of_other_customers_are_no_doubt() -> None:
    page = listed(made("A", 5, 9), made("ORD-12346", 1, 8), made("ORD-1", 1, 7), made("12345", 1, 6))
    assert isinstance(await looked_up(page), Absent)
    nobody = {"origin_address": None, "destination_address": []}
    assert isinstance(await looked_up(listed(made("A", 5, 9, **nobody))), Absent)


async def test_a_customer_with_two_returns_of_ours_in_one_minute_is_no_doubt() -> None:
    page = listed(made("ORD-2", 1, 8, **for_us()), made("changed", 1, 7, **for_us()))
    for own in (owner("ORD-2", "8"), owner("ORD-2", None)):
        known = Known(owners=(own, owner("other", "7")))
        assert isinstance(await looked_up(page, known=known), Absent)


async def test_a_number_of_another_return_of_ours_is_its_order_however_its_reference_looks() -> None:
    known = Known(owners=(owner("ORD/12345", "8", "default"),))
    assert isinstance(await looked_up(listed(made("ORD/12345", 1, 8)), known=known), Absent)


async def test_a_reference_alone_owns_no_order_of_a_return_that_has_another_number() -> None:
    known = Known(owners=(owner("123", "5"),))
    assert isinstance(await looked_up(listed(made(123, 1, 8)), known=known, reference="00123"), Ambiguous)


async def test_of_two_lost_creations_whose_references_are_alike_the_customer_tells_which_it_is() -> None:
    known = Known(owners=(owner("123", None),))
    page = listed(made(123, 1, 8, **for_us()))
    assert isinstance(await looked_up(page, known=known, reference="00123"), Ambiguous)
    assert isinstance(await looked_up(listed(made(123, 1, 8)), known=known, reference="00123"), Absent)


async def test_what_another_account_owns_is_never_adopted() -> None:
    page = listed(made("ORD-12345", 1, 8))
    for other in (owner("ORD-12345", "8", "second"), owner("X", "8", "third", same_key=False)):
        found = await looked_up(page, known=Known(owners=(other,)))
        assert isinstance(found, Ambiguous)
        assert f"of account {other.account}" in found.message
    found = await looked_up(page, known=Known(owners=(owner("ORD-12345", None, "second"),)))
    assert isinstance(found, Ambiguous)
    assert "may as well belong" in found.message


async def test_an_equal_reference_of_an_account_with_another_key_is_no_doubt() -> None:
    known = Known(owners=(owner("ORD-12345", None, "elsewhere", same_key=False), owner("ORD-12345", "5", "second")))
    found = await looked_up(listed(made("ORD-12345", 1, 8)), known=known)
    assert isinstance(found, Created)


async def test_an_exact_find_beside_a_changed_one_is_a_persons_but_not_beside_another_returns() -> None:
    page = listed(made("ORD-12345", 1, 8), made("ord-12345", 1, 7))
    assert isinstance(await looked_up(page), Ambiguous)
    assert isinstance(await looked_up(page, known=Known(owners=(owner("ord-12345", "7"),))), Created)


async def test_a_list_without_a_number_that_we_recorded_in_its_time_proves_nothing() -> None:
    async with piloting(listed()) as pilot:
        with pytest.raises(Unintelligible, match="does not show 7, 6"):
            await pilot.look_up(recorded(7, 6))
    async with piloting(listed(made("A", 5, 7), made("B", 4, 5))) as pilot:
        with pytest.raises(Unintelligible, match="does not show 6, which"):
            await pilot.look_up(recorded(7, 6))
    assert isinstance(await looked_up(listed(made("A", 5, 7), made("B", 4, 6)), known=recorded(7, 6)), Absent)


async def test_where_nothing_was_recorded_nothing_contradicts() -> None:
    assert isinstance(await looked_up(listed()), Absent)


async def test_numbers_are_known_again_as_text_or_number_of_up_to_nineteen_digits_in_any_order() -> None:
    page = listed(made("A", 5, str(2**63 - 1)), made("B", 4, 2), made("C", 3, "0007"))
    assert isinstance(await looked_up(page, known=recorded(2, 7, 2**63 - 1)), Absent)


async def test_a_find_needs_no_further_proof() -> None:
    assert isinstance(await looked_up(listed(made("ORD-12345", 1, 8)), known=recorded(9)), Created)


async def test_what_may_lie_beyond_the_end_of_a_search_in_another_time_zone_need_not_be_shown() -> None:
    pages = [listed(made("A", 5, 9), made("B", -1000, 8), next_page=2), listed(made("C", -1200, 7))]
    assert isinstance(await looked_up(*pages, known=recorded(7, minutes=-600)), Absent)
    async with piloting(*pages) as pilot:
        with pytest.raises(Unintelligible):
            await pilot.look_up(recorded(6, minutes=-60))
    # The end of the list leaves no room for it.
    async with piloting(listed(made("A", 5, 9), made("B", -1000, 8))) as pilot:
        with pytest.raises(Unintelligible):
            await pilot.look_up(recorded(7, minutes=-600))


async def test_an_order_that_cannot_be_read_is_no_doubt_where_its_number_is_another_returns() -> None:
    page = listed(made(None, 1, 8))
    assert isinstance(await looked_up(page, known=Known(owners=(owner("other", "8"),))), Absent)
    async with piloting(page) as pilot:
        with pytest.raises(Unintelligible):
            await pilot.look_up()


async def test_pages_that_shift_while_they_are_read_show_an_order_twice_and_hide_none() -> None:
    pages = [listed(made("A", 5, 9), made("B", 4, 8), next_page=2), listed(made("B", 4, 8), made("C", 3, 7))]
    assert isinstance(await looked_up(*pages, known=recorded(9, 8, 7)), Absent)


async def test_a_return_without_a_readable_payload_is_looked_up_by_its_reference() -> None:
    for payload in (None, "", "{}", '{"customer": 5}', "[]", "no JSON"):
        order = in_doubt()._replace(payload=payload)
        for reference, outcome in (("A", Absent), ("ord-12345", Ambiguous)):
            async with piloting(listed(made(reference, 5, 9, **for_us()))) as pilot:
                assert isinstance((await pilot.carrier.look_up(order)).result(Known()), outcome)
