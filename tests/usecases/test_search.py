"""What a person has of a return finds it, live or archived: any number, name or address; and how far it looked."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.store.shop import Shop
from worker.domain.sought import LONGEST, Matched
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.upkeep.archive import archive_batch
from worker.store.upkeep.search import _BY_NUMBER
from worker.usecases.not_done import WrongRequest
from worker.usecases.search import Findings, Sought, search

CUSTOMER = {"name": "Jürgen  de Vries", "email": "Jo@Example.com", "address": {"postal_code": "1234 AB"}}
INSERT = (
    "INSERT INTO return_order (account, reference, carrier_ref, payload, state, next_step, due_at, updated_at)"
    " VALUES ($1, $2, $3, $4, 'completed', 'track', NULL, '2020-01-01 00:00:00')"
)


async def insert(shop: Shop, reference: str, account: str = "default", **customer: object) -> int:
    payload = json.dumps({"customer": CUSTOMER | customer})
    await shop.run(INSERT, account, reference, f"NR-{reference}", payload)
    order_id = await shop.value("SELECT max(id) FROM return_order")
    await shop.run(
        "INSERT INTO package (return_order_id, position, label_code, tracking_number) VALUES ($1, 1, $2, $3)",
        order_id,
        f"7RET{reference}",
        f"3S{reference}",
    )
    return int(order_id)


async def archived(database: Database) -> None:
    batch = await archive_batch(database, await database_now(database) - timedelta(days=1), None, 0, 100)
    assert batch.count


def told(findings: Findings) -> list[tuple[str, list[Matched]]]:
    return [(each.hits[0].reference, [hit.matched for hit in each.hits]) for each in findings.found]


@pytest.mark.parametrize("is_archived", [False, True], ids=["live", "archived"])
async def test_whatever_a_person_has_of_a_return_finds_it(database: Database, shop: Shop, is_archived: bool) -> None:
    await insert(shop, "R-1", name="An Other", email="an@example.com", address={"postal_code": "9999 ZZ"})
    await insert(shop, "R-2", "other")
    if is_archived:
        await archived(database)
    for text, matched in {
        "R-2": Matched.REFERENCE,
        " r-2 ": Matched.REFERENCE,
        "NR-R-2": Matched.CARRIER_REF,
        "7retr-2": Matched.LABEL_CODE,
        "3S R-2": Matched.TRACKING_NUMBER,
        "jo@example.COM ": Matched.EMAIL,
        "JÜRGEN DE VRIES": Matched.NAME,
        "vries": Matched.NAME,
        "1234ab": Matched.POSTAL_CODE,
        "1234\u00a0AB": Matched.POSTAL_CODE,
    }.items():
        found = await search(database, Sought(text))
        assert told(found) == [("R-2", [matched])], text
        assert (found.found[0].hits[0].archived_at is not None, found.found[0].hits[0].state) == (
            is_archived,
            "completed",
        )
        assert found.go_on_before is None
    assert (await search(database, Sought("nobody"))).found == []


async def test_a_number_that_is_still_to_be_adopted_finds_its_return(database: Database, shop: Shop) -> None:
    statement = "INSERT INTO return_order (reference, payload, adopt_carrier_ref) VALUES ($1, $2, $3)"
    await shop.run(statement, "R-1", "{}", "9RET1")
    await shop.run(statement, "R-2", "{}", "9RET2")
    assert told(await search(database, Sought(" 9ret1"))) == [("R-1", [Matched.CARRIER_REF])]


async def test_what_is_exact_comes_first_and_each_return_once_with_all_that_it_matched(
    database: Database, shop: Shop
) -> None:
    await insert(shop, "Vries")
    await insert(shop, "R-2", name="Vries")
    await insert(shop, "R-3")
    found = await search(database, Sought("Vries", everywhere=True))
    assert told(found) == [
        ("Vries", [Matched.REFERENCE, Matched.NAME]),
        ("R-2", [Matched.NAME]),
        ("R-3", [Matched.NAME]),
    ]
    assert [each.is_exact for each in found.found] == [True, True, False]
    by_number = await search(database, Sought("Vries"))
    assert (told(by_number), by_number.looked) == ([("Vries", [Matched.REFERENCE])], None)
    capped = await search(database, Sought("vries", limit=1, everywhere=True))
    assert (len(capped.found), capped.is_more) == (1, True)


async def test_a_search_that_takes_too_long_says_how_far_it_looked_and_goes_on_from_there(
    database: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.usecases.search._FIRST_WINDOW", 2)
    ids = [await insert(shop, f"R-{number}", name="Old" if number == 0 else "New") for number in range(6)]
    ticks: Iterator[float] = iter(range(0, 1000, 5))
    found = await search(database, Sought("old", within=timedelta(seconds=10)), clock=lambda: next(ticks))
    assert (found.found, found.looked and found.looked.reached) == ([], ids[-1] - 2)
    assert found.go_on_before is not None
    further = await search(database, Sought("old", before=found.go_on_before))
    assert (told(further), further.go_on_before) == ([("R-0", [Matched.NAME])], None)


@pytest.mark.parametrize(
    "text", ["%", "_", "'; DROP TABLE return_order; --", "\\", "a\u202eb", '"', "-1", "*", "$1 :x"]
)
async def test_no_text_is_taken_for_more_than_a_text(database: Database, shop: Shop, text: str) -> None:
    await insert(shop, "R-1")
    assert (await search(database, Sought(text))).found == []
    await insert(shop, text, name=text)
    assert told(await search(database, Sought(text))) == [(text, [Matched.REFERENCE])]
    assert len((await search(database, Sought(text, everywhere=True))).found[0].hits) == 2


@pytest.mark.parametrize(
    ("text", "why"), [("a\0", "NUL"), ("x" * (LONGEST + 1), "characters"), (" ", "nothing"), ("\udc80", "UTF-8")]
)
async def test_what_no_return_can_have_is_refused_in_words(database: Database, text: str, why: str) -> None:
    with pytest.raises(WrongRequest, match=why):
        await search(database, Sought(text))


async def test_a_payload_of_any_shape_keeps_nobody_from_being_found(database: Database, shop: Shop) -> None:
    for number, payload in enumerate(
        ({"customer": 5}, {"customer": {"name": ["x"], "email": {}}}, {"a": "b" * 90_000})
    ):
        await shop.run(INSERT, "default", f"X-{number}", f"X-{number}", json.dumps(payload))
    await insert(shop, "R-1")
    assert told(await search(database, Sought("de vries"))) == [("R-1", [Matched.NAME])]
    await archived(database)
    began = time.monotonic()
    assert told(await search(database, Sought("7RETR-1"))) == [("R-1", [Matched.LABEL_CODE])]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_row_that_the_database_cannot_give_is_passed_over_and_counted(database: Database, shop: Shop) -> None:
    for number in range(3):
        await insert(shop, f"R-{number}")
    broken = b'{"customer": {"name": "\xff\xfe"}}'.hex()
    await shop.run(INSERT.replace("$4", f"CAST(X'{broken}' AS text)"), "default", "X-1", "X-1")
    await insert(shop, "R-3")
    found = await search(database, Sought("de vries"))
    assert [each.hits[0].reference for each in found.found] == ["R-3", "R-2", "R-1", "R-0"]
    assert found.looked is not None
    assert (found.looked.unreadable, found.go_on_before) == (1, None)


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_number_is_looked_up_in_indexes_alone(database: Database) -> None:
    def plans(connection: Any) -> list[str]:
        values = {"texts": '["a"]', "most": 1}
        rows = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each.text}", values) for _, each in _BY_NUMBER["sqlite"]
        ]
        return [row.detail for each in rows for row in each]

    # r and p: the returns and their packages.
    read = [line for line in await database.reading(plans) if f"{line} ".split(" ")[1] in ("r", "p")]
    assert len(read) == 8
    assert all(line.startswith("SEARCH") and line.endswith("=?)") for line in read), read
