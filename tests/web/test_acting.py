"""What a person does on the pages: each button does what its page showed, once, and the history says who it was."""

import asyncio
import html
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from pydantic import SecretStr

from tests.databases import on_sqlite
from tests.process.running import PAYLOAD
from tests.simulator.conftest import Client
from tests.store.shop import Shop
from tests.web.served import ACTOR, LOOKER, Browser, Got, served
from worker.settings import AccountSettings
from worker.simulator import Simulator, faults
from worker.usecases import without_delay
from worker.web.page import place

TOKENS = {"support": LOOKER, "anna": ACTOR}
LONG_AGO = "'2026-01-02 03:04:05'"
IN_DOUBT = (
    "state = 'needs_attention', error_code = 'create_outcome_unknown', error_message = 'no answer came', due_at = NULL,"
    f" create_started_at = {LONG_AGO}, first_attempt_at = {LONG_AGO}"
)
REJECTED = "state = 'rejected', error_code = 'carrier_refused', error_message = 'the postal code', due_at = NULL"
AT_CARRIER = (
    "state = 'tracking', tracking_status = 'unknown', carrier_ref = '9RET1', next_step = 'track', error_code = NULL,"
    " track_due_at = '2030-01-01 00:00:00', due_at = '2030-01-01 00:00:00'"
)


@pytest.fixture
async def shop(migrated_url: str) -> AsyncIterator[Shop]:
    async with Shop.at(migrated_url) as shop:
        yield shop


async def insert(shop: Shop, reference: str, changes: str, account: str = "default") -> None:
    statement = "INSERT INTO return_order (account, reference, payload) VALUES ($1, $2, $3)"
    await shop.run(statement, account, reference, json.dumps(PAYLOAD))
    await shop.run(f"UPDATE return_order SET {changes} WHERE reference = $1", reference)


async def told(shop: Shop) -> list[str]:
    """The reasons in the history, the oldest first."""
    return [row["reason"] for row in await shop.fetch("SELECT reason FROM status_transition ORDER BY id")]


def words(answer: Got) -> str:
    """What a reader of a page reads."""
    text = re.sub(r"<[^>]*>", " ", answer.text.partition("<main")[2].partition("</main")[0])
    return " ".join(html.unescape(text).split())


def form_of(answer: Got) -> dict[str, str]:
    """What the hidden fields of the page's form have."""
    assert '<form method="post" action="/' in answer.text.partition("<main")[2], words(answer)
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))


async def test_a_held_creation_is_resolved_by_its_number_once_by_whom_and_why(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, "RMA-1", IN_DOUBT)
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        asked = await browser.get("/returns/default/RMA-1/resolve")
        for said in ("Search for the reference RMA-1", "Sprookjeswonderland", "1601 LK", "no answer came"):
            assert said in words(asked)
        wrong = await browser.get("/returns/default/RMA-1/resolve?as=found&number=geen")
        assert (wrong.status, 'value="geen"' in wrong.text) == (400, True)
        shown = await browser.get("/returns/default/RMA-1/resolve?as=found&number=%209RET1%20")
        assert "state needs attention tracking" in words(shown)
        assert "The carrier is asked about 9RET1: its status and its label. Nothing is created." in words(shown)
        assert await shop.value("SELECT state FROM return_order") == "needs_attention"

        given = {**form_of(shown), "reason": "found in the portal"}
        done = await browser.post("/returns/default/RMA-1/resolve", given)
        assert (done.status, done.headers["Location"]) == (303, "/returns/default/RMA-1?done=resolve")
        row = await shop.row("SELECT state, carrier_ref, lease_owner, lease_until FROM return_order")
        assert row == {"state": "tracking", "carrier_ref": "9RET1", "lease_owner": None, "lease_until": None}
        again = await browser.post("/returns/default/RMA-1/resolve", given)
    assert again.status == 409
    assert "it has changed since this was shown" in words(again)
    assert "resolved: it is 9RET1 at the carrier; by anna: found in the portal" in words(again)
    assert await told(shop) == ["resolved: it is 9RET1 at the carrier; by anna: found in the portal"]


DEEDS = {
    "retry": ("retry", {}, REJECTED, "asked to create the return", "pending", "put back to be created"),
    "not created": ("resolve", {"as": "not-created"}, IN_DOUBT, "look at the carrier", "pending", "resolved: nothing"),
    "cancel in doubt": ("cancel", {}, IN_DOUBT, "is not told", "cancelled", "withdrawn while its creation was in"),
    "cancel": ("cancel", {}, AT_CARRIER, "may still expect the parcel", "tracking", "withdrawal asked for"),
}


