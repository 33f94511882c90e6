"""The pages that are looked at: today, returns by filters and by a search, one return with its labels."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.databases import on_sqlite
from tests.store.rows import insert
from tests.store.shop import Shop
from tests.web.served import ACTOR, Browser, served
from worker.domain.error_codes import ErrorCode
from worker.domain.waits import WaitsFor
from worker.labels import FileLabelStore, LabelName, VerifiedLabel
from worker.store.accounts import database_now
from worker.store.database import Database
from worker.store.presence import ACCOUNT, begin_presence
from worker.store.upkeep.archive import archive_batch
from worker.usecases.accounts import Standing
from worker.usecases.missing_label import LabelWay
from worker.usecases.today import AccountToday
from worker.usecases.ways import Way
from worker.web import one_return, words
from worker.web.api import looking
from worker.web.overview import first_of
from worker.web.page import Answer, Page, Route, address_of
from worker.web.routes import ROUTES

HOSTILE = "<script>alert(1)</script>\u202eabc" + "x" * 300
REFERENCES = (
    "A/B",
    ".",
    "..",
    "~..",
    "%2F",
    "a b+c&d=e?f#g",
    "\U0001f4e6 \u00e9",
    "<script>",
    "'\"",
    "x" * 300,
    "\u202eR",
)
AT_CARRIER = {
    "next_step": "track",
    "carrier_ref": "NR-1",
    "tracking_status": "in_transit",
    "carrier_status": "Onderweg",
}
CUSTOMER = {"name": "Jo de Vries", "email": "jo@example.com", "address": {"postal_code": "1601 LK"}}
PDF = b"%PDF-1.4 a label\n%%EOF"


@pytest.fixture
async def browser(migrated_url: str, tmp_path: Path) -> AsyncIterator[Browser]:
    async with served(migrated_url, tmp_path, patience=10) as browser:
        yield browser


async def line(shop: Shop, order_id: int, since: float, field: str, old: str | None, new: str, **more: Any) -> None:
    values = {"return_order_id": order_id, "field": field, "old_value": old, "new_value": new} | more
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    await shop.run(
        f"INSERT INTO status_transition ({', '.join(values)}, observed_at) VALUES ({places}, {shop.moment(since)})",
        *values.values(),
    )


def read(page: str) -> str:
    """What is to be read on a page, each run of blanks as one."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


@on_sqlite
async def test_of_an_empty_database_today_says_that_nothing_is_to_be_done(browser: Browser) -> None:
    shown = read((await browser.get("/")).text)
    assert "No return needs a person." in shown
    assert "No worker lives" in shown


async def test_today_says_what_there_is_to_do_what_needs_a_person_and_who_is_at_it(
    database: Database, shop: Shop, browser: Browser
) -> None:
    await insert(shop, "P-1", due=-7200)
    doubt = {"state": "needs_attention", "error_code": "create_outcome_unknown", "create_started_at": None}
    for number, code in enumerate(("create_outcome_unknown", "create_outcome_unknown", HOSTILE)):
        started = {"error_code": code}
        await insert(shop, f"N-{number}", due=None, **({**doubt, **started}))
    await shop.run(f"UPDATE return_order SET create_started_at = {shop.moment(-86400)} WHERE state = 'needs_attention'")
    over = await insert(shop, "C-1", due=None, **AT_CARRIER, state="completed")
    await line(shop, over, -2 * 86400, "state", "pending", "tracking")
    await line(shop, over, 0, "tracking_status", "in_transit", "delivered")
    await line(shop, over, 0, "state", "tracking", "completed")
    await begin_presence(database, "host:<b>1</b>", {ACCOUNT: ["default", "other"]})
    text = (await browser.get("/")).text
    shown = read(text)
    assert "create_outcome_unknown : a creation was sent, and its answer is lost or cannot be read" in shown
    assert "Say that the carrier has it, and under which number Say that the carrier does not have it" in shown
    assert '<a href="/returns?state=needs_attention&amp;error_code=create_outcome_unknown">' in text
    assert "completed 1" in shown and "delivered 1" in shown and "created 0" in shown
    assert "host:<b>1</b> accounts: default , other" in shown
    assert re.search(r"default 1 0 3 1 since .* UTC 2 h ago 2 h 0 ok", shown)
    assert "<script" not in text and "\u202e" not in text


