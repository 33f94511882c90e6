"""The page of news: who is told of changes and what waits for each, and the buttons that hold and release a webhook."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.cli.calls import called, configured
from tests.databases import on_sqlite
from tests.store.shop import Shop
from tests.web.served import ACTOR, LOOKER, served
from tests.web.test_acting import form_of, words
from tests.web.test_api import Program
from worker.settings.news import NewsSettings
from worker.web.problems import Kind

TOKENS = {"support": LOOKER, "anna": ACTOR}
FAILED = "the endpoint answered 500 <b>\u202e"
NEWS = {"erp": NewsSettings(kind="table"), "crm": NewsSettings(kind="webhook", url="https://crm.example/news")}


@pytest.fixture
async def shop(migrated_url: str) -> AsyncIterator[Shop]:
    async with Shop.at(migrated_url) as shop:
        for name, kind in (("erp", "table"), ("shop", "webhook")):
            await shop.run("INSERT INTO news_subscriber (name, kind) VALUES ($1, $2)", name, kind)
        await shop.run(
            "INSERT INTO webhook_event (subscriber, type, account, reference, return_order_id, position, source,"
            " source_id, observed_at, attempts, due_at, error_message)"
            f" VALUES ('shop', 'state.completed', 'default', 'R', 1, 1, 'transition', 1, {shop.moment(-7200)}, 5,"
            f" {shop.moment(3600)}, $1)",
            FAILED,
        )
        opened = f"failures = 5, open_until = {shop.moment(600)}"
        await shop.run(f"UPDATE news_subscriber SET {opened} WHERE name = 'shop'")
        yield shop


async def test_a_webhook_is_held_and_released_with_who_and_why_in_the_row_and_the_log(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    async with served(migrated_url, tmp_path, TOKENS, news=NEWS) as browser:
        await browser.log_in(ACTOR)
        listed = await browser.get("/news")
        for said in ("shop webhook 1", "2 h ago", "left alone until", "crm webhook 0", "erp table 0"):
            assert said in words(listed), (said, words(listed))
        assert "/news/shop/hold" in listed.text and "/news/erp/hold" not in listed.text
        assert "/news/crm/hold" not in listed.text  # no worker has registered it
        assert 'href="/news" aria-current="page"' in listed.text
        assert "shop webhook 1" in words(await browser.get("/"))
        for path in ("/news", "/", "/news/shop/release"):
            text = (await browser.get(path)).text
            assert "<b>" not in text and "\u202e" not in text

        shown = await browser.get("/news/shop/release")
        assert "What waits is tried now (1 event)" in words(shown)
        with capture_logs() as lines:
            held = await browser.post("/news/shop/hold", {"reason": "their upgrade"})
            assert (held.status, held.headers["Location"]) == (303, "/news?done=news_hold")
            changed = await browser.post("/news/shop/release", form_of(shown))
            assert changed.status == 409
            assert "what holds it has changed since it was shown" in words(changed)
            assert "by anna: their upgrade" in words(changed)
            given = {**form_of(changed), "reason": "it is done"}
            released = await browser.post("/news/shop/release", given)
            assert released.headers["Location"] == "/news?done=news_release"
            again = await browser.post("/news/shop/release", given)
        assert again.status == 409
        assert "The webhook is released." in words(await browser.get("/news?done=news_release"))
    told = [(each["did"], each["by"], each["reason"]) for each in lines if each["event"] == "subscriber_changed"]
    assert told == [("held", "anna", "their upgrade"), ("released", "anna", "it is done")]
    row = await shop.row("SELECT held_until, open_until, failures FROM news_subscriber WHERE name = 'shop'")
    assert row == {"held_until": None, "open_until": None, "failures": 0}
    assert await shop.value(f"SELECT count(*) FROM webhook_event WHERE due_at <= {shop.moment(1)}") == 1


@on_sqlite
async def test_a_program_and_a_command_are_told_the_same_of_subscribers(
    shop: Shop, migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configured(tmp_path, f'[database]\nurl = "{migrated_url}"\n[accounts.default]\napi_key = "a-key"\n')
    async with served(migrated_url, tmp_path, TOKENS) as browser:
        program = Program(browser)
        news = await program.told("/api/news", of="news")
        lines = (await asyncio.to_thread(called, "webhooks", "--json")).stdout.splitlines()
        assert news["subscribers"] == [json.loads(line) for line in lines]
        with capture_logs() as logged:
            held = await program.told("/api/news/shop/hold", {"reason": "their upgrade"}, of="news_hold")
            assert "by anna: their upgrade" in held["waits_for"]
            await program.told("/api/news/shop/release", {}, of="news_release")
        assert [(each["did"], each["by"]) for each in logged] == [("held", "anna"), ("released", "anna")]
        await program.refused(Kind.INVALID, "/api/news/erp/hold", {}, of="news_hold")
        await program.refused(Kind.NO_SUCH_SUBSCRIBER, "/api/news/none/release", {}, of="news_release")


@on_sqlite
async def test_who_may_look_holds_no_webhook_and_a_table_has_no_button(
    shop: Shop, migrated_url: str, tmp_path: Path
) -> None:
    async with served(migrated_url, tmp_path, TOKENS, news=NEWS) as browser:
        await browser.log_in(LOOKER)
        for action in ("hold", "release"):
            shown = await browser.get(f"/news/shop/{action}")
            assert "Your token may look, and not act." in words(shown)
            assert "<form" not in shown.text.partition("<main")[2]
            assert (await browser.post(f"/news/shop/{action}", {})).status == 403
        await browser.log_in(ACTOR)
        for name, status, said in (
            ("none", 404, "there is no subscriber"),
            ("erp", 422, "a table is not sent to"),
            ("crm", 409, "no worker has been started with"),
        ):
            for action in ("hold", "release"):
                for answer in (
                    await browser.get(f"/news/{name}/{action}"),
                    await browser.post(f"/news/{name}/{action}", {}),
                ):
                    assert (answer.status, said in words(answer)) == (status, True), (name, action, words(answer))