@on_sqlite
@pytest.mark.parametrize(("page", "query", "changes", "said", "state", "reason"), DEEDS.values(), ids=DEEDS)
async def test_each_button_does_what_its_page_showed(
    shop: Shop, migrated_url: str, tmp_path: Path, page: str, query: dict[str, str], changes: str, said: str,
    state: str, reason: str,
) -> None:  # fmt: skip
    await insert(shop, "A/B", changes)
    at = f"/returns/default/{place('A/B')}/{page}"
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        shown = await browser.get(f"{at}?{urlencode(query)}")
        assert said in words(shown)
        assert await told(shop) == []
        done = await browser.post(at, {**form_of(shown), "reason": "because"})
        assert (done.status, done.headers["Location"]) == (303, f"/returns/default/A%2FB?done={page}")
    assert await shop.value("SELECT state FROM return_order") == state
    [line] = await told(shop)
    assert line.startswith(reason)
    assert line.endswith("; by anna: because")


@on_sqlite
async def test_what_changed_since_it_was_shown_is_shown_once_more_and_not_done(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, "R", REJECTED)
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        shown = await browser.get("/returns/default/R/cancel")
        await shop.run("UPDATE return_order SET lease_token = lease_token + 1")  # a poll that brought nothing new
        assert form_of(await browser.get("/returns/default/R/cancel")) == form_of(shown)
        await shop.run(f"UPDATE return_order SET {AT_CARRIER}")
        again = await browser.post("/returns/default/R/cancel", {**form_of(shown), "reason": "why"})
        assert (again.status, await told(shop)) == (409, [])
        assert "it has changed since this was shown" in words(again)
        assert 'value="why"' in again.text
        assert "state tracking as it is" in words(again)
        assert (await browser.post("/returns/default/R/cancel", form_of(again))).status == 303
        refused = await browser.get("/returns/default/R/retry")
    assert "It makes no sense now: it is tracking: only a return that is rejected" in words(refused)
    assert "<form" not in refused.text.partition("<main")[2]


@on_sqlite
async def test_what_one_returns_page_showed_is_done_to_no_other_return(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, "R-1", REJECTED)
    await insert(shop, "R-2", REJECTED)
    async with served(migrated_url, tmp_path, TOKENS, patience=10) as browser:
        await browser.log_in(ACTOR)
        form = form_of(await browser.get("/returns/default/R-1/retry"))
        assert (await browser.post("/returns/default/R-2/retry", form)).status == 409
    assert await told(shop) == []


async def test_who_may_look_sees_what_would_happen_and_does_nothing(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, "R", REJECTED)
    pages = ("/returns/default/R/retry", "/returns/default/R/cancel", "/accounts/default/hold")
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(LOOKER)
        for path in pages:
            shown = await browser.get(path)
            assert "What would happen" in words(shown)
            assert "Your token may look, and not act." in words(shown)
            assert "<form" not in shown.text.partition("<main")[2]
            assert (await browser.post(path, {"seen": "x", "what": "whole"})).status == 403
    assert (await shop.value("SELECT state FROM return_order"), await told(shop)) == ("rejected", [])


@on_sqlite
async def test_a_return_that_a_worker_has_is_left_to_it_and_no_page_waits_meanwhile(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, "R", f"{REJECTED}, lease_owner = 'worker', lease_until = datetime('now', '+60 seconds')")
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        form = {**form_of(await browser.get("/returns/default/R/retry")), "reason": "mended"}
        acting = asyncio.create_task(browser.post("/returns/default/R/retry", form))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert (await browser.get("/accounts")).status == 200
        assert time.monotonic() - began < 1.0
        assert not acting.done()
        answer = await acting
    assert answer.status == 409
    assert "This was not done: it is leased to a worker at the moment: try again." in words(answer)
    assert 'value="mended"' in answer.text
    assert form_of(answer)["seen"] == form["seen"]