async def test_a_return_has_on_its_page_all_that_show_says_and_the_ways_out(
    database: Database, shop: Shop, browser: Browser
) -> None:
    payload = json.dumps({"customer": CUSTOMER | {"name": f"Jo {HOSTILE}"}, "pickup_date": "2026-12-01"})
    order_id = await insert(
        shop,
        "R-1",
        **{**AT_CARRIER, "carrier_status": HOSTILE, "state": "tracking", "payload": payload},
        **{"error_code": "carrier_error", "error_message": f"HTTP 500: {HOSTILE}", "attempts": 3},
        **{"label_error_code": "label_unusable", "label_error_message": "no PDF", "return_url": "javascript:alert(1)"},
    )
    await shop.run(f"UPDATE return_order SET track_due_at = {shop.moment(3700)}")
    await shop.run(
        "INSERT INTO package (return_order_id, position, label_code, tracking_number, tracking_url)"
        " VALUES ($1, 1, '7RET1', '3S1', 'https://track.example/3S1')",
        order_id,
    )
    await line(shop, order_id, 0, "tracking_status", None, "in_transit", carrier_status=HOSTILE, reason="because")
    text = (await browser.get("/returns/default/R-1")).text
    shown = read(text)
    for part in (
        *("state tracking", "tracking status in_transit", "carrier’s number NR-1", "Jo <script>", "1601 LK"),
        *("pick-up day 2026-12-01", "carrier_error : the carrier answered with a server error", "HTTP 500: <script>"),
        *("Failed tries: 3", "No worker lives", "It goes on when a worker is started.", "7RET1", "3S1"),
        *("Next, its status is asked for at", "in 61 min", "No label is stored", "Label 1 is missing", "no PDF"),
        *("tracking status : in_transit", "because", "javascript:alert(1)"),
    ):
        assert part in shown, part
    for path in ("poll", "cancel"):
        assert f'<a href="/returns/default/R-1/{path}">' in text
    assert '<a href="https://track.example/3S1" rel="noreferrer noopener">' in text
    assert 'href="javascript' not in text and "<script" not in text and "\u202e" not in text
    assert text.count('<bdi class="long">&lt;script&gt;alert(1)&lt;/script&gt; abc') >= 2


IN_EACH_STATE = (
    ("pending", {"next_step": "create"}, "Next, it is created at"),
    ("pending", {"next_step": "create", "adopt_carrier_ref": "A-1"}, "to be adopted as A-1"),
    ("tracking", AT_CARRIER, "Next, its status is asked for at"),
    ("completed", AT_CARRIER, "state completed"),
    ("rejected", {"error_code": "invalid_payload"}, "Who acts: shop developer. What you can do Do again what failed"),
    ("needs_attention", {"error_code": "carrier_error"}, "Who acts: operator, when the carrier is well again."),
    ("cancelled", {}, "state cancelled"),
)


@on_sqlite
async def test_a_return_in_any_state_has_a_page(shop: Shop, browser: Browser) -> None:
    for number, (state, columns, _) in enumerate(IN_EACH_STATE):
        due = 60 if state in {"pending", "tracking"} else None
        number_there = {"carrier_ref": f"NR-{number}"} if "carrier_ref" in columns else {}
        await insert(shop, f"R-{number}", due=due, **{"state": state, **columns, **number_there})
    await shop.run("UPDATE return_order SET track_due_at = due_at WHERE state = 'tracking'")
    for number, (state, _, said) in enumerate(IN_EACH_STATE):
        answer = await browser.get(f"/returns/default/R-{number}")
        assert (answer.status, said in read(answer.text)) == (200, True), read(answer.text)
        assert f'<a href="/returns/default/R-{number}">' in (await browser.get(f"/returns?state={state}")).text


async def test_an_archived_and_an_erased_return_have_a_page_and_nothing_can_be_done_about_them(
    database: Database, shop: Shop, browser: Browser
) -> None:
    for reference in ("R-1", "R-2"):
        await insert(shop, reference, due=None, **AT_CARRIER | {"carrier_ref": reference}, state="completed")
    await shop.run(f"UPDATE return_order SET erased_at = {shop.moment()}, updated_at = {shop.moment(-86400)}")
    for reference in ("R-1", "R-2"):
        if reference == "R-2":
            await shop.run("DELETE FROM return_order WHERE reference = 'R-1'")
            assert (await archive_batch(database, await database_now(database), None, 0, 1)).count == 1
        text = (await browser.get(f"/returns/default/{reference}")).text
        shown = read(text)
        assert "Its personal data was erased at" in shown
        assert ("It was archived at" in shown) == (reference == "R-2")
        assert "What you can do" not in shown
        found = read((await browser.get(f"/returns?q={reference}")).text)
        assert "erased" in found and ("archived" in found) == (reference == "R-2")


async def test_every_reference_leads_to_its_page_and_one_that_is_not_there_is_said(
    shop: Shop, browser: Browser
) -> None:
    for number, reference in enumerate(REFERENCES):
        await insert(shop, reference, "default" if number % 2 else "a/..", due=None, state="cancelled")
    text = (await browser.get("/returns")).text
    addresses = [unescape(each) for each in re.findall(r'href="(/returns/[^"]+)"', text)]
    expected = [address_of("default" if n % 2 else "a/..", each) for n, each in enumerate(REFERENCES)]
    assert addresses == expected[::-1]
    for address in addresses:
        assert (await browser.get(address)).status == 200, address
    missing = await browser.get("/returns/default/R-404")
    assert (missing.status, "there is no return with reference &#39;R-404&#39;" in missing.text) == (404, True)
    assert (await browser.get("/returns/nowhere/..")).status == 404


async def test_pages_of_returns_follow_one_another_whatever_is_inserted_meanwhile(shop: Shop, browser: Browser) -> None:
    rows = ", ".join(f"('R-{number}', '{'ab'[number % 2]}', '{{}}', {shop.moment(60)})" for number in range(120))
    await shop.run(f"INSERT INTO return_order (reference, account, payload, due_at) VALUES {rows}")
    seen, address = list[str](), "/returns?state=pending&account=a"
    while address:
        text = (await browser.get(address)).text
        seen += re.findall(r'<a href="/returns/\w+/R-(\d+)">', text)
        assert '<option value="pending" selected>' in text and 'name="account" value="a"' in text
        further = re.search(r'<a href="([^"]+)" rel="next">', text)
        address = unescape(further[1]) if further else ""
        assert not address or "state=pending&account=a&before=" in address
        await insert(shop, f"L-{len(seen)}", "a")
    assert seen == [str(number) for number in range(118, -1, -2)]