@on_sqlite
async def test_the_carrier_is_asked_once_and_one_that_does_not_answer_keeps_nothing(
    shop: Shop, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Simulator(stage_seconds=3600) as carrier, aiohttp.ClientSession() as client:
        account = AccountSettings(base_url=carrier.url, api_key=SecretStr("IZI-simulator"), rate_per_minute=0)
        number = await Client(carrier, client).created()
        await insert(shop, "R", AT_CARRIER.replace("9RET1", number))
        async with served(migrated_url, tmp_path, TOKENS, account=account) as browser:
            await browser.log_in(ACTOR)
            shown = await browser.get("/returns/default/R/poll")
            assert "The carrier is asked now where the return is, out of turn." in words(shown)
            done = await browser.post("/returns/default/R/poll", {**form_of(shown), "reason": "the customer asks"})
            assert (done.status, done.headers["Location"]) == (303, "/returns/default/R?done=poll")
            assert await told(shop) == ["asked now; by anna: the customer asks"]
            again = await browser.post("/returns/default/R/poll", form_of(shown))
            assert (again.status, len(carrier.ledger)) == (409, 2)  # its creation, and one question

            shown = await browser.get("/returns/default/R/poll")
            monkeypatch.setattr(without_delay, "LONGEST_QUESTION", 0.3)
            carrier.inject("status", faults.hang())
            late = await browser.post("/returns/default/R/poll", form_of(shown))
            assert late.status == 409
            assert "This was not done: the carrier has not answered within 0 seconds" in words(late)
            assert await shop.value("SELECT count(*) FROM return_order WHERE lease_owner IS NULL") == 1

            carrier.clear_faults()
            carrier.inject("status", faults.server_error())
            failed = await browser.post("/returns/default/R/poll", form_of(late))
            assert failed.status == 409
            assert "This was not done: the carrier was asked, and this is no answer: " in words(failed)

            await held(browser, what="whole", reason="the portal is down")
            refused = await browser.get("/returns/default/R/poll")
            assert "account default is held until it is released" in words(refused)


async def held(browser: Browser, **form: Any) -> Got:
    return await browser.post("/accounts/default/hold", form)


async def test_an_account_is_held_and_released_with_what_that_starts(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, "due", "attempts = 0")
    put_off = "due_at = '2030-01-01 00:00:00', error_code = 'carrier_unreachable', attempts = 1"
    await insert(shop, "put off", put_off)
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        for wrong in ({"what": "whole", "lasting": "soon"}, {"what": "creations", "lasting": "2h"}, {}):
            refused = await held(browser, reason="stock", **wrong)
            assert (refused.status, 'value="stock"' in refused.text) == (400, True)
        assert "nothing keeps it waiting" in words(await browser.get("/accounts/default/release"))
        assert (await held(browser, what="creations", reason="stock\u202e <b>")).headers["Location"] == (
            "/accounts?done=hold"
        )
        shown = await browser.get("/accounts/default/release")
        assert "its creations are held by a person (by anna: stock <b>)" in words(shown)
        assert "What is due begins at once: 1 return, and 1 more that could not be sent before." in words(shown)
        await held(browser, what="whole", lasting="2h", reason="the carrier is down")
        changed = await browser.post("/accounts/default/release", form_of(shown))
        assert changed.status == 409
        assert "what holds it has changed since it was shown" in words(changed)
        assert "held_by_person: by anna: the carrier is down" in words(changed)
        released = await browser.post("/accounts/default/release", form_of(changed))
        assert released.headers["Location"] == "/accounts?done=release"
        assert "The account is released." in words(await browser.get("/accounts?done=release"))
    (account,) = await shop.fetch("SELECT held_until, create_hold_message FROM carrier_account")
    assert set(account.values()) == {None}
    assert await shop.value("SELECT count(*) FROM return_order WHERE due_at < '2030-01-01 00:00:00'") == 2


@on_sqlite
async def test_a_key_that_is_not_there_is_said_without_its_place(shop: Shop, migrated_url: str, tmp_path: Path) -> None:
    await insert(shop, "R", AT_CARRIER)
    account = AccountSettings(api_key_file=tmp_path / "gone.key")
    async with served(migrated_url, tmp_path, TOKENS, account=account) as browser:
        await browser.log_in(ACTOR)
        form = form_of(await browser.get("/returns/default/R/poll"))
        answer = await browser.post("/returns/default/R/poll", form)
    assert answer.status == 409
    assert "such as the key, cannot be read" in words(answer)
    assert str(tmp_path) not in answer.text
    assert await shop.value("SELECT count(*) FROM return_order WHERE lease_owner IS NULL") == 1


HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J"


@on_sqlite
async def test_nothing_that_is_typed_or_stored_becomes_markup_or_turns_a_line_around(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    await insert(shop, HOSTILE, IN_DOUBT.replace("no answer came", HOSTILE))
    at = f"/returns/default/{place(HOSTILE)}"
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        for path in ("resolve", "resolve?as=not-created", "resolve?as=found&number=9%3Cb%3E", "cancel", "retry"):
            text = (await browser.get(f"{at}/{path}")).text
            assert not [each for each in ("<script", "<b>", "\u202e", "\x1b") if each in text], path
        given = {**form_of(await browser.get(f"{at}/cancel")), "reason": HOSTILE + "x" * 5_000}
        assert (await browser.post(f"{at}/cancel", given)).status == 303
        assert "&lt;script&gt;" in (await browser.get(f"{at}/cancel")).text
    [line] = await told(shop)
    assert "\u202e" not in line and "\x1b" not in line
    assert len(line) < 700


@on_sqlite
async def test_what_is_not_there_is_said_so(shop: Shop, migrated_url: str, tmp_path: Path) -> None:
    await insert(shop, "gone", "state = 'cancelled', due_at = NULL")
    await shop.run("UPDATE return_order SET erased_at = '2026-11-01 00:00:00'")
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        await browser.log_in(ACTOR)
        for path, status in {
            "/returns/default/none/retry": 404,
            "/returns/other/gone/retry": 404,
            "/accounts/other/hold": 404,
            "/accounts/other/release": 404,
            "/returns/default/gone/retry": 409,
        }.items():
            for answer in (await browser.get(path), await browser.post(path, {"what": "whole"})):
                assert answer.status == status, path