@on_sqlite
async def test_a_search_finds_by_any_number_and_goes_on_where_its_time_was_over(
    shop: Shop, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = await insert(shop, "R-1", **AT_CARRIER, state="tracking", payload=json.dumps({"customer": CUSTOMER}))
    await shop.run("INSERT INTO package (return_order_id, position, label_code) VALUES ($1, 1, '7RET1')", order_id)
    for text in ("7ret1", "NR-1", "jo@example.com", "de%20vries"):
        assert '<a href="/returns/default/R-1">' in (await browser.get(f"/returns?q={text}")).text, text
    assert "1 more found in another state" in read((await browser.get("/returns?q=7RET1&state=pending")).text)
    assert "Nothing is found for xy . Of a name at least 3 letters" in read((await browser.get("/returns?q=xy")).text)
    for bad in ("q=" + "x" * 501, "state=gone", "before=-1", "before=" + "9" * 30, "error_code=x"):
        assert (await browser.get(f"/returns?{bad}")).status == 400, bad
    await shop.run("UPDATE sqlite_sequence SET seq = 5000 WHERE name = 'return_order'")
    await insert(shop, "R-2")
    monkeypatch.setattr("worker.usecases.browse.FOR_A_SEARCH", timedelta(microseconds=1))
    text = (await browser.get("/returns?q=de+vries&account=default")).text
    assert '<a href="/returns/default/R-1">' not in text
    assert "returns-worker find TEXT --before 4502" in read(text)
    further = re.search(r'<a href="([^"]+)" rel="next">', text)
    assert further and unescape(further[1]) == "/returns?q=de+vries&account=default&before=4502"


async def stored(shop: Shop, folder: Path, reference: str, media_type: str, **columns: Any) -> Path:
    order_id = await insert(shop, reference, due=None, **AT_CARRIER | {"carrier_ref": reference}, state="completed")
    label = VerifiedLabel(PDF, "application/pdf", 1, hashlib.sha256(PDF).hexdigest())
    location = await FileLabelStore(folder).put(LabelName("default", reference, 1), label)
    values = {"location": location, "media_type": media_type, "sha256": label.sha256} | columns
    await shop.run(
        "INSERT INTO label (return_order_id, position, byte_count, fetched_at, location, media_type, sha256)"
        f" VALUES ($1, 1, 22, {shop.moment()}, $2, $3, $4)",
        *(order_id, values["location"], values["media_type"], values["sha256"]),
    )
    return Path(location.removeprefix("file://"))


@on_sqlite
async def test_a_label_is_handed_out_as_what_it_is_and_what_cannot_be_had_is_said(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "labels"
    await stored(shop, folder, "R-1", "application/pdf")
    await stored(shop, folder, "R-2", "text/html")
    (await stored(shop, folder, "R-3", "application/pdf")).unlink()
    (await stored(shop, folder, "R-4", "application/pdf")).write_bytes(b"<html>")
    await stored(shop, folder, "R-5", "application/pdf", location="file:///etc/passwd")
    async with served(migrated_url, tmp_path, labels=folder) as browser:
        text = (await browser.get("/returns/default/R-1")).text
        assert '<a href="/returns/default/R-1/labels/1">Download</a>' in text
        answer = await browser.get("/returns/default/R-1/labels/1")
        assert (answer.status, answer.text.encode()) == (200, PDF)
        assert answer.headers["Content-Type"] == "application/pdf"
        assert re.fullmatch(r'attachment; filename="R-1-1-\w{12}\.pdf"', answer.headers["Content-Disposition"])
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        seen = await browser.get("/returns/default/R-1/labels/1/view")
        assert (seen.text.encode(), seen.headers["Content-Disposition"][:7]) == (PDF, "inline;")
        assert seen.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        head = await browser.get("/returns/default/R-1/labels/1", "HEAD")
        assert (head.status, head.text) == (200, "")
        other = await browser.get("/returns/default/R-2/labels/1")
        assert (other.status, other.headers["Content-Type"]) == (200, "application/octet-stream")
        assert "/view" not in (await browser.get("/returns/default/R-2")).text
        for path, status, said in (
            ("R-2/labels/1/view", 404, "No browser shows application/octet-stream"),
            ("R-1/labels/2", 404, "no label 2"),
            ("R-1/labels/0", 404, "a number, from 1"),
            ("R-3/labels/1", 404, "no label at"),
            ("R-4/labels/1", 503, "its checksum differs"),
            ("R-5/labels/1", 404, "outside of the label store"),
        ):
            answer = await browser.get(f"/returns/default/{path}")
            assert (answer.status, said in read(answer.text)) == (status, True), (path, read(answer.text))
        async with served(migrated_url, tmp_path, {"anna": ACTOR}, labels=folder) as stranger:
            assert (await stranger.get("/returns/default/R-1/labels/1")).status == 303
        await shop.run(f"UPDATE label SET removed_at = {shop.moment()}")
        gone = await browser.get("/returns/default/R-1/labels/1")
        assert (gone.status, "was removed at" in gone.text) == (404, True)


@on_sqlite
async def test_a_long_history_and_a_large_payload_are_cut_and_it_is_said_what_has_the_rest(
    shop: Shop, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = await insert(
        shop, "R-1", due=None, state="cancelled", payload=json.dumps({"description": "y" * 200_000})
    )
    monkeypatch.setattr(one_return, "_MOST_LINES", 2)
    for reason in ("first", "second", "third"):
        await line(shop, order_id, 0, "state", "pending", "pending", reason=reason)
    monkeypatch.setattr(looking, "_MOST_LINES", 1)
    told = json.loads((await browser.get("/api/returns/default/R-1")).text)
    assert ([each["reason"] for each in told["transitions"]], told["transitions_left_out"]) == (["third"], 2)
    shown = read((await browser.get("/returns/default/R-1")).text)
    assert "Earlier lines that are not shown here: 1; returns-worker show REFERENCE has them." in shown
    assert "first" not in shown and "second" in shown and "third" in shown
    assert 99_000 < shown.count("y") < 101_000
    assert "returns-worker show REFERENCE --json has them." in shown


@on_sqlite
async def test_of_large_answers_two_are_in_memory_and_who_comes_then_is_told_to_come_again(
    migrated_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, waiting = asyncio.Event(), 0

    async def large(_: Page) -> Answer:
        nonlocal waiting
        waiting += 1
        await go_on.wait()
        return Answer(b"x" * 300_000, "application/pdf")

    async with served(
        migrated_url,
        tmp_path,
        routes=(*ROUTES, Route("large", "/large", large, needs=None, is_large=True)),
        patience=0.1,
    ) as browser:
        two = [asyncio.create_task(browser.get("/large")) for _ in range(2)]
        while waiting < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        third = await browser.get("/large")
        assert (third.status, third.headers["Retry-After"], waiting) == (503, "2", 2)
        assert "<h1>503 Service Unavailable</h1>" in third.text
        two.pop().cancel()  # a reader who leaves
        await asyncio.sleep(0)
        go_on.set()
        for each in await asyncio.gather(*two):
            assert (each.status, len(each.text), each.headers["Content-Length"]) == (200, 300_000, "300000")
        assert (await browser.get("/large")).status == 200
    assert caplog.text == ""


def test_of_too_many_accounts_those_are_shown_that_wait_need_a_person_or_run_behind() -> None:
    def account(name: str, waits_for: str = "ok", needs_attention: int = 0, behind: int = 0) -> AccountToday:
        standing = Standing(name, "izipack", 60, 0, 0, 0, waits_for)
        return AccountToday(standing, needs_attention, 0, None, None, timedelta(seconds=behind))

    accounts = [
        account("a"),
        account("b", behind=9),
        account("c", needs_attention=1),
        account("d", "held"),
        account("e"),
    ]
    assert [each.standing.account for each in first_of(accounts, 3)] == ["d", "c", "b"]
    assert first_of(accounts, 5) is accounts


def test_every_way_wait_and_code_has_its_words_and_only_an_address_of_the_web_is_a_link() -> None:
    assert set(words.WAYS) == set(Way)
    assert set(words.LABEL_WAYS) == set(LabelWay)
    assert set(words.ENDS) == set(WaitsFor)
    assert set(words.MEANING) == set(ErrorCode)
    assert words.is_link("https://track.example/3S1?a=b&c=d#e")
    for bad in (
        None,
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "//x",
        "http://a\u202eb",
        'http://a"b',
        "http://a b",
    ):
        assert not words.is_link(bad), bad
